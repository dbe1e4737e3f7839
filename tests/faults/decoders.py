"""What must hold of every decoder, whatever bytes it is given: checked by hypothesis and by atheris alike.

A check raises AssertionError, or lets through what its decoder raises though it declares nothing of the sort.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from azure.data.tables import EntityProperty
from pydantic_core import from_json

from collectors import aws_events
from collectors.body import read_body
from collectors.collect import Collected, collect
from collectors.cut import is_cut, mend
from collectors.decode import decode
from collectors.dialects import DIALECTS
from collectors.envelopes import find_records
from collectors.fragment import read_fragment
from collectors.identity import Delivery
from collectors.normalise import normalise
from collectors.reading import BodyReading
from collectors.shapes import SHAPES, recognise
from collectors.sse import EventStream
from collectors.text import answer_texts, request_text
from ledger.plan import plan
from ledger.rows import call_entity
from models.call import Call
from models.dead_letter import UNREADABLE
from models.errors import BadRecord
from models.event import UsageEvent
from models.measures import measures_of
from models.origin import Origin
from models.usage import Usage
from tests.collectors.dialects.fixtures import cases
from tests.support.events import NOON, raw_event, usage_event

ROOT = Path(__file__).parents[2]
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
FORBIDDEN_IN_KEYS = set("/\\#?") | {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))}
MAX_TEXT_UNITS = 32 * 1024


def _samples() -> list[dict[str, Any]]:
    lines = [line for name in ("recorded", "providers") for line in _lines(ROOT / "samples" / f"{name}.jsonl")]
    return [json.loads(line) for line in lines]


def _lines(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        return [line for line in file if len(line) < 12_000]


BODIES: list[bytes] = [sample["response"]["body"].encode() for sample in _samples()]
EVENTS: list[bytes] = [
    *(json.dumps(case.record).encode() for case in cases()),
    *(json.dumps(usage_event(usage=None, body=body.decode())).encode() for body in BODIES[::7]),
    json.dumps([usage_event(), usage_event(stream=True, body="data: [DONE]\n\n")]).encode(),
    json.dumps(usage_event(usage_source="gateway_log", usage=None)).encode(),
]


# --------------------------------------------------------------------------------------------------- whole batches


def check_batch(body: bytes) -> None:
    """Every record has one outcome, neighbours are counted, and what comes out can be stored."""
    before, after = usage_event(request_id="before"), usage_event(request_id="after")
    bodies = [before, body, after]
    result = collect([raw_event(each, sequence_number=number) for number, each in enumerate(bodies)], LONG_AGO)
    assert_accounted(result)
    assert [call.request_id for call in result.calls if call.origin.sequence_number != 1] == ["before", "after"]


def check_one_step(body: bytes) -> None:
    """An event is read alike in one step and in many, whatever is done with it afterwards."""
    events = [raw_event(body)]
    for estimate_usage in (False, True):
        read = collect(events, LONG_AGO, estimate_usage=estimate_usage, payloads="full")
        with in_many_steps():
            assert read == collect(events, LONG_AGO, estimate_usage=estimate_usage, payloads="full")


@contextmanager
def in_many_steps() -> Iterator[None]:
    """What is usually read in one step is parsed as a whole and then judged: the result is the same."""
    with (
        patch("collectors.dialects.usage_event.read_at_once", return_value=None),
        patch("collectors.body.skim", return_value=None),
    ):
        yield


def assert_accounted(result: Collected) -> None:
    """received = the outcomes; each says what it must, and none is a fault of our own."""
    outcomes = len(result.calls) + len(result.halves) + sum(letter.records for letter in result.dead_letters)
    assert result.received == outcomes
    for letter in result.dead_letters:
        assert letter.reason != UNREADABLE, letter
        assert letter.reason
        assert letter.expected
        assert letter.got
    for call in (*result.calls, *(half.call for half in result.halves)):
        assert_storable(call)


def assert_storable(call: Call) -> None:
    """As a row: keys and texts that the service takes, numbers of a known width, sums that can be added."""
    assert (call.usage_state == "missing") == (call.missing_reason is not None) or call.usage_state == "estimated"
    assert all(type(amount) is int and amount >= 0 for amount in measures_of(call).values())
    planned = plan([call], ("deployment", "user", "stream", "status"), "hub-0")
    ((transaction,),) = planned.transactions.values()
    entity = call_entity(call, transaction.partition, transaction.calls[0].row_key, "commit", ("deployment",))
    keys = (entity["PartitionKey"], entity["RowKey"], *(key for key in transaction.calls[0].changes[0].aggregates))
    for key in keys:
        assert len(key) <= 512
        assert FORBIDDEN_IN_KEYS.isdisjoint(key)
    for name, value in entity.items():
        if isinstance(value, str):
            assert len(value.encode("utf-16-le")) // 2 <= MAX_TEXT_UNITS, name  # raises for half a letter
        elif isinstance(value, EntityProperty):
            assert type(value.value) is int
            assert abs(value.value) < 2**63
        elif isinstance(value, int) and not isinstance(value, bool):
            assert abs(value) < 2**31, name
        else:
            json.dumps(value, allow_nan=False)


# ---------------------------------------------------------------------------------------------------- single steps


def check_decode(body: bytes) -> None:
    records = decode(body)
    assert records
    assert all(isinstance(record, dict | BadRecord) for record in records)


def check_envelopes(body: bytes) -> None:
    for found in find_records(body):
        assert isinstance(found.record, dict | BadRecord)
        assert found.sent is None or found.sent.tzinfo is UTC


def check_cut(body: bytes) -> None:
    mended = mend(body)
    if mended is None:
        return
    try:
        value = from_json(mended, allow_inf_nan=False)
    except ValueError:  # what was wrong before the cut still is
        return
    assert is_cut(value)


def check_dialects(body: bytes) -> None:
    """Each one reads what it says it recognises, or says what is wrong."""
    for record in (record for record in decode(body) if isinstance(record, dict)):
        for dialect in DIALECTS:
            if dialect.recognises(record):
                try:
                    event = dialect.read(record, Delivery(Origin("hub", "0", 1, NOON), 0))
                except BadRecord as fault:
                    assert fault.expected
                    continue
                assert event is None or isinstance(event, UsageEvent)


def check_body(body: bytes) -> None:
    for is_tail in (False, True):
        text = body.decode("utf-8", "replace")
        reading = read_body(text, is_tail=is_tail)
        assert_reading(reading)
        with in_many_steps():
            slowly = read_body(text, is_tail=is_tail)
        assert reading == slowly


def check_fragment(body: bytes) -> None:
    assert_reading(read_fragment(body))


def assert_reading(reading: BodyReading) -> None:
    """A usage that has a shape, or the reason why there is none."""
    assert (reading.usage is None) == (reading.missing_reason is not None)
    assert reading.usage is None or recognise(reading.usage) is not None
    assert reading.model is None or reading.model.encode()  # raises for half a letter


def check_sse(body: bytes) -> None:
    """From the end it is the same as from the start."""
    stream = EventStream(body)
    assert list(reversed(stream)) == list(stream)[::-1]


def check_aws_events(body: bytes) -> None:
    payloads = aws_events.payloads(body)
    assert payloads is None or all(isinstance(payload, bytes) for payload in payloads)


def check_normalise(body: bytes) -> None:
    for usage in _objects(body):
        for shape in SHAPES:
            try:
                found = normalise(usage, shape)
            except BadRecord as fault:
                assert fault.field
                continue
            assert found is None or isinstance(found, Usage)
            for count in found or ():
                assert count is None or count >= 0


def _objects(body: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON document, whatever they are."""
    try:
        todo = [from_json(body, allow_inf_nan=False)]
    except ValueError:
        return []
    found: list[dict[str, Any]] = []
    while todo and len(found) < 30:
        value = todo.pop()
        if isinstance(value, dict):
            found.append(value)
            todo += value.values()
        elif isinstance(value, list):
            todo += value
    return found


def check_text(body: bytes) -> None:
    assert all(isinstance(text, str) for text in answer_texts(body.decode("utf-8", "replace")))
    for request in _objects(body):
        told = request_text(request)
        assert told is None or (told.turns >= 0 and told.tokens >= 0)


CHECKS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "batch": (check_batch, EVENTS),
    "one_step": (check_one_step, EVENTS),
    "decode": (check_decode, EVENTS),
    "envelopes": (check_envelopes, EVENTS),
    "cut": (check_cut, EVENTS),
    "dialects": (check_dialects, EVENTS),
    "body": (check_body, BODIES),
    "fragment": (check_fragment, BODIES),
    "sse": (check_sse, BODIES),
    "aws_events": (check_aws_events, BODIES),
    "normalise": (check_normalise, BODIES),
    "text": (check_text, BODIES),
}
"""By name: a check, and the good input that its bad input is made of."""
