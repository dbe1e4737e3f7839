"""collectors.call: a usage event becomes the call it tells of."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.keys import MAX_ESCAPED_LENGTH, escape_key
from models.usage import Usage
from tests.collectors.reading import call_of, collected, dead_letter_of
from tests.support.events import NOON, usage_event

BODY = json.dumps({"model": "answered", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})


def test_every_field_of_the_event_reaches_the_call() -> None:
    call = call_of(
        request_id="r-1",
        timestamp="2026-11-20T12:59:00+01:00",
        app_id="app",
        subscription_id="sub",
        subscription_name="Sub",
        product_id="prod",
        user_id="user",
        api_id="api",
        operation_id="op",
        gateway_id="gw",
        region="we",
        backend_id="be",
        client_ip="10.0.0.1",
        deployment="dep",
        model="asked",
        response_model="answered",
        stream=True,
        status=200,
        duration_ms=12.5,
        first_byte_ms=3,
        error={"source": "s", "reason": "r"},
    )
    assert call._replace(origin=call.origin, usage=Usage()) == (
        "r-1", NOON - timedelta(minutes=1), "app", "entra_app",
        "answered", Usage(), "reported", None, "openai_chat", call.origin,
        "dep", "op", "api", "prod", "sub", "Sub", "user", "be", "gw", "we", "10.0.0.1", True, 200, 12.5, 3.0, "s", "r",
        "asked", 0, "final", None, None, None, None, 0,
    )  # fmt: skip


def test_empty_text_is_as_null() -> None:
    names = ["subscription_id", "subscription_name", "product_id", "user_id", "api_id", "operation_id", "gateway_id",
             "region", "backend_id", "client_ip", "deployment", "model", "response_model"]  # fmt: skip
    assert call_of(**dict.fromkeys(names, ""), request_id="r") == call_of(**dict.fromkeys(names), request_id="r")


# --- where usage and model come from ------------------------------------------------------------------------------


def test_events_own_usage_is_believed_before_its_body() -> None:
    call = call_of(body=BODY)
    assert call.usage == Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"unknown": 1}])
def test_body_is_read_where_the_events_usage_states_nothing(usage: dict[str, Any] | None) -> None:
    call = call_of(usage=usage, body=BODY)
    assert call.usage == Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)


def test_model_is_what_answered() -> None:
    """The event's response_model, else the body's, else what was asked for."""
    assert call_of(usage=None, body=BODY, response_model="stated", model="asked").model == "stated"
    assert call_of(usage=None, body=BODY, response_model=None, model="asked").model == "answered"
    assert call_of(response_model=None, model="asked").model == "asked"
    assert call_of(response_model=None, model=None).model is None


def test_model_of_the_body_answers_also_where_the_usage_came_beside_it() -> None:
    assert call_of(body=BODY, response_model=None, model="asked").model == "answered"


def test_deployment_is_never_taken_for_the_model() -> None:
    call = call_of(response_model=None, model=None, deployment="chat")
    assert (call.model, call.deployment) == (None, "chat")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stream": True}, "not_requested"),
        ({"stream": False}, "unrecognised"),
        ({"status": 499}, "client_disconnected"),
        ({"status": 429}, "error_response"),
        ({"status": 500, "error": {"source": "backend", "reason": "ClientConnectionFailure"}}, "client_disconnected"),
        ({"error": {"source": "backend", "reason": "BackendConnectionFailure"}}, "error_response"),
        ({"error": {}}, "unrecognised"),
        ({"body": "data: {}"}, "truncated"),
        ({"body": "data: {}", "status": 499}, "client_disconnected"),
        ({"body": '{"object": "list", "data": []}'}, "not_metered"),
        ({"body": '{"error": {}}'}, "error_response"),
        ({"body": ""}, "unrecognised"),
    ],
)
def test_missing_usage_has_its_reason_and_no_number(changes: dict[str, Any], reason: str) -> None:
    call = call_of(usage=None, **changes)
    assert (call.usage_state, call.missing_reason, call.usage, call.usage_shape) == ("missing", reason, Usage(), None)


def test_usage_of_a_failed_call_is_counted() -> None:
    """A content filter's error may come with tokens that were used."""
    assert call_of(status=400).usage_state == "reported"


# --- keys and numbers ---------------------------------------------------------------------------------------------

key_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.sampled_from(
    [
        "/",
        "\\",
        "#",
        "?",
        "%",
        "a/b\\c#d?e%f",
        "it's",
        '"',
        "a b",
        "~7E",
        "|",
        "日本語",
        "🚀",
        "\x00\x1f\x7f\x85",
        "..",
        "é" * 80,
    ]
)


@given(key_texts, st.sampled_from(["request_id", "app_id"]))
def test_keys_of_any_letters_survive_or_are_refused_by_name(text: str, field: str) -> None:
    result = collected(usage_event(**{field: text}))
    if result.calls:
        kept = result.calls[0].request_id if field == "request_id" else result.calls[0].app
        assert kept.strip() == text.strip() or (kept == "gold" and not text.strip())
        assert len(escape_key(kept)) <= MAX_ESCAPED_LENGTH
    else:
        assert result.dead_letters[0].field == field
        assert not text.strip() or len(escape_key(text)) > MAX_ESCAPED_LENGTH


@pytest.mark.parametrize("text", ["x" * 600, "é" * 81, "🚀" * 600, "/" * 161])
@pytest.mark.parametrize("field", ["request_id", "app_id", "subscription_id", "product_id"])
def test_key_that_is_too_long_is_refused_by_name(field: str, text: str) -> None:
    letter = dead_letter_of(**({"app_id": None, "product_id": None} | {field: text}))
    assert (letter.reason, letter.field) == ("invalid_field", field)
    assert "at most" in (letter.expected or "")


@pytest.mark.parametrize("text", ["x" * 600, "🚀" * 600, "a/b\\c#d?e%f'\""])
@pytest.mark.parametrize("field", ["model", "deployment", "user_id", "subscription_id", "product_id", "backend_id"])
def test_what_is_no_key_may_be_longer(field: str, text: str) -> None:
    assert text in call_of(**{field: text})


@pytest.mark.parametrize(("sent", "kept"), [(0, 0.0), (1.5, 1.5), (-1, None), (None, None), (1e12, 1e12)])
@pytest.mark.parametrize("field", ["duration_ms", "first_byte_ms"])
def test_negative_durations_are_unknown(field: str, sent: float | None, kept: float | None) -> None:
    assert getattr(call_of(**{field: sent}), field) == kept


@pytest.mark.parametrize("field", ["duration_ms", "first_byte_ms"])
def test_duration_beyond_any_number_is_never_kept_as_infinity(field: str) -> None:
    """1e400 is JSON, but infinity is none: an answer that holds it could not be parsed."""
    result = collected(json.dumps(usage_event(**{field: "HUGE"})).replace('"HUGE"', "1e400").encode())
    assert [getattr(call, field) for call in result.calls] in ([], [None])
    assert [letter.field for letter in result.dead_letters] in ([], [field])


@pytest.mark.parametrize(
    ("method", "state"), [("GET", "missing"), ("get", "missing"), ("POST", "reported"), (None, "reported")]
)
def test_reading_a_stored_response_is_not_charged_again(method: str | None, state: str) -> None:
    call = call_of(method=method, usage={"input_tokens": 32, "output_tokens": 11})
    assert call.usage_state == state
    assert call.missing_reason == (None if state == "reported" else "not_metered")
