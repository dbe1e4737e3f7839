"""The gateway's own logs: one meaning in whatever spelling, many records in one event, and nothing that raises."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.dialects import DIALECTS
from models.errors import BadRecord
from tests.collectors.dialects.fixtures import MARK, cases, record_of
from tests.collectors.dialects.test_members import DELIVERY, json_values
from tests.collectors.reading import collected
from tests.support.events import usage_event

Record = dict[str, Any]
LOGS = ("gateway_llm_log", "gateway_log")
LIKE = {"gateway_llm_log": record_of("gateway_llm_log", "row"), "gateway_log": record_of("gateway_log", "record")}
TABLES = {"gateway_llm_log": "ApiManagementGatewayLlmLog", "gateway_log": "ApiManagementGatewayLogs"}


def pascal(members: Record) -> Record:
    return {name[0].upper() + name[1:]: value for name, value in members.items()}


def spellings(module: str, record: Record) -> list[Record]:
    """`record`, which has `properties`, in the other ways in which such a record is written."""
    properties = record["properties"]
    beside = {name: value for name, value in record.items() if name not in ("properties", "time", "category")}
    exported = {"TimeGenerated": record["time"], "Type": TABLES[module], "_ResourceId": "/subscriptions/s"}
    return [
        record | {"properties": pascal(properties)},
        pascal(record | {"properties": pascal(properties)}),
        record | {"properties": json.dumps(properties)},
        pascal(beside | {name: value for name, value in properties.items() if value not in (None, "")}) | exported,
    ]


VALUES: list[Any] = [0, 1, 26, 10**12, 10**13, -1, "26", "", None, "x", True, 1.5, {}, [], "a" * 2000]
changes = {
    module: st.dictionaries(st.sampled_from(sorted(record["properties"])), st.sampled_from(VALUES), max_size=3)
    for module, record in LIKE.items()
}


@pytest.mark.parametrize("module", LOGS)
@given(st.data())
def test_every_spelling_means_the_same(module: str, data: st.DataObject) -> None:
    record = LIKE[module] | {"properties": LIKE[module]["properties"] | data.draw(changes[module])}
    first = collected(record)
    for other in map(collected, spellings(module, record)):
        assert other.halves == first.halves
        assert other.ignored == first.ignored
        assert [(letter.reason, letter.field) for letter in other.dead_letters] == [
            (letter.reason, letter.field) for letter in first.dead_letters
        ]


NAMES = sorted({name for record in LIKE.values() for name in {*record, *record["properties"]}})
members = st.dictionaries(st.sampled_from([*NAMES, *pascal(dict.fromkeys(NAMES))]), json_values, max_size=4)


@given(st.sampled_from([case.record for module in LOGS for case in cases(only=module)]), members, members)
def test_whatever_a_member_holds_it_is_read_or_named(record: Record, beside: Record, inside: Record) -> None:
    properties = record.get("properties")
    changed = record | beside
    if isinstance(properties, dict):
        changed["properties"] = properties | inside
    for dialect in DIALECTS:
        if dialect.recognises(changed):
            try:
                dialect.read(changed, DELIVERY)
            except BadRecord as bad:
                assert bad.expected
                assert bad.got
    collected(changed)


def test_one_event_holds_records_of_many_categories() -> None:
    """As API Management sends them, with the rows of several requests, and a policy's event among them."""
    row, log = LIKE["gateway_llm_log"], LIKE["gateway_log"]
    message = record_of("gateway_llm_log", "messages")
    probe = record_of("gateway_llm_log", "probe")
    metric = record_of("azure_monitor", "metric")
    bad = record_of("gateway_llm_log", "bad count")
    other = json.loads(json.dumps(row).replace("B6A7C8D9", "0A0A0A0A"))
    whole = usage_event()
    result = collected({"records": [message, row, metric, log, bad, probe, other, message, whole, metric]})
    assert [(half.kind, half.call.request_id[:8]) for half in result.halves] == [
        ("llm_log", "b6a7c8d9"),
        ("gateway_log", "b6a7c8d9"),
        ("llm_log", "0a0a0a0a"),
    ]
    assert [call.request_id for call in result.calls] == [whole["request_id"]]
    assert [letter.field for letter in result.dead_letters] == ["completionTokens"]
    assert (result.received, result.ignored) == (5, 5)
    assert [half.call.position for half in result.halves] == [1, 3, 6]
    assert MARK not in repr(result)


@pytest.mark.parametrize("as_guid", ["{%s}", "(%s)", "%s"])
def test_ids_are_compared_as_guids_with_those_of_policies(as_guid: str) -> None:
    plain = LIKE["gateway_llm_log"]["correlationId"]
    (call,) = collected(usage_event(request_id=as_guid % plain)).calls
    (half,) = collected(LIKE["gateway_llm_log"]).halves
    assert call.request_id == half.call.request_id


@pytest.mark.parametrize(
    "url", ["/" * 10**5, "/v" + "1" * 10**5, ":" + "a" * 10**5, "/models/a" * 10**4, "a://" * 10**4]
)
def test_a_url_made_to_be_slow_is_not(url: str) -> None:
    """Patterns that try every way through it would need minutes."""
    log = LIKE["gateway_log"]
    result = collected(log | {"properties": log["properties"] | {"url": url, "backendUrl": url}})
    assert result.ignored == 1


def test_a_policys_event_waits_for_the_log_only_where_it_has_no_usage() -> None:
    (half,) = collected(usage_event(usage_source="gateway_log", usage=None)).halves
    assert (half.kind, half.waits) == ("policy", True)
    assert len(collected(usage_event(usage_source="gateway_log")).calls) == 1
    assert len(collected(usage_event(usage_source="event", usage=None)).calls) == 1


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("odd", [7, True, ["x"], {"x": 1}])
def test_a_text_that_is_none_costs_no_call(log: str, odd: object) -> None:
    """Who called, and what was used, is worth more than a region."""
    record = LIKE[log]
    for name in ("region", "modelName", "userId", "lastErrorSource"):
        (half,) = collected(record | {"properties": record["properties"] | {name: odd}}).halves
        assert half.call.request_id == record["correlationId"].lower()
    last_error = {"source": odd, "reason": "Timeout"}
    (half,) = collected(record | {"properties": record["properties"] | {"lastError": last_error}}).halves
    assert half.call.request_id == record["correlationId"].lower()


def test_counts_beside_an_id_are_not_taken_for_a_row_of_the_log() -> None:
    counts = {"promptTokens": 10, "completionTokens": 5, "totalTokens": 15}
    result = collected({"correlationId": "c1", **counts, "appId": "team-x", "model": "gpt-4o"})
    assert [letter.reason for letter in result.dead_letters] == ["unknown_dialect"]
