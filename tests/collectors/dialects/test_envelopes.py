"""collectors.envelopes: records in their wrappers, however deep, around any dialect."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.envelopes import MAX_DEPTH, find_records
from models.errors import BadRecord
from tests.collectors.dialects.fixtures import Case, cases, record_of
from tests.collectors.reading import collected, told
from tests.support.events import usage_event


def cloud_event(data: object, **attributes: Any) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": "e-1", "source": "/gateway/1", "type": "llm.call", "data": data}
    return event | attributes


def in_base64(value: object) -> dict[str, Any]:
    event = cloud_event(None, data_base64=base64.b64encode(json.dumps(value).encode()).decode())
    del event["data"]
    return event


WRAPPERS: dict[str, Any] = {
    "records": lambda record: {"records": [record]},
    "Azure Monitor's records": lambda record: {"time": "2026-11-20T12:00:00Z", "records": [record]},
    "structured": cloud_event,
    "batch": lambda record: [cloud_event(record)],
    "base64": in_base64,
    "text": lambda record: cloud_event(json.dumps(record), datacontenttype="application/json"),
    "records in a CloudEvent": lambda record: cloud_event({"records": [record]}),
    "array in a CloudEvent": lambda record: cloud_event([record]),
    "CloudEvent in records": lambda record: {"records": [cloud_event(record)]},
    "CloudEvent in a CloudEvent": lambda record: cloud_event(cloud_event(record)),
}
every_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS)


@every_wrapper
@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.module}.{case.name}")
def test_every_dialect_is_read_in_every_wrapper(case: Case, wrapper: str) -> None:
    bare, wrapped = collected(case.record), collected(WRAPPERS[wrapper](case.record))
    assert [call._replace(request_id="") for call in told(wrapped)] == [
        call._replace(request_id="") for call in told(bare)
    ]
    assert (len(wrapped.halves), wrapped.ignored) == (len(bare.halves), bare.ignored)
    assert [(letter.reason, letter.field) for letter in wrapped.dead_letters] == [
        (letter.reason, letter.field) for letter in bare.dead_letters
    ]


@every_wrapper
def test_usage_event_keeps_its_own_identity_and_time(wrapper: str) -> None:
    event = usage_event()
    (call,) = collected(WRAPPERS[wrapper](event)).calls
    assert call.request_id == event["request_id"]
    assert call.timestamp.isoformat() == "2026-11-20T12:00:00+00:00"


def test_source_and_id_are_the_identity_of_a_call_without_one() -> None:
    """Not the delivery: a CloudEvent that is sent twice is the same call."""
    record = record_of("private_openai", "stream")
    calls = collected(
        cloud_event(record),
        cloud_event(record),
        in_base64(record),
        cloud_event(record, id="e-2"),
        cloud_event(record, source="/gateway/2"),
        cloud_event(record, id="1/e-1", source="/gateway"),
        [usage_event(), cloud_event(record)],
    ).calls
    first, again, encoded, *others, usage, in_batch = (call.request_id for call in calls)
    assert first == again == encoded == in_batch
    assert len({first, *others}) == 4
    assert first.startswith("cloudevent:")
    assert usage != first


def test_records_in_one_cloud_event_are_calls_of_their_own() -> None:
    record = record_of("private_openai", "stream")
    first, second = (collected(cloud_event([record, record])).calls for _ in range(2))
    assert len({call.request_id for call in first}) == 2
    assert first == second


def test_innermost_cloud_event_says_which_call_it_is() -> None:
    record = record_of("private_openai", "stream")
    (alone,) = collected(cloud_event(record)).calls
    (inner,) = collected(cloud_event(cloud_event(record), id="outer", time="2026-11-20T10:00:00Z")).calls
    assert inner.request_id == alone.request_id


def test_time_serves_where_the_record_has_none() -> None:
    time = "2026-11-20T10:00:00Z"
    without = usage_event()
    del without["timestamp"]
    for record in (without, record_of("apim_chargeback", "whole")):
        (call,) = collected(cloud_event(record, time=time)).calls
        assert call.timestamp.isoformat() == "2026-11-20T10:00:00+00:00"
    (call,) = collected(cloud_event(usage_event(), time=time)).calls
    assert call.timestamp.hour == 12
    assert collected(cloud_event(without, time="noon")).dead_letters[0].field == "timestamp"


@pytest.mark.parametrize("data", [None, 5, "text", True, "", [5]])
def test_cloud_event_without_a_record_is_one_dead_letter(data: object) -> None:
    result = collected(cloud_event(data), usage_event())
    assert ([letter.reason for letter in result.dead_letters], len(result.calls)) == (["not_json"], 1)


def test_wrong_base64_is_named() -> None:
    event = in_base64(usage_event()) | {"data_base64": "not base64"}
    assert collected(event).dead_letters[0].field == "data_base64"


@pytest.mark.parametrize("without", ["specversion", "type", "source", "id", "data"])
def test_what_is_no_cloud_event_is_no_wrapper(without: str) -> None:
    event = cloud_event(usage_event())
    del event[without]
    assert collected(event).dead_letters[0].reason == "unknown_dialect"


@pytest.mark.parametrize("extra", [{"records": [{}]}, {"records": 1}, {"data": {}}, {"specversion": "1.0"}])
def test_unknown_member_of_a_usage_event_makes_no_wrapper_of_it(extra: dict[str, Any]) -> None:
    assert len(collected(usage_event(**extra)).calls) == 1


def test_bad_records_take_no_neighbour_along() -> None:
    good = [usage_event() for _ in range(3)]
    result = collected({"records": [good[0], None, 5, [], {}, cloud_event(None), good[1]]}, [{"records": [good[2]]}])
    assert [call.request_id for call in result.calls] == [event["request_id"] for event in good]
    assert [letter.position for letter in result.dead_letters] == [1, 2, 3, 4, 5]


def test_wrappers_end_somewhere() -> None:
    deep: Any = usage_event()
    for _ in range(MAX_DEPTH):
        deep = {"records": [deep]}
    assert len(collected(deep).calls) == 1
    for deeper in ({"records": [deep]}, cloud_event(deep)):
        assert [letter.reason for letter in collected(deeper).dead_letters] == ["not_json"]


AZURE_MONITOR = [
    {
        "time": "2026-11-20T12:00:00.123Z",
        "category": category,
        "correlationId": "b6a7c8d9-0000-4111-8222-933334444555",
        "resourceId": "/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/A",
        "properties": properties,
    }
    for category, properties in (
        ("GatewayLlmLogs", {"requestId": "chatcmpl-1", "promptTokens": 26, "completionTokens": 4, "totalTokens": 30}),
        ("GatewayLogs", {"apimSubscriptionId": "sub-1", "responseCode": 200, "requestHeaders": {}}),
    )
]


def test_azure_monitors_records_come_one_by_one() -> None:
    body = json.dumps({"records": [*AZURE_MONITOR, usage_event()]}).encode()
    found = [inner.record for inner in find_records(body)]
    assert found[:2] == AZURE_MONITOR
    assert len(found) == 3


wrapped_values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([usage_event(), record_of("exchange", "objects"), {}, None, 5, "x", "e30=", "[{}]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(lambda items: {"records": items}, inner)
        | st.builds(cloud_event, inner)
        | st.builds(in_base64, inner)
        | st.builds(lambda value: cloud_event(value) | {"source": 5}, inner)
        | st.builds(
            lambda value: {"specversion": "1.0", "type": "t", "id": "i", "source": "s", "data_base64": value}, inner
        )
    ),
    max_leaves=8,
)


@given(wrapped_values, st.integers(0, 400))
def test_any_wrapping_is_accounted_for(value: Any, cut: int) -> None:
    text = json.dumps(value).encode()
    collected(text)
    collected(text[: len(text) - cut])
    assert all(isinstance(found.record, dict | BadRecord) for found in find_records(text))
