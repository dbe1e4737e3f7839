"""collectors.redriven: what an event that is sent again says of itself arrives as it was said."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.collect import collect
from collectors.hub import raw_events
from collectors.redriven import properties_of, redriven_of
from models.origin import Origin, RawEvent, Redriven
from tests.collectors.reading import LONG_AGO
from tests.collectors.test_hub import hub_event
from tests.support.events import NOON, usage_event

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = Origin("usage-events", "2", 4711, NOON + timedelta(microseconds=123_457))
REDRIVEN = Redriven(FIRST, 3, 1, None, None, whole=True)


@given(
    st.builds(
        Redriven,
        origin=st.just(FIRST),
        position=st.integers(0, 10**7 - 1),
        attempt=st.integers(1, 10**6 - 1),
        call_id=st.none() | st.text(max_size=100),
        sent=st.none() | st.integers(0, 2**52).map(lambda number: EPOCH + timedelta(microseconds=number)),
        whole=st.booleans(),
    )
)
def test_there_and_back(redriven: Redriven) -> None:
    properties = properties_of(redriven)
    assert all(isinstance(value, str) for value in properties.values())
    assert redriven_of(properties) == redriven


@given(
    st.dictionaries(
        st.sampled_from([*properties_of(REDRIVEN._replace(call_id="c", sent=NOON)), "else"]),
        st.none() | st.integers() | st.text() | st.sampled_from(["1", "h:0:1:2:3", "2026-11-20T12:00:00Z", "²", {}]),
    )
)
def test_properties_of_other_senders_never_raise(properties: dict[str, Any]) -> None:
    found = redriven_of(properties)
    assert found is None or isinstance(found, Redriven)


@pytest.mark.parametrize(
    "stated", [None, "no", [], [{}], [None, None], [[], {}], [{"a": 1}, properties_of(REDRIVEN), {}], {"a": 1}]
)
def test_properties_that_cannot_be_told_apart_are_nobodys(stated: Any) -> None:
    metadata = {"PropertiesArray": stated} if stated != "no" else {}
    assert [event.redriven for event in raw_events([hub_event(metadata)] * 2, "h")] == [None, None]


def test_each_event_of_a_batch_has_its_own() -> None:
    metadata = {"PropertiesArray": [{}, properties_of(REDRIVEN), {"x": 1}]}
    assert [event.redriven for event in raw_events([hub_event(metadata)] * 3, "h")] == [None, REDRIVEN, None]


def test_what_is_sent_again_is_the_record_that_it_was() -> None:
    nameless = {"clientAppId": "a", "responseBody": {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}}
    [before] = collect([RawEvent(b'{"records": [1, 2, 3, %s]}' % _json(nameless), FIRST)], LONG_AGO).calls
    now = RawEvent(_json(nameless), Origin("usage-events", "0", 9, NOON + timedelta(days=1)), REDRIVEN)
    [after] = collect([now], LONG_AGO).calls
    assert after == before
    assert after.request_id.startswith("delivery:usage-events:2:4711:")


def test_what_the_wrapper_said_is_said_again() -> None:
    record = {name: value for name, value in usage_event(status="x").items() if name not in ("timestamp", "request_id")}
    redriven = REDRIVEN._replace(call_id="cloudevent:1", sent=NOON - timedelta(hours=1))
    [letter] = collect([RawEvent(_json(record), FIRST, redriven)], LONG_AGO, payloads="redacted").dead_letters
    assert (letter.field, letter.call_id, letter.sent) == ("status", "cloudevent:1", NOON - timedelta(hours=1))
    assert (letter.origin, letter.position, letter.attempt) == (FIRST, 3, 1)


def _json(record: object) -> bytes:
    return json.dumps(record).encode()
