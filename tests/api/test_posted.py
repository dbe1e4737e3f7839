"""What is accepted is what the collector counts, whatever is posted."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.posted import Posted, read_events
from collectors.collect import Collected, collect
from models.errors import QueryError
from models.origin import Origin, RawEvent
from tests.collectors.dialects.fixtures import MARK, Case, cases
from tests.support.events import NOON, usage_event

LONG_AGO = NOON - timedelta(days=3650)
CASES = cases()


def posted(body: bytes) -> list[Posted]:
    return read_events(body, {}, NOON, LONG_AGO)


def delivered(event: Posted) -> Collected:
    """What the collector makes of the event when it comes from the hub, a little later."""
    return collect([RawEvent(event.body, Origin("usage-events", "2", 4711, NOON + timedelta(seconds=5)))], LONG_AGO)


def ids(collected: Collected) -> list[str]:
    return [call.request_id for call in (*collected.calls, *(half.call for half in collected.halves))]


def counts_once(collected: Collected) -> bool:
    """True if the collector sets nothing aside, and knows each call again when it is sent a second time."""
    named = not any(name.startswith("delivery:") for name in ids(collected))
    return not collected.dead_letters and named and not by_arrival(collected)


def by_arrival(collected: Collected) -> bool:
    """True if a call has no time of its own."""
    calls = [*collected.calls, *(half.call for half in collected.halves)]
    return any(call.timestamp == call.origin.enqueued_time and not call.clamped for call in calls)


def cloud_event(data: Any, name: str = "i") -> dict[str, Any]:
    return {"specversion": "1.0", "type": "t", "source": "s", "id": name, "data": data}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.module}-{case.name}")
def test_every_dialect_is_judged_as_by_the_collector(case: Case) -> None:
    [event] = posted(json.dumps(case.record).encode())
    collected = delivered(event)
    assert (event.fault is None) == counts_once(collected)
    if event.fault is None:
        assert event.request_id == next(iter(ids(collected)), None)
    elif collected.dead_letters:
        [letter] = collected.dead_letters
        assert (event.fault.reason, event.fault.field, event.request_id) == (
            letter.reason,
            letter.field,
            letter.request_id,
        )
        assert MARK not in str(event.fault)
    else:
        assert (event.fault.reason, event.fault.field) in [("missing_field", "request_id"), ("missing_field", "time")]
        assert "CloudEvent around" in str(event.fault)
    assert event.ignored == (collected.received == 0)
    [wrapped] = posted(json.dumps(cloud_event(case.record) | {"time": "2026-11-20T11:59:00Z"}).encode())
    without_id = [letter.field for letter in collected.dead_letters] == ["request_id"]
    assert (wrapped.fault is None) == (not collected.dead_letters or without_id)


texts = st.text(max_size=3)
values = st.none() | st.booleans() | st.integers() | st.floats() | texts
records = st.one_of(
    st.sampled_from([case.record for case in CASES]),
    st.builds(usage_event, request_id=texts, app_id=texts | st.none(), duration_ms=values, user_id=st.text()),
    st.builds(usage_event, usage=st.dictionaries(st.sampled_from(["prompt_tokens", "total_tokens"]), values)),
    st.recursive(values, st.lists, max_leaves=5),
)
events_of_any_kind = st.one_of(
    records,
    st.builds(lambda inside: {"records": inside}, st.lists(records, max_size=3)),
    st.builds(cloud_event, records | st.lists(records, max_size=3), texts),
)


@given(st.lists(events_of_any_kind, min_size=1, max_size=6), st.sampled_from(["array", "lines"]), st.booleans())
@example([{"a": 1}, usage_event(user_id="\u2028")], "lines", False)
def test_an_event_is_accepted_if_and_only_if_the_collector_will_count_it_once(
    events: list[Any], form: str, ascii_only: bool
) -> None:
    if form == "lines":
        events = [event for event in events if isinstance(event, dict)] or [{}]
    documents = [json.dumps(event, ensure_ascii=ascii_only).encode() for event in events]
    found = posted(b"[" + b",".join(documents) + b"]" if form == "array" else b"\r\n".join(documents))
    assert len(found) == len(events)
    for event in found:
        collected = delivered(event)
        assert (event.fault is None) == counts_once(collected)
        if event.fault is None and event.request_id is not None:
            assert [event.request_id] == ids(collected)
        apps = {call.app for call in collected.calls if call.app_source != "none"}
        assert event.app is None or event.app in apps | {half.call.app for half in collected.halves}


@given(st.binary(max_size=40))
@example(b'{"a":1}\n\xff')
@example(b"\xef\xbb\xbf")
@example(b'"\\ud83d"')
def test_any_bytes_get_an_answer(body: bytes) -> None:
    try:
        found = posted(body)
    except QueryError as error:
        assert (error.code, error.status) == ("not_json", 400)
    else:
        assert all(event.fault is not None for event in found)  # nothing so short is a call


@given(st.sampled_from([None, 1]), st.data())
def test_the_start_of_a_body_is_not_taken_for_the_whole(indent: int | None, data: st.DataObject) -> None:
    """A hub's message may be cut and is then read as far as it goes; here it can be sent again."""
    whole = json.dumps([usage_event(request_id=str(number)) for number in range(3)], indent=indent).encode()
    cut = data.draw(st.integers(1, len(whole) - 1))
    assert all(event.fault is not None for event in posted(whole[:cut]))


def test_an_item_takes_no_other_with_it() -> None:
    good = [json.dumps(usage_event(request_id=name)) for name in ("a", "b", "c")]
    half = json.dumps(usage_event(request_id="h", user_id="x")).replace('"x"', '"\\ud83d"')
    for bad in ("{bad}", "", '{"some": "thing"}', '{"n": ' + "1" * 5000 + "}"):
        found = posted(f"[{good[0]}, {bad}, {half}, {good[1]}]".encode())
        assert [event.fault is None for event in found] == [True, False, True, True]
        assert [event.request_id for event in found] == ["a", None, "h", "b"]
    assert [event.request_id for event in posted(f"[{half}, {good[0]}]".encode())] == ["h", "a"]
    assert posted(half.encode())[0].request_id == "h"


def test_what_has_no_time_is_refused_since_it_would_be_another_call_tomorrow() -> None:
    timeless = usage_event()
    del timeless["timestamp"], timeless["request_id"]
    answer = {"response": {"object": "chat.completion", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}}
    [refused] = posted(json.dumps(cloud_event(answer)).encode())
    assert refused.fault is not None
    assert (refused.fault.reason, refused.fault.field) == ("missing_field", "time")
    [known] = posted(json.dumps(cloud_event(timeless) | {"time": "2026-11-20T11:00:00Z"}).encode())
    assert known.fault is None
    assert str(known.request_id).startswith("cloudevent:")


@given(st.lists(st.builds(usage_event), min_size=1, max_size=5), st.sampled_from([None, 0, 4]))
def test_forms_of_an_array_say_the_same(events: list[dict[str, Any]], indent: int | None) -> None:
    found = posted(json.dumps(events, indent=indent).encode())
    assert [event.request_id for event in found] == [event["request_id"] for event in events]
    assert [json.loads(event.body) for event in found] == events
