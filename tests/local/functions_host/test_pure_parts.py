"""Retry delays, schedules, routes, queries and batches: the parts without I/O."""

from datetime import UTC, datetime
from typing import Any

import pytest
from azure.eventhub import EventData
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.eventhub_batch import Gatherer
from local.functions_host.retry import NO_RETRY, RetryPolicy, parse_retry_policy
from local.functions_host.routes import compile_route, joined_headers, query_parameters
from local.functions_host.schedule import parse_schedule


def test_fixed_delay() -> None:
    policy = parse_retry_policy({"strategy": "fixed_delay", "max_retry_count": "2", "delay_interval": "00:01:05"})
    assert [policy.delay_seconds(retry) for retry in (1, 2, 99)] == [65, 65, 65]
    assert [policy.allows(retry) for retry in (1, 2, 3)] == [True, True, False]


def test_exponential_backoff_for_ever() -> None:
    setting = {"minimum_interval": "00:00:02", "maximum_interval": "00:00:30"}
    policy = parse_retry_policy({"strategy": "exponential_backoff", "max_retry_count": "-1"} | setting)
    assert [policy.delay_seconds(retry) for retry in (1, 2, 3, 4, 5, 10**9)] == [2, 4, 8, 16, 30, 30]
    assert policy.allows(10**9)


def test_a_minimum_of_zero_still_backs_off() -> None:
    assert [RetryPolicy(-1, 0, 30).delay_seconds(retry) for retry in (1, 2, 3)] == [1, 2, 4]
    assert RetryPolicy(-1, 0, 0).delay_seconds(5) == 0


def test_no_policy_allows_no_retry() -> None:
    assert parse_retry_policy(None) == NO_RETRY
    assert not NO_RETRY.allows(1)


@pytest.mark.parametrize(
    "setting",
    [
        {"strategy": "fixed_delay", "max_retry_count": "1"},
        {"strategy": "fixed_delay", "max_retry_count": "1", "delay_interval": "5"},
        {"strategy": "fixed_delay", "max_retry_count": "often", "delay_interval": "00:00:05"},
        {"strategy": "exponential_backoff", "max_retry_count": "1", "minimum_interval": "00:00:05"},
        {
            "strategy": "exponential_backoff",
            "max_retry_count": "1",
            "minimum_interval": "00:00:05",
            "maximum_interval": "00:00:04",
        },
        {"strategy": "hope", "max_retry_count": "1"},
    ],
)
def test_unusable_retry_policies(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"interval|strategy|often"):
        parse_retry_policy(setting)


@pytest.mark.parametrize(
    ("schedule", "moment", "following"),
    [
        ("0 */5 * * * *", "2026-11-20T10:00:00", "2026-11-20T10:05:00"),
        ("*/15 * * * * *", "2026-11-20T10:00:14.9", "2026-11-20T10:00:15"),
        ("30 9 * * *", "2026-11-20T10:00:00", "2026-11-21T09:30:00"),
        ("0 0 0 13 * 5", "2026-11-20T10:00:00", "2027-08-13T00:00:00"),  # both: the next Friday the 13th
        ("00:05:00", "2026-11-20T10:01:00", "2026-11-20T10:06:00"),
    ],
)
def test_schedules(schedule: str, moment: str, following: str) -> None:
    found = parse_schedule(schedule)(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(following).replace(tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["", "* * *", "61 * * * * *", "00:00:00", "soon"])
def test_unusable_schedules(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_schedule(schedule)


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("api/usage", "/api/usage", {}),
        ("api/usage", "/API/Usage/", {}),
        ("api/usage", "/api/usage/x", None),
        ("api/{name}", "/api/a%20b", {"name": "a b"}),
        ("api/{name}", "/api/a%2Fb", {"name": "a%2Fb"}),
        ("api/{name}", "/api", None),
        ("api/{name}", "/api/a/b", None),
        ("api/{id:int}", "/api/-12", {"id": "-12"}),
        ("api/{id:int}", "/api/x", None),
        ("api/{id:int?}", "/api", {}),
        ("api/{id:int?}", "/api/7", {"id": "7"}),
        ("api/{*rest}", "/api/a/b", {"rest": "a/b"}),
        ("api/{*rest}", "/api", {}),
        ("{*rest}", "/", {}),
        ("files/{name}.txt", "/files/a.b.txt", {"name": "a.b"}),
        ("files/{name}.txt", "/files/a.csv", None),
    ],
)
def test_routes(template: str, path: str, parameters: dict[str, str] | None) -> None:
    assert compile_route(template).match(path) == parameters


def test_the_most_specific_route_ranks_first() -> None:
    templates = ["a/{*rest}", "a/{name}", "a/x{name}", "a/{id:int}", "a/b", "a"]
    ranked = sorted(templates, key=lambda template: compile_route(template).rank)
    assert ranked == ["a", "a/b", "a/x{name}", "a/{id:int}", "a/{name}", "a/{*rest}"]


@pytest.mark.parametrize("template", ["{id:min(1)}", "{id:even}", "{id", "id}"])
def test_unusable_routes(template: str) -> None:
    with pytest.raises(ValueError, match="route"):
        compile_route(template)


def test_query_parameters() -> None:
    assert query_parameters("a=1&b=&A=2&c=x%2Cy+z&d") == {"a": "1,2", "c": "x,y z"}


def test_headers() -> None:
    assert joined_headers([("Accept", "a"), ("X-Y", ""), ("accept", "b")]) == {"accept": "a,b", "x-y": ""}


def _gathered(gatherer: Gatherer, events: list[EventData], now: float) -> list[list[int]]:
    return [[int(event.body_as_str()) for event in batch] for batch in gatherer.add(events, now)]


def test_events_wait_for_the_minimum_or_the_time() -> None:
    gatherer = Gatherer(minimum=3, maximum=4, max_wait_seconds=10)
    numbered = [EventData(str(number)) for number in range(12)]
    assert _gathered(gatherer, numbered[:2], 0) == []
    assert _gathered(gatherer, numbered[2:9], 5) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert _gathered(gatherer, [], 14) == []
    assert _gathered(gatherer, numbered[9:10], 15) == [[8, 9]]
    assert _gathered(gatherer, [], 99) == []


@given(st.lists(st.integers(0, 12)), st.integers(1, 5), st.integers(0, 5))
def test_gathering_keeps_all_events_in_order(arrivals: list[int], minimum: int, extra: int) -> None:
    gatherer = Gatherer(minimum, minimum + extra, max_wait_seconds=1)
    numbers = iter(range(10_000))
    batches = []
    for at, count in enumerate([*arrivals, 0]):
        batches += _gathered(gatherer, [EventData(str(next(numbers))) for _ in range(count)], at / 10)
    batches += _gathered(gatherer, [], 10_000)
    assert [number for batch in batches for number in batch] == list(range(sum(arrivals)))
    assert all(1 <= len(batch) <= minimum + extra for batch in batches)
