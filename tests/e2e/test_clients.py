"""Clients as people run them, against the running function app: OpenAI's own, unmodified, and our command line."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai import OpenAI

from local.parts import ROOT
from tests.e2e.running import Running, services_beside
from tests.queries.filled import fill
from tests.support.events import usage_event
from usage_cli import commands
from usage_cli.__main__ import main

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
    with OpenAI(base_url=base_url, admin_api_key="a-key", max_retries=0) as found:
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


class TestCommandLine:
    """`python -m usage_cli` as a process of its own, as people run it."""

    def test_a_report_has_columns_that_line_up_and_totals(self, counted: Running) -> None:
        shown = run(counted, "report", "--month", "2026-09", "--by", "app,model", *OURS)
        lines = shown.stdout.splitlines()
        assert lines[0] == "2026-09-01T00:00:00Z to 2026-10-01T00:00:00Z, UTC"
        table = [line.split() for line in lines if line.strip() and "─" not in line][1:]
        tokens = sum(1000 + number for number in range(30))
        cost = Decimal(tokens) * Decimal("2.5") / 10**6 + Decimal(30 * 10 * 10) / 10**6
        assert table[0] == ["app", "model", *["calls", "prompt", "cached", "completion", "total", "USD", "coverage"]]
        assert table[1][:5] == ["client-a", "gpt-4o-2024-08-06", "30", f"{tokens:,}", "0"]
        assert table[1][5:] == ["300", f"{tokens + 300:,}", f"{cost:.4f}", "100.0%"]
        assert [row[0] for row in table[1:4]] == ["client-a", "client-b", "total"]
        assert table[3][1:3] == ["60", f"{2 * tokens:,}"]
        at = {line.index("100.0%") for line in lines if "100.0%" in line}
        assert len(at) == 1
        assert "\x1b" not in shown.stdout
        assert shown.stderr == ""

    def test_csv_and_json_have_every_digit(self, counted: Running) -> None:
        asked = ("report", "--month", "2026-09", "--granularity", "day", *OURS)
        answer = json.loads(run(counted, *asked, "--format", "json").stdout)
        rows = list(csv.DictReader(io.StringIO(run(counted, *asked, "--format", "csv").stdout, newline="")))
        assert len(rows) == 60
        assert [row["cost"] for row in rows] == [row["cost"] for row in answer["rows"]]
        assert sum(Decimal(row["cost"]) for row in rows) == Decimal(answer["totals"]["cost"])

    def test_calls_are_followed_page_after_page(self, counted: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = ("calls", "--app", "client-a", "--from", "2026-09-11", "--to", "2026-10-10")
        shown = run(counted, *asked, "--limit", "7")
        assert shown.stdout.splitlines()[-1] == "7 calls, and more: --limit"
        assert shown.stdout.count("gpt-4o-2024-08-06") == 7
        monkeypatch.setattr(commands, "CALLS_PAGE", 4)
        for form in ("json", "csv"):
            text = in_process(counted, monkeypatch, *asked, "--limit", "10", "--format", form)
            if form == "json":
                times = [call["timestamp"] for call in json.loads(text)["calls"]]
            else:
                times = [row["timestamp"] for row in csv.DictReader(io.StringIO(text, newline=""))]
            assert times == [f"2026-10-{day:02}T03:00:00.000000Z" for day in range(9, 0, -1)] + [
                "2026-09-30T03:00:00.000000Z"
            ]

    def test_lists(self, counted: Running) -> None:
        september = ("--month", "2026-09")
        assert "client-b" in run(counted, "apps", *september).stdout
        assert EMBEDDING in run(counted, "models", *september).stdout
        assert "genai-prices" in run(counted, "prices", *september).stdout
        missing = run(counted, "prices", "--missing", "--format", "csv", *september).stdout
        assert missing.splitlines()[0].startswith("model") or missing.splitlines()[0].startswith("calls")

    @pytest.mark.parametrize(
        ("words", "status", "told"),
        [
            (["report", "--by", "ap"], 1, "group_by names 'ap'"),
            (["calls", "--app", "x", "--last", "90d"], 1, "range_too_long"),
            (["report", "--month", "2026-13"], 2, "month"),
            (["report", "--month", "tomorrow"], 2, "2026-11"),
            (["report", "--last", "7"], 2, "24h, 7d or 4w"),
            (["report", "--tz", "Europe/Berlim"], 2, "Europe/Berlin"),
            (["report", "--where", "app"], 2, "app=search"),
            (["report", "--where", "limit=5"], 2, "cost_center"),
            (["calls", "--app", "x", "--where", "app=y"], 2, "usage_state"),
            (["report", "--to", "2026-09-03"], 2, "--from"),
            (["report", "--top", "3", "--granularity", "day"], 2, "--granularity"),
            (["report", "--month", "2026-09", "--to", "2026-09-03"], 2, "--from"),
            (["calls", "--app", "x", "--limit", "0"], 2, "number from 1"),
            (["calls"], 2, "--app"),
            (["report", "--url", "nowhere"], 1, "address"),
            (["report", "--url", "http://127.0.0.1:1"], 1, "does not answer"),
        ],
    )
    def test_an_error_is_one_line_and_a_status(
        self, counted: Running, words: list[str], status: int, told: str
    ) -> None:
        shown = run(counted, *words, status=status)
        assert shown.stdout == ""
        assert shown.stderr.count("\n") == 1
        assert shown.stderr.startswith("error: ")
        assert told in shown.stderr
        assert "Traceback" not in shown.stderr

    def test_a_key_is_sent_encrypted_or_not_at_all(self, counted: Running) -> None:
        secret = {"USAGE_FUNCTION_KEY": "c2VjcmV0"}
        run(counted, "report", "--last", "1h", environment=secret)
        shown = run(counted, "report", "--url", "http://usage.example.net", status=1, environment=secret)
        assert "https only" in shown.stderr
        assert "c2VjcmV0" not in shown.stderr


OURS = ("--where", "app=client-a", "--where", "app=client-b")


def environment_of(counted: Running) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("USAGE_")}
    return kept | {"USAGE_URL": counted.base_url}


def run(
    counted: Running, *words: str, status: int = 0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "usage_cli", *words],
        cwd=ROOT,
        env=environment_of(counted) | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done
    return done


def in_process(counted: Running, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """The same in this process, where a page can be made small."""
    text = io.StringIO(newline="")
    monkeypatch.setenv("USAGE_URL", counted.base_url)
    monkeypatch.delenv("USAGE_FUNCTION_KEY", raising=False)
    with redirect_stdout(text):
        assert main(words) == 0
    return text.getvalue()
