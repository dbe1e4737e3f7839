"""Exports: the same rows in every format, page after page, at a cost that a page bounds."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services import Services
from tests.api.asked import Reply, ask
from tests.api.conftest import Configure
from tests.queries.filled import fill
from tests.support.events import usage_event

FIRST = datetime.fromisoformat("2024-02-25T00:00:00+00:00")
RANGE = {"from": "2024-02-24T22:00:00Z", "to": "2024-03-05T00:00:00Z"}
HOUR = timedelta(hours=1)


async def pages(endpoint: str, parameters: Mapping[str, str]) -> AsyncIterator[Reply]:
    """As docs/api.md says that a client goes on."""
    cursor: dict[str, str] = {}
    while True:
        reply = await ask(endpoint, {**parameters, **cursor})
        assert reply.status == 200, reply
        yield reply
        if "X-Next-Cursor" not in reply.headers:
            return
        cursor = {"cursor": reply.headers["X-Next-Cursor"]}


def lines(reply: Reply) -> list[dict[str, Any]]:
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert not reply.text or reply.text.endswith("\n")
    return [json.loads(line) for line in reply.text.split("\n")[:-1]]


@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    calls=st.lists(st.tuples(st.integers(0, 220), st.sampled_from("abc")), max_size=14),
    limit=st.integers(1, 9),
    granularity=st.sampled_from(["hour", "day", "month", "total"]),
    group_by=st.sampled_from(["app", "none", "app,model"]),
    tz=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
)
async def test_pages_of_lines_are_the_rows_of_the_whole_answer(
    configure: Configure, calls: list[tuple[int, str]], limit: int, granularity: str, group_by: str, tz: str
) -> None:
    events = [usage_event(app_id=app, timestamp=(FIRST + hours * HOUR).isoformat()) for hours, app in calls]
    await fill(await configure(), [(event, "0") for event in events])
    question = {**RANGE, "granularity": granularity, "group_by": group_by, "tz": tz}
    whole = (await ask("usage", question)).json["rows"]
    found = [lines(reply) async for reply in pages("usage", {**question, "format": "ndjson", "limit": str(limit)})]
    assert [row for page in found for row in page] == whole
    assert all(len(page) <= limit for page in found)
    assert lines(await ask("usage", {**question, "format": "ndjson"})) == whole
    tables = [reply.csv async for reply in pages("usage", {**question, "format": "csv", "limit": str(limit)})]
    assert [row["calls"] for page in tables for row in page] == [str(row["calls"]) for row in whole]


async def hourly(services: Services, hours: int) -> None:
    await fill(
        services,
        [
            (usage_event(app_id=app, timestamp=(FIRST + number * HOUR).isoformat()), "0")
            for number in range(hours)
            for app in "ab"
        ],
    )


async def test_a_page_reads_what_it_holds_not_the_whole_range(configure: Configure) -> None:
    services = await configure(QUERY_MAX_ROWS="100")
    await hourly(services, 200)
    read = 0
    rows_in = services.usage.range

    async def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal read
        async for row in rows_in(*arguments, **named):
            read += 1
            yield row

    services.usage.range = counted  # type: ignore[method-assign]
    question = {**RANGE, "group_by": "app", "limit": "10"}
    assert (await ask("usage", question)).error["code"] == "too_many_rows"
    first = await ask("usage", {**question, "format": "ndjson"})
    read = 0
    second = await ask("usage", {**question, "format": "ndjson", "cursor": first.headers["X-Next-Cursor"]})
    assert [row["start"] for row in lines(second)][::2] == [f"2024-02-25T{hour:02}:00:00Z" for hour in range(5, 10)]
    assert read <= 60, read


async def test_an_export_longer_than_any_answer_may_be_comes_in_pages(configure: Configure) -> None:
    """Its parts are made smaller where so many rows are in them that a question is refused."""
    await hourly(await configure(QUERY_MAX_ROWS="100"), 200)
    question = {**RANGE, "group_by": "app", "format": "csv"}
    refused = await ask("usage", question)
    assert (refused.error["code"], "limit" in refused.error["message"]) == ("too_many_rows", True)
    found = [row async for reply in pages("usage", {**question, "limit": "90"}) for row in reply.csv]
    assert len({(row["start"], row["app"]) for row in found}) == len(found) == 400


@pytest.mark.parametrize("bound", [{"QUERY_MAX_CALL_DAYS": "3"}, {"QUERY_MAX_CALLS": "100"}])
@pytest.mark.parametrize("asked", [{"tz": "Asia/Kolkata"}, {"group_by": "app,user"}])
async def test_an_export_from_the_rows_of_calls_is_as_long_as_its_pages_are_short(
    configure: Configure, bound: dict[str, str], asked: dict[str, str]
) -> None:
    """Its parts are made smaller where the rows of too many days, or of too many calls, would have to be read."""
    await hourly(await configure(**bound), 200)
    question = {**RANGE, "group_by": "app", "granularity": "hour", "format": "csv", **asked}
    assert (await ask("usage", question)).status == 400
    found = [row async for reply in pages("usage", {**question, "limit": "10000"}) for row in reply.csv]
    assert len({(row["start"], row["app"]) for row in found}) == len(found) == 400


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/x-ndjson, application/json;q=0.5", "application/x-ndjson"),
        ("application/json, application/x-ndjson", "application/json"),
    ],
)
@pytest.mark.parametrize("endpoint", ["usage", "calls"])
async def test_the_header_asks_for_lines_too(
    configure: Configure, endpoint: str, accept: str, content_type: str
) -> None:
    await configure()
    assert (await ask(endpoint, "app=x", {"Accept": accept})).headers["Content-Type"] == content_type


async def test_calls_are_exported_with_the_same_values(configure: Configure) -> None:
    names = ["=cmd|' /C calc'!A0", 'quo"te, comma', "two\r\nlines", "+1", "plain"]
    events = [
        usage_event(app_id="a", user_id=name, request_id=f"c{number}", timestamp=(FIRST + number * HOUR).isoformat())
        for number, name in enumerate(names)
    ]
    await fill(await configure(), [(event, "0") for event in events])
    question = {**RANGE, "app": "a"}
    listed = (await ask("calls", question)).json["calls"]
    assert [call["user"] for call in listed] == names[::-1]
    paged = {**question, "limit": "2"}
    assert [call async for page in pages("calls", {**paged, "format": "ndjson"}) for call in lines(page)] == listed
    rows = [row async for page in pages("calls", {**paged, "format": "csv"}) for row in page.csv]
    assert [row["user"] for row in rows] == [f"'{name}" if name[0] in "=+" else name for name in names[::-1]]
    for row, call in zip(rows, listed, strict=True):
        assert (row["request_id"], row["timestamp"]) == (call["request_id"], call["timestamp"])
        counts = {name: "" if count is None else str(count) for name, count in call["usage"].items()}
        assert {name: row[name] for name in counts} == counts
        assert row["estimated_prompt_tokens"] == ""
    refused = await ask("calls", f"app=a&{urlencode({'format': 'focus'})}")
    assert (refused.error["code"], refused.error["parameter"]) == ("invalid_parameter", "format")


async def test_csv_is_kept_as_a_file_with_a_name(configure: Configure) -> None:
    await configure()
    names: dict[tuple[str, int], str] = {}
    for endpoint, asked in (
        ("usage", {"format": "csv"}),
        ("usage", {"format": "csv", "tz": "Asia/Tokyo", "from": "2024-02-29T00:00:00Z", "to": "2024-02-29T01:00:00Z"}),
        ("usage", {"format": "focus"}),
        ("calls", {"format": "csv", "app": "a"}),
    ):
        names[endpoint, len(names)] = (await ask(endpoint, {**RANGE, **asked})).headers["Content-Disposition"]
    days = "2024-02-24_2024-03-04"
    files = [f"usage_{days}", "usage_2024-02-29", f"focus_{days}", f"calls_{days}"]
    assert list(names.values()) == [f'attachment; filename="{name}.csv"' for name in files]
    assert "Content-Disposition" not in (await ask("usage", RANGE)).headers
