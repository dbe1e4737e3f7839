"""collectors.collect: every record of a batch becomes a call or a dead letter, whatever the bytes."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.collect import collect
from collectors.decode import decode
from collectors.dialects import DIALECTS
from collectors.dialects import usage_event as usage_event_dialect
from models.event import UsageEvent
from models.measures import measures_of
from models.origin import Origin
from tests.collectors.reading import collected
from tests.support.events import NOON, raw_event, usage_event

TELLING_TEXTS = [
    "usage-event/1",
    "2026-11-20T12:00:00Z",
    "{}",
    "data: {}",
    '{"object": []}',
    "0001-01-01T00:00:00+01:00",
]
TELLING_NAMES = ["schema", "prompt_tokens", "input_tokens"]
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**63, 10**400, 1e308, -0.0, 1.5])
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(TELLING_TEXTS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(TELLING_NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = sorted(field.alias or name for name, field in UsageEvent.model_fields.items())
mutated_events = st.builds(
    lambda changes, without: {name: value for name, value in (usage_event() | changes).items() if name not in without},
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4),
    st.sets(st.sampled_from(FIELDS), max_size=2),
)


def accounted(*bodies: object) -> None:
    """Every record is a call or a dead letter that says what is wrong; each call can be measured."""
    result = collected(*bodies)
    for letter in result.dead_letters:
        assert letter.reason
        assert letter.expected
        assert letter.got
    for call in result.calls:
        assert all(type(amount) is int and amount >= 0 for amount in measures_of(call).values())
        json.dumps(call._replace(origin=None, timestamp=None), allow_nan=False, default=str).encode()  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_arbitrary_bytes_are_accounted_for(bodies: list[bytes]) -> None:
    accounted(*bodies)


@given(st.lists(json_values, max_size=3))
def test_arbitrary_json_is_accounted_for(bodies: list[Any]) -> None:
    accounted(*bodies)


@given(st.lists(mutated_events, min_size=1, max_size=3))
def test_mutated_events_are_accounted_for(events: list[dict[str, Any]]) -> None:
    accounted(*events)
    accounted(events)
    accounted("\n".join(json.dumps(event) for event in events).encode())


@given(st.data())
def test_event_with_any_bytes_changed_is_accounted_for(data: st.DataObject) -> None:
    body = bytearray(
        json.dumps(usage_event(body='{"object": "list", "usage": {"prompt_tokens": 1}}', usage=None)).encode()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    accounted(bytes(body[: data.draw(st.integers(0, len(body)))]))
    accounted(bytes(body))


@given(st.lists(mutated_events | st.none(), max_size=4), st.integers(0, 4))
def test_neighbours_of_any_record_are_counted(others: list[Any], place: int) -> None:
    good = usage_event()
    others.insert(place, good)
    for result in (collected(others), collected(*others)):
        assert good["request_id"] in [call.request_id for call in result.calls]


@pytest.mark.parametrize("member", ["object", "id", "data", "model", "error", "usage", "choices", "response"])
@pytest.mark.parametrize("value", [[], {}, [[]], {"a": {}}, 1, True], ids=repr)
def test_no_body_stops_its_batch(member: str, value: object) -> None:
    """A body that raises would come back for ever and block its partition."""
    result = collected(usage_event(usage=None, body=json.dumps({member: value})), usage_event())
    assert len(result.calls) == 2


def test_calls_and_dead_letters_keep_their_order_and_origin() -> None:
    events = [usage_event() for _ in range(4)]
    result = collected([events[0], {}], [None, events[1]], events[2], b"{", events[3])
    assert [call.request_id for call in result.calls] == [event["request_id"] for event in events]
    assert [call.origin.sequence_number for call in result.calls] == [0, 1, 2, 4]
    assert [(letter.origin.sequence_number, letter.position) for letter in result.dead_letters] == [
        (0, 1),
        (1, 0),
        (3, 0),
    ]


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"", "not_json", None),
        (b"{", "not_json", None),
        (b"5", "not_json", None),
        ({"prompt_tokens": 5}, "unknown_dialect", None),
        ({"schema": "usage-event/2"}, "invalid_field", "schema"),
        ({"schema": "usage-event/1"}, "missing_field", "request_id"),
        (usage_event(timestamp="2025-01-01T00:00:00Z"), "too_old", "timestamp"),
    ],
)
def test_dead_letter_says_why(body: object, reason: str, field: str | None) -> None:
    letter = collected(body).dead_letters[0]
    assert (letter.reason, letter.field) == (reason, field)


def test_event_of_another_version_is_told_what_was_expected() -> None:
    letter = collected(usage_event(schema="usage-event/2")).dead_letters[0]
    assert letter.dialect == "usage-event"
    assert "usage-event/1" in (letter.expected or "")
    assert "usage-event/2" in (letter.got or "")


def test_oldest_is_the_first_time_that_still_counts() -> None:
    oldest = datetime(2026, 11, 20, 12, tzinfo=UTC)
    at = collect([raw_event(usage_event(timestamp="2026-11-20T12:00:00Z"))], oldest)
    before = collect([raw_event(usage_event(timestamp="2026-11-20T11:59:59.999999Z"))], oldest)
    assert (len(at.calls), len(before.calls)) == (1, 0)
    assert before.dead_letters[0].reason == "too_old"


def test_dead_letter_keeps_the_identity_and_size() -> None:
    event = usage_event(status="x")
    letter = collect([raw_event(event, partition="3", sequence_number=9)], NOON).dead_letters[0]
    assert letter.request_id == event["request_id"]
    assert letter.size_bytes == len(json.dumps(event))
    assert (letter.origin.partition, letter.origin.sequence_number) == ("3", 9)


# --- no content in a dead letter ----------------------------------------------------------------------------------

MARK = "Dear-diary-my-secret-42"
STREAM = f'data: {{"model": "m", "choices": [{{"delta": {{"content": "{MARK}"}}}}]}}\n\n'
CARRIERS: list[Any] = [
    MARK,
    [MARK],
    {MARK: MARK},
    {"reason": [MARK], "source": MARK},
    {"prompt_tokens": MARK},
    {"prompt_tokens": {MARK: MARK}},
    {"prompt_tokens": 1, "prompt_tokens_details": MARK},
    STREAM,
    MARK * 60,
    f"2026-11-20T12:00:00Z {MARK}",
    f"usage-event/1 {MARK}",
    f"usage-event/{MARK}",
]  # fmt: skip
FAULTS: list[dict[str, Any]] = [
    {},
    {"schema": "usage-event/2"},
    {"schema": None},
    {"request_id": 5},
    {"timestamp": "yesterday"},
    {"timestamp": "2020-01-01T00:00:00Z"},
    {"status": "200"},
    {"usage": {"prompt_tokens": "x"}},
    {"body": 5},
]


@pytest.mark.parametrize("field", [*FIELDS, "messages", MARK])
def test_no_dead_letter_holds_text_of_the_record(field: str) -> None:
    """A marker anywhere in the event, the event bad in any way: as object, array, lines, cut, without schema.

    The request id is the exception: a short one is kept, since it says which call it was.
    """
    seen = 0
    for carrier in CARRIERS:
        if field == "request_id" and isinstance(carrier, str) and len(carrier) <= 128:
            continue
        for fault in FAULTS:
            event = usage_event(app_id="a") | fault | {field: carrier}
            text = json.dumps(event).encode()
            without_schema = {name: value for name, value in event.items() if name != "schema"}
            batch = [
                event,
                [event, [event], MARK, {MARK: MARK}],
                without_schema,
                text + b"\n" + text + b"\n" + MARK.encode(),
            ]
            batch += [text[:cut] for cut in range(1, len(text), 97)]
            batch += [text.replace(MARK.encode(), MARK.encode() + bad) for bad in (b"\n", b"\\q", b"\xff", b"\\ud83d")]
            for letter in collected(*batch).dead_letters:
                seen += 1
                kept = letter._replace(request_id=None) if field == "request_id" else letter
                assert MARK not in repr(kept), (field, carrier, fault)
    assert seen


def test_long_request_id_is_not_kept() -> None:
    """It may be anything."""
    assert collected(usage_event(request_id=MARK * 60)).dead_letters[0].request_id is None


def test_a_fault_of_our_own_sets_the_record_aside_instead_of_blocking_the_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        NAME = "broken"

        def recognises(self, record: dict[str, Any]) -> bool:
            return "break" in record

        def read(self, record: dict[str, Any], origin: Origin) -> UsageEvent:
            raise KeyError("secret")

    monkeypatch.setattr("collectors.collect.DIALECTS", (Broken(), usage_event_dialect))
    result = collect([raw_event([usage_event(), {"break": 1}, usage_event()])], NOON - timedelta(days=9))
    assert len(result.calls) == 2
    assert [(letter.reason, letter.got) for letter in result.dead_letters] == [
        ("unreadable", "a fault of type KeyError")
    ]


def test_a_dialect_that_is_asked_before_ours_reads_what_it_recognises(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = SimpleNamespace(
        NAME="probes", recognises=lambda record: record.get("backend_id") == "probe", read=lambda record, delivery: None
    )
    monkeypatch.setattr("collectors.collect.DIALECTS", (probes, *DIALECTS))
    result = collected(usage_event(backend_id="probe"), usage_event())
    assert (len(result.calls), result.ignored) == (1, 1)


def test_very_many_bad_records_of_one_event_are_few_dead_letters_that_count_them() -> None:
    """Half a million of them fit in an event; writing each would hold up the partition."""
    result = collect([raw_event(b"[" + b"1," * 5000 + b"1]"), raw_event([usage_event(), 1])], NOON - timedelta(days=9))
    assert len(result.dead_letters) == 101
    assert [letter.records for letter in result.dead_letters[98:]] == [1, 4902, 1]
    assert result.received == len(result.calls) + sum(letter.records for letter in result.dead_letters) == 5003


@pytest.mark.parametrize("body", [b"[]", b"[[]]"])
def test_an_event_of_nothing_leaves_a_trace(body: bytes) -> None:
    result = collect([raw_event(body)], NOON - timedelta(days=9))
    assert len(result.dead_letters) == 1


def test_half_a_letter_harms_no_other_letter() -> None:
    """A repetition without the bad neighbour would otherwise be another app's call."""
    body = b'[{"a": "x\\ud83d\\ude00"}, {"b": "\\ud800"}]'
    assert decode(body) == [{"a": "x\N{GRINNING FACE}"}, {"b": "\ufffd"}]


@pytest.mark.parametrize(
    ("ahead", "clamped"),
    [(timedelta(minutes=15), None), (timedelta(minutes=15, seconds=1), True), (timedelta(days=400), True)],
)
def test_a_time_in_the_future_is_that_of_the_hub_and_is_counted_as_clamped(
    ahead: timedelta, clamped: bool | None
) -> None:
    event = raw_event(usage_event(timestamp=(NOON + ahead).isoformat()))
    first, again = (collect([event], NOON - timedelta(days=90)).calls[0] for _ in range(2))
    assert first == again
    assert first.timestamp == (NOON if clamped else NOON + ahead)
    assert measures_of(first).get("clamped_timestamps") == (1 if clamped else None)


def test_the_past_stays_as_it_is() -> None:
    event = raw_event(usage_event(timestamp="2026-08-23T00:00:00Z"))
    call = collect([event], NOON - timedelta(days=90)).calls[0]
    assert (call.timestamp.isoformat(), call.clamped) == ("2026-08-23T00:00:00+00:00", None)
