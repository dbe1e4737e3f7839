"""collectors.dialects: every fixture becomes what it says it becomes, and is recognised by one dialect."""

import json
from typing import Any

import pytest

from collectors.collect import Collected, collect
from collectors.dialects import DIALECTS, Dialect
from collectors.identity import is_made_up
from models.call import Call
from tests.collectors.dialects.fixtures import MARK, Case, cases
from tests.collectors.reading import LONG_AGO, collected, told
from tests.support.events import raw_event

CASES = cases()
all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.module}.{case.name}")
MODULES = {dialect.__name__.rpartition(".")[2]: dialect for dialect in DIALECTS}  # type: ignore[attr-defined]


def shown(call: Call) -> dict[str, Any]:
    """The call as fixtures show it."""
    usage = {name: count for name, count in call.usage._asdict().items() if count is not None}
    return call._asdict() | {"usage": usage, "timestamp": call.timestamp.isoformat()}


@all_cases
def test_record_becomes_what_its_fixture_says(case: Case) -> None:
    result = collected(case.record)
    if case.call is not None:
        call = shown(result.calls[0])
        assert {name: call[name] for name in case.call} == case.call
    if case.half is not None:
        (half,) = result.halves
        shown_half = shown(half.call) | {"kind": half.kind}
        assert {name: shown_half[name] for name in case.half} == case.half
        assert half.waits
    assert result.ignored == case.ignored
    if case.ignored:
        assert result.received == 0
    if case.dead_letter is not None:
        letter = result.dead_letters[0]._asdict()
        assert {name: letter[name] for name in case.dead_letter} == case.dead_letter
        assert letter["dialect"] == MODULES[case.module].NAME


def test_every_dialect_has_fixtures() -> None:
    assert {case.module for case in CASES} == set(MODULES)


ON_PURPOSE = {
    "raw_response": {"exchange"},
    "private_openai": {"exchange"},
    "gateway_llm_log": {"azure_monitor", "landing_zone"},
    "gateway_log": {"azure_monitor"},
}
"""Records that a later dialect would recognise as well."""


@all_cases
def test_one_dialect_recognises_a_record_unless_the_order_settles_it(case: Case) -> None:
    knowing = [name for name, dialect in MODULES.items() if dialect.recognises(case.record)]
    first = next(name for name, dialect in MODULES.items() if dialect.recognises(case.record))
    assert first == case.module
    assert set(knowing) - {case.module} <= ON_PURPOSE.get(case.module, set())
    orders = [getattr(MODULES[name], "ORDER", 50) for name in knowing]
    assert len(set(orders)) == len(orders), "two dialects of one order recognise it"


@all_cases
def test_a_record_with_the_rows_of_others_around_it_is_the_same(case: Case) -> None:
    """A bad one takes no neighbour along, and none leaves anything behind."""
    bad = [{"category": "GatewayLlmLogs", "properties": {"promptTokens": -1}}, {"category": "GatewayLogs"}, 5]
    alone, among = collected(case.record), collected({"records": [*bad, case.record, *bad]})
    assert [call._replace(request_id="", position=0) for call in told(among)] == [
        call._replace(request_id="", position=0) for call in told(alone)
    ]
    assert (len(among.dead_letters), among.ignored) == (len(alone.dead_letters) + 6, alone.ignored)


@all_cases
def test_no_secret_and_no_content_is_kept(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    kept = collected(case.record)
    assert MARK not in repr(kept)
    assert MARK not in caplog.text


@pytest.mark.parametrize("carrier", [MARK, [MARK], {MARK: MARK}, MARK * 300, f"data: {{{MARK}", 5], ids=repr)
@all_cases
def test_no_dead_letter_holds_text_of_the_record(case: Case, carrier: object) -> None:
    """A marker in each member in turn, the record whole and cut: the id of the call is all that is repeated."""
    call_id = getattr(MODULES[case.module], "CALL_ID", None)
    properties = case.record.get("properties")
    inside = properties if isinstance(properties, dict) else {}
    changed = [(name, case.record | {name: carrier}) for name in case.record]
    changed += [(name, case.record | {"properties": inside | {name: carrier}}) for name in inside]
    for name, record in changed:
        text = json.dumps(record).encode()
        for letter in collected(record, text[: len(text) // 2], text[:-2]).dead_letters:
            kept = letter._replace(request_id=None) if name in (call_id, "request_id") else letter
            assert MARK not in repr(kept), (name, letter)


def delivered(record: object, **delivery: Any) -> Collected:
    return collect([raw_event(record, **delivery)], LONG_AGO)


@all_cases
def test_redelivery_gives_the_same_call_and_a_second_sending_another_where_there_is_no_id(case: Case) -> None:
    first, again, second = (told(delivered(case.record, sequence_number=number)) for number in (7, 7, 8))
    assert first == again
    if not first:
        return
    dialect: Dialect = MODULES[case.module]
    carried = getattr(dialect, "CALL_ID", None) in case.record or "request_id" in case.record
    assert (first[0].request_id == second[0].request_id) is not is_made_up(first[0].request_id)
    assert carried is not is_made_up(first[0].request_id) or hasattr(dialect, "HALF")  # whose ids may stand elsewhere


@all_cases
def test_records_of_one_event_and_of_other_partitions_are_calls_of_their_own(case: Case) -> None:
    dialect: Dialect = MODULES[case.module]
    if case.call is None or getattr(dialect, "CALL_ID", None) or "request_id" in case.record:
        return
    together = delivered([case.record, case.record], sequence_number=7).calls
    elsewhere = [*delivered(case.record, partition="1").calls, *delivered(case.record, hub="other").calls]
    assert len({call.request_id for call in (*together, *elsewhere)}) == 4
