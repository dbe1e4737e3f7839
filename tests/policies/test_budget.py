"""The policy that refuses calls beyond a budget, executed: it refuses when it must, and fails no call otherwise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.identity import resolve_app
from models.event import read_usage_event
from models.keys import MAX_ESCAPED_LENGTH
from tests.policies.gateway import Exchange, Gateway, Outcome, answer

NAMED = {"usage-budgets": "on", "usage-api": "https://usage.example.net", "usage-api-resource": "api://usage"}
KEY = "usage-budget:sub-1"
UNTIL = "2026-07-01T00:00:00Z"
"""The calls are of 2 June 2026, noon and 123 milliseconds."""
EXCEEDED = {"app": "sub-1", "state": "exceeded", "until": UNTIL, "as_of": "2026-06-02T11:59:30Z", "budgets": []}
OK = answer('{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}')


def run(gateway: Gateway, told: object = None, **changes: Any) -> Outcome:
    """A call; `told` is what the status endpoint answers."""
    answered = answer(told if isinstance(told, str) else json.dumps(told)) if told is not None else None
    exchange = Exchange(policy="budget", response=OK, named_values=NAMED, answered=answered)
    for name, value in changes.items():
        setattr(exchange, name, value)
    outcome = gateway.run(exchange)
    assert outcome.fault is None, outcome.fault
    return outcome


def test_beyond_its_budget_an_app_is_refused_with_the_reason_and_the_end(gateway: Gateway) -> None:
    outcome = run(gateway, EXCEEDED)
    assert outcome.returned is not None
    assert outcome.returned["status"] == 429
    assert outcome.returned["headers"] == {
        "Content-Type": "application/json",
        "Retry-After": str(28 * 86_400 + 43_200),
        "x-should-retry": "false",
    }
    error = json.loads(outcome.returned["body"])["error"]
    assert (error["code"], error["type"], error["param"]) == ("budget_exceeded", "insufficient_quota", None)
    assert error["message"].endswith("It starts anew at 2026-07-01T00:00:00Z.")
    assert outcome.sent == []
    assert outcome.response_reads == 0


def test_it_asks_once_and_keeps_the_answer_for_a_minute(gateway: Gateway) -> None:
    first = run(gateway, EXCEEDED)
    url = "https://usage.example.net/api/budgets/status?app=sub-1"
    assert first.requests == [{"url": url, "method": "GET", "resource": "api://usage", "timeout": 2}]
    ((key, (value, seconds)),) = first.stored.items()
    assert (key, seconds) == (KEY, 60)
    second = run(gateway, None, cache={KEY: value})
    assert (second.requests, second.stored) == ([], {})
    assert second.returned == first.returned


@pytest.mark.parametrize(
    "told",
    [
        None,
        "",
        "no JSON",
        "[]",
        "null",
        {},
        {"state": "within", "until": None},
        {"state": "unknown"},
        {"state": "no_budget"},
        {"state": "exceeded"},
        {"state": "exceeded", "until": None},
        {"state": "exceeded", "until": "soon"},
        {"state": ["exceeded"], "until": UNTIL},
        {"error": {"code": "storage_unavailable"}},
    ],
    ids=str,
)
def test_whatever_else_is_answered_lets_the_call_pass_and_is_kept_too(gateway: Gateway, told: object) -> None:
    outcome = run(gateway, told)
    assert outcome.returned is None
    assert len(outcome.sent) == 1
    assert outcome.stored == {KEY: ["open", 60]}
    again = run(gateway, EXCEEDED, cache={KEY: "open"})
    assert (again.requests, again.returned) == ([], None)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_error_lets_the_call_pass(gateway: Gateway, status: int) -> None:
    outcome = run(gateway, None, answered=answer(json.dumps(EXCEEDED), status=status))
    assert (outcome.returned, outcome.stored) == (None, {KEY: ["open", 60]})


def test_a_period_that_ended_since_refuses_nobody(gateway: Gateway) -> None:
    ended = "2026-06-02T12:00:00.0000000Z"
    assert run(gateway, None, cache={KEY: ended}).returned is None
    later = run(gateway, None, cache={KEY: "2026-06-02T12:00:01.0000000Z"})
    assert later.returned is not None
    assert later.returned["headers"]["Retry-After"] == "1"


@pytest.mark.parametrize("switch", ["off", "", "On", "true"])
def test_it_does_nothing_until_it_is_turned_on(gateway: Gateway, switch: str) -> None:
    outcome = run(gateway, EXCEEDED, named_values=NAMED | {"usage-budgets": switch}, cache={"usage-budget:": UNTIL})
    assert (outcome.requests, outcome.stored, outcome.returned, len(outcome.sent)) == ([], {}, None, 1)


def test_an_address_may_end_with_a_slash(gateway: Gateway) -> None:
    outcome = run(gateway, EXCEEDED, named_values=NAMED | {"usage-api": "https://usage.example.net/"})
    assert outcome.requests[0]["url"] == "https://usage.example.net/api/budgets/status?app=sub-1"


names = st.sampled_from([None, "", " ", "master", "Portal-Admin", "NA", "a", " padded ", "ä&?/ ", "00000000-0000-0000"])


@given(app=names, azp=names, subscription=names, product=names, known=st.none() | names)
def test_it_asks_for_the_app_that_the_collector_will_name(
    gateway: Gateway, app: str | None, azp: str | None, subscription: str | None, product: str | None, known: str | None
) -> None:
    """Of the same call: what it asks for, and what its event is counted under."""
    claims = {name: value for name, value in (("appid", app), ("azp", azp)) if value is not None}
    outcome = run(
        gateway,
        {"state": "within"},
        claims=claims,
        subscription={"Id": subscription},
        product={"Id": product},
        variables={} if known is None else {"usage-app-id": known},
    )
    (key,) = outcome.stored
    counted, _ = resolve_app(read_usage_event(outcome.event))
    assert key == f"usage-budget:{counted}"


@pytest.mark.parametrize(
    ("text", "times"),
    [("x", 70_000), ("x", 481), ("é", 40_000), ("\ud800", 1), ("a\udfff", 1), ("\r\nHost: x", 1), ("\0", 1)],
    ids=ascii,
)
def test_no_name_fails_a_call_and_none_that_no_app_can_have_is_asked_for(
    gateway: Gateway, text: str, times: int
) -> None:
    name = text * times
    outcome = run(gateway, EXCEEDED, variables={"usage-app-id": name})
    assert [len(request["url"]) < 2_000 for request in outcome.requests] in ([], [True])
    assert (outcome.returned is None) == (not outcome.requests)
    assert len(name) <= MAX_ESCAPED_LENGTH or outcome.requests == []


def test_a_name_as_long_as_an_app_can_have_is_asked_for(gateway: Gateway) -> None:
    outcome = run(gateway, EXCEEDED, variables={"usage-app-id": "x" * MAX_ESCAPED_LENGTH})
    assert outcome.returned is not None


def test_a_time_of_another_form_in_the_cache_fails_no_call(gateway: Gateway) -> None:
    outcome = run(gateway, None, cache={KEY: "2027-01-01"})
    assert outcome.returned is not None
    assert json.loads(outcome.returned["body"])["error"]["message"].endswith("It starts anew at 2027-01-01T00:00:00Z.")


@pytest.mark.parametrize("member", ["Subscription", "Product", "Timestamp", "User"])
def test_a_member_that_cannot_be_read_fails_no_call(gateway: Gateway, member: str) -> None:
    run(gateway, EXCEEDED, throws=[member])


def test_the_fragments_say_nothing_that_is_secret(gateway: Gateway) -> None:
    """An app that is not in the cache is asked for in the query only; the body of a refusal has no number."""
    outcome = run(gateway, EXCEEDED | {"budgets": [{"id": "b", "limit": "123456"}]})
    assert outcome.returned is not None
    assert "123456" not in json.dumps(outcome.returned)
