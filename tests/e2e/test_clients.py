"""Clients as people run them, against the running function app: OpenAI's own, unmodified, over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.running import Running, services_beside
from tests.queries.filled import fill
from tests.support.events import usage_event

DAY = timedelta(days=1)
FIRST = datetime(2026, 9, 1, tzinfo=UTC)
"""Of the calls of this file, which lie before those of other tests of the folder."""
DAYS = 40
EMBEDDING = "text-embedding-3-small"


@pytest.fixture(scope="session")
async def counted(stack: Running) -> Running:
    """A call of two apps on each day, of one of them an embedding; each has a price."""
    events = [
        usage_event(
            app_id=app,
            response_model=model,
            timestamp=(FIRST + number * DAY + timedelta(hours=3)).isoformat(),
            usage={"prompt_tokens": 1000 + number, "completion_tokens": 0 if model == EMBEDDING else 10},
        )
        for number in range(DAYS)
        for app, model in (("client-a", "gpt-4o-2024-08-06"), ("client-b", EMBEDDING))
    ]
    async with services_beside(stack) as beside:
        await fill(beside, [(event, "0") for event in events])
    return stack


@pytest.fixture
def client(counted: Running) -> Iterator[OpenAI]:
    base_url = f"{counted.base_url}/api/v1"
    with OpenAI(base_url=base_url, api_key="unused", admin_api_key="a-key", max_retries=0) as found:
        yield found


ALL: Any = {"start_time": int(FIRST.timestamp()), "end_time": int((FIRST + DAYS * DAY).timestamp())}


class TestOpenAI:
    @pytest.mark.parametrize("limit", [None, 3, 31])
    def test_usage_page_after_page(self, client: OpenAI, limit: int | None) -> None:
        asked: Any = {**ALL, "group_by": ["project_id", "model"], "project_ids": ["client-a", "client-b"]}
        asked |= {"limit": limit} if limit else {}
        page = client.admin.organization.usage.completions(**asked)
        buckets = list(page.data)
        while page.has_more:
            page = client.admin.organization.usage.completions(**asked, page=page.next_page or "")
            assert len(page.data) <= (limit or 7)
            buckets += page.data
        assert [bucket.start_time for bucket in buckets] == [
            int((FIRST + number * DAY).timestamp()) for number in range(DAYS)
        ]
        found = [result for bucket in buckets for result in bucket.results]
        assert all(result.object == "organization.usage.completions.result" for result in found)
        assert [
            (each.project_id, each.model, each.input_tokens, each.output_tokens, each.num_model_requests)
            for each in found
            if each.object == "organization.usage.completions.result"
        ] == [("client-a", "gpt-4o-2024-08-06", 1000 + number, 10, 1) for number in range(DAYS)]

    def test_embeddings_by_the_hour(self, client: OpenAI) -> None:
        page = client.admin.organization.usage.embeddings(
            start_time=ALL["start_time"], bucket_width="1h", limit=4, models=[EMBEDDING]
        )
        assert (len(page.data), page.has_more) == (4, True)
        assert [len(bucket.results) for bucket in page.data] == [0, 0, 0, 1]
        (result,) = page.data[3].results
        assert result.object == "organization.usage.embeddings.result"
        assert (result.input_tokens, result.num_model_requests, result.project_id) == (1000, 1, None)

    def test_costs_by_line_item(self, client: OpenAI) -> None:
        page = client.admin.organization.usage.costs(
            **ALL, group_by=["project_id", "line_item"], limit=180, project_ids=["client-a"]
        )
        found = [result for bucket in page.data for result in bucket.results]
        spent = 0.0
        for result in found:
            assert result.object == "organization.costs.result"
            assert result.project_id == "client-a"
            assert result.line_item in ("gpt-4o-2024-08-06, input_tokens", "gpt-4o-2024-08-06, output_tokens")
            assert result.amount is not None
            assert (result.amount.currency, result.quantity_unit) == ("usd", "tokens")
            spent += result.amount.value or 0
        tokens = sum(1000 + number for number in range(DAYS))
        assert spent == pytest.approx((tokens * 2.5 + DAYS * 10 * 10) / 1e6)

    @pytest.mark.parametrize(
        ("changes", "parameter", "told"),
        [
            ({"bucket_width": "1m"}, "bucket_width", "expected one of 1h, 1d"),
            ({"group_by": ["batch"]}, "group_by", "project_id"),
            ({"limit": 32}, "limit", "31"),
            ({"page": "somewhere"}, "page", "next_page"),
        ],
    )
    def test_what_cannot_be_answered_is_a_bad_request_that_says_why(
        self, client: OpenAI, changes: dict[str, Any], parameter: str, told: str
    ) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            client.admin.organization.usage.completions(**{**ALL, **changes})
        assert (raised.value.param, raised.value.type) == (parameter, "invalid_request_error")
        assert told in raised.value.message
