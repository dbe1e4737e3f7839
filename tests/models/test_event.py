"""models.event: the contract usage-event/1, field by field."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.collect import collect
from models.errors import BadRecord
from models.event import MAX_TEXT_LENGTH, UsageEvent, describe, parse_rfc3339, read_usage_event
from tests.support.events import raw_event, usage_event

TEXTS = ["app_id", "subscription_id", "subscription_name", "product_id", "user_id", "api_id", "operation_id",
         "gateway_id", "region", "backend_id", "client_ip", "method", "deployment", "model",
         "response_model"]  # fmt: skip

NO_TEXT: list[Any] = [5, 1.5, True, ["x"], {"a": 1}]
NO_NUMBER: list[Any] = ["5", True, [1], {"a": 1}]
WRONG: dict[str, list[Any]] = {
    "schema": [None, 1, "usage-event/2", "usage-event/10", "", ["usage-event/1"]],
    "request_id": [None, "", "   ", "x" * (MAX_TEXT_LENGTH + 1), *NO_TEXT],
    "timestamp": [None, "", 0, 1_795_176_000, 1.5, True, ["2026-11-20T12:00:00Z"], {}, "yesterday"],
    **{field: ["x" * (MAX_TEXT_LENGTH + 1), *NO_TEXT] for field in TEXTS},
    "stream": [0, 1, "true", "", [], {}],
    "status": [-1, 1000, 200.5, 10**400, *NO_NUMBER],
    "duration_ms": NO_NUMBER,
    "first_byte_ms": NO_NUMBER,
    "error": ["x", 5, True, ["x"]],
    "usage_source": ["", "policy", 5, True, [], {}],
    "usage": ["x", 5, True, [{}]],
    "body": NO_TEXT,
    "body_offset": [-1, 1.5, *NO_NUMBER],
}


def refusal(event: dict[str, Any]) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        read_usage_event(event)
    return caught.value


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_wrong_value_becomes_a_dead_letter_that_names_field_expectation_and_what_came(field: str, value: Any) -> None:
    """Through JSON, as it comes."""
    result = collect([raw_event(usage_event(**{field: value}))], datetime(2000, 1, 1, tzinfo=UTC))
    assert len(result.dead_letters) == 1
    letter = result.dead_letters[0]
    assert (letter.reason, letter.field) == ("invalid_field", field)
    assert letter.expected
    assert "{" not in letter.expected
    assert letter.got
    assert letter.got != letter.expected


def test_table_of_wrong_values_knows_every_field() -> None:
    assert sorted(WRONG) == sorted(field.alias or name for name, field in UsageEvent.model_fields.items())


@pytest.mark.parametrize(("part", "value"), [(part, value) for part in ("source", "reason") for value in NO_TEXT])
def test_wrong_part_of_the_error_is_named_with_its_place(part: str, value: Any) -> None:
    assert refusal(usage_event(error={part: value})).field == f"error.{part}"


@pytest.mark.parametrize(
    ("field", "value", "expected", "got"),
    [
        ("stream", "yes", "true or false", "a string of 3 characters"),
        ("status", "200", "a whole number", '"200"'),
        ("status", 1000, "999 or less", "the number 1000"),
        ("status", -1, "0 or more", "the number -1"),
        ("duration_ms", "x", "a number", "a string of 1 characters"),
        ("usage", [1, 2], "an object", "an array of 2 items"),
        ("app_id", {"a": 1}, "a string", "an object with 1 members"),
        ("app_id", True, "a string", "true"),
        ("request_id", None, "a string", "null"),
        ("request_id", "", "at least one character", "a string of 0 characters"),
        ("body", 1.5, "a string", "the number 1.5"),
        ("error", "boom", "an object", "a string of 4 characters"),
    ],
)
def test_fault_is_told_in_words(field: str, value: Any, expected: str, got: str) -> None:
    bad = refusal(usage_event(**{field: value}))
    assert (bad.field, bad.expected, bad.got) == (field, expected, got)


@pytest.mark.parametrize("field", ["schema", "request_id", "timestamp"])
def test_required_field_that_is_absent_is_named(field: str) -> None:
    event = usage_event()
    del event[field]
    bad = refusal(event)
    assert (bad.reason, bad.field, bad.got) == ("missing_field", field, "nothing")


def test_nothing_but_the_required_fields_is_needed() -> None:
    event = read_usage_event({"schema": "usage-event/1", "request_id": "r", "timestamp": "2026-11-20T12:00:00Z"})
    assert event.timestamp == datetime(2026, 11, 20, 12, tzinfo=UTC)
    rest = event.model_dump(exclude={"schema_", "request_id", "timestamp"})
    assert set(rest.values()) == {None}


def test_null_is_allowed_for_all_but_the_required_fields() -> None:
    nulls = dict.fromkeys(set(WRONG) - {"schema", "request_id", "timestamp"})
    assert read_usage_event(usage_event(**nulls)).body is None


@given(
    st.dictionaries(st.text(max_size=8).filter(lambda name: name not in WRONG), st.none() | st.integers() | st.text())
)
def test_unknown_members_are_ignored(extra: dict[str, Any]) -> None:
    event = usage_event()
    assert read_usage_event(event | extra) == read_usage_event(event)


def test_body_and_usage_come_as_they_were_sent() -> None:
    body = "data: {}\r\n\u2028\ufeff" * 5000
    usage = {"prompt_tokens": "anything", "x": [None]}
    event = read_usage_event(json.loads(json.dumps(usage_event(body=body, usage=usage))))
    assert (event.body, event.usage) == (body, usage)


# --- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00+00:00"),
        ("2026-11-20t12:00:00z", "2026-11-20T12:00:00+00:00"),
        ("2026-11-20 12:00:00Z", "2026-11-20T12:00:00+00:00"),
        ("2026-11-20T12:00:00+00:00", "2026-11-20T12:00:00+00:00"),
        ("2026-11-20T12:00:00-00:00", "2026-11-20T12:00:00+00:00"),
        ("2026-11-20T12:00:00+05:30", "2026-11-20T06:30:00+00:00"),
        ("2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00+00:00"),
        ("2026-11-20T12:00:00.5Z", "2026-11-20T12:00:00.500000+00:00"),
        ("2026-11-20T12:00:00.1234567Z", "2026-11-20T12:00:00.123456+00:00"),
        ("2026-11-20T12:00:00.9999999Z", "2026-11-20T12:00:00.999999+00:00"),
        ("2026-11-20T12:00:00.123456789+01:00", "2026-11-20T11:00:00.123456+00:00"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_time_of_any_zone_and_precision_is_utc(text: str, expected: str) -> None:
    time = parse_rfc3339(text)
    assert time.isoformat() == expected
    assert time.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T12:00:00",
        "2026-11-20",
        "2026-11-20T12:00Z",
        "2026-11-20T12:00:00.Z",
        "2026-11-20T12:00:00,5Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-20T24:00:01Z",
        "2026-11-20T12:60:00Z",
        "2026-11-20T12:00:61Z",
        "2026-11-20T12:00:00+25:00",
        "2026-11-20T12:00:00+0100",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "20261120T120000Z",
        "2026-W47-5T12:00:00Z",
        " 2026-11-20T12:00:00Z",
        "2026-11-20T12:00:00Z\n",
        "２０２６-11-20T12:00:00Z",
        "1795176000",
        1795176000,
        1795176000.5,
        True,
        None,
        [],
    ],
)
def test_anything_else_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(value)
    assert refusal(usage_event(timestamp=value)).field == "timestamp"


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_any_time_in_any_zone_comes_back_as_the_same_moment(naive: datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=UTC)
    local = naive + timedelta(minutes=offset)
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    assert parse_rfc3339(local.isoformat() + zone) == moment


@given(st.text(alphabet="0123456789-:TtZz+. ", max_size=30))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        parse_rfc3339(text)
    except ValueError:
        return


# --- what came ----------------------------------------------------------------------------------------------------


@given(st.text(min_size=1).filter(lambda text: any(letter.isalpha() and letter not in "TtZz" for letter in text)))
def test_text_is_never_repeated(text: str) -> None:
    assert describe(text) == f"a string of {len(text)} characters" or text.startswith("usage-event/")


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.binary())
def test_anything_can_be_described_shortly(value: object) -> None:
    assert len(describe(value)) < 100


def test_whole_number_of_any_length_can_be_described() -> None:
    assert len(describe(10**4000)) < 100
