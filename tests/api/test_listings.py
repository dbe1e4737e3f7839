"""GET /api/apps and GET /api/models: what had calls in the months of a range."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.asked import ask
from tests.api.conftest import Configure
from tests.queries.filled import fill
from tests.support.events import usage_event

NOTHING_ENTERED: dict[str, Any] = {
    **dict.fromkeys(("display_name", "owner", "cost_center", "etag")),
    "readers": [],
}
JANUARY_TO_MARCH = "from=2024-01-01T00:00:00Z&to=2024-04-01T00:00:00Z"


@pytest.fixture
async def filled(configure: Configure) -> AsyncIterator[None]:
    """Calls in January and March 2024; one app has a name that means harm, one model has no name."""
    calls = [
        ("app-1", "2024-01-31T23:59:59Z", "gpt", "chat"),
        ("app-1", "2024-03-01T00:00:00Z", "gpt", "chat-2"),
        ("app-1", "2024-03-01T00:00:00Z", None, "chat"),
        ("=cmd/\\#?%'", "2024-03-31T23:59:59Z", 'm"1', None),
    ]
    events = [
        usage_event(app_id=app, timestamp=time, response_model=model, deployment=deployment)
        for app, time, model, deployment in calls
    ]
    await fill(await configure(), [(event, str(number)) for number, event in enumerate(events)])
    yield


async def test_apps_are_listed_with_their_months(filled: None) -> None:
    reply = await ask("apps", JANUARY_TO_MARCH)
    assert reply.status == 200
    assert reply.json == {
        "months": ["2024-01", "2024-02", "2024-03"],
        "apps": [
            {"app": "=cmd/\\#?%'", "months": ["2024-03"], **NOTHING_ENTERED},
            {"app": "app-1", "months": ["2024-01", "2024-03"], **NOTHING_ENTERED},
        ],
    }


async def test_only_the_apps_that_are_named(filled: None) -> None:
    for named in (["app-1"], ["=cmd/\\#?%'", "app-1"], ["nobody"]):
        reply = await ask("apps", {"from": "2024-01-01T00:00:00Z", "to": "2024-04-01T00:00:00Z", "app": named})
        assert [each["app"] for each in reply.json["apps"]] == [app for app in named if app != "nobody"]


async def test_models_are_listed_with_the_deployments_they_answered_for_the_unnamed_first(filled: None) -> None:
    reply = await ask("models", JANUARY_TO_MARCH)
    assert reply.status == 200
    assert reply.json == {
        "months": ["2024-01", "2024-02", "2024-03"],
        "models": [
            {"model": None, "deployments": ["chat"]},
            {"model": "gpt", "deployments": ["chat", "chat-2"]},
            {"model": 'm"1', "deployments": []},
        ],
        "aliases": [],
    }


async def test_a_range_that_ends_where_a_month_begins_leaves_that_month_out(filled: None) -> None:
    for endpoint in ("apps", "models"):
        shown = (await ask(endpoint, "from=2024-02-10T00:00:00Z&to=2024-03-01T00:00:00Z")).json
        assert (shown["months"], shown[endpoint]) == (["2024-02"], [])


async def test_by_default_the_last_31_days_are_listed(configure: Configure) -> None:
    now = datetime.now(UTC)
    await fill(await configure(), [(usage_event(app_id="now", timestamp=now.isoformat()), "0")])
    shown = (await ask("apps")).json
    assert shown["months"][-1] == f"{now:%Y-%m}"
    assert len(shown["months"]) in (2, 3)
    assert shown["apps"] == [{"app": "now", "months": [f"{now:%Y-%m}"], **NOTHING_ENTERED}]


@pytest.mark.parametrize("endpoint", ["apps", "models"])
class TestBoth:
    async def test_tables_that_are_not_there_yet_give_an_empty_list(self, configure: Configure, endpoint: str) -> None:
        await configure()
        reply = await ask(endpoint, JANUARY_TO_MARCH)
        assert (reply.status, reply.json[endpoint]) == (200, [])

    @pytest.mark.parametrize(
        ("query", "code", "parameter"),
        [
            ("form=2024-01-01T00:00:00Z", "unknown_parameter", "form"),
            ("model=x", "unknown_parameter", "model"),
            ("from=2024-01-01", "invalid_parameter", "from"),
            ("to=", "invalid_parameter", "to"),
            ("from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", "invalid_range", "from"),
            ("from=2014-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", "range_too_long", "from"),
        ],
    )
    async def test_a_mistake_is_a_400_in_the_one_shape(
        self, configure: Configure, endpoint: str, query: str, code: str, parameter: str
    ) -> None:
        await configure()
        reply = await ask(endpoint, query)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, code, parameter)

    async def test_the_function_key_is_let_through(self, configure: Configure, endpoint: str) -> None:
        await configure()
        assert (await ask(endpoint, "code=abc")).status == 200
