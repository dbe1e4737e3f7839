"""From event bytes to commit plan, against `pydantic_core.from_json` of the event and of the body inside it.

For server-sent events the floor parses every chunk, which is what reading from the end saves. Recorded answers as
long as they come are in lengths.jsonl (samples/NOTES.md); those of recorded.jsonl were chosen for being short. The
variable CORPUS may name a file of others in the same form.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from benchmarks.bodies import CHUNKS, Body, lengthened, recorded
from benchmarks.figures import Figure, ratio
from collectors.body import read_body
from collectors.collect import collect
from collectors.sse import is_event_stream
from ledger.plan import plan
from ledger.rows import call_entity
from models.origin import RawEvent
from tests.support.events import NOON, raw_event, usage_event

DIMENSIONS = ("deployment", "operation", "product")
EVENTS = 1000


def figures() -> Iterable[Figure]:
    """One ratio each for recorded JSON bodies, recorded streams, longer ones, and small events; and what it would be if
    the rows, which are made when they are sent, were made too."""
    bodies, short = recorded("lengths.jsonl"), recorded("recorded.jsonl")
    whole, streams, small = _whole(bodies), _streams(bodies), _events([{}])
    long = _streams(lengthened(body) for body in short if _is_sse(body))
    cases: list[tuple[str, list[RawEvent], _Parse, float | None]] = [
        ("recorded JSON bodies / parsing event and body", whole, from_json, 3.0),
        ("recorded streams / parsing event and every chunk", streams, _parse_chunks, 0.6),
        (f"streams of {CHUNKS} chunks / parsing event and every chunk", long, _parse_chunks, 0.6),
        ("small events with usage / parsing the event", small, from_json, 12.0),
        ("short JSON bodies / parsing event and body", _whole(short), from_json, None),
        ("short streams / parsing event and every chunk", _streams(short), _parse_chunks, None),
    ]
    if corpus := os.environ.get("CORPUS"):
        others = [body for body in recorded(Path(corpus).resolve()) if _is_read(body)]
        cases.append(("JSON bodies of CORPUS", _whole(others), from_json, 3.0))
        cases.append(("streams of CORPUS", _streams(others), _parse_chunks, 0.6))
    for name, events, parse, goal in cases:
        yield Figure(f"decode: {name}", _ratio(events, parse), "ratio", goal)
        if goal is not None:
            yield Figure(f"decode: {name}; rows made too", _ratio(events, parse, rows=True), "ratio")


_Parse = Callable[[bytes], object]


def _whole(bodies: Iterable[Body]) -> list[RawEvent]:
    return _events({"body": body.text, "usage": None} for body in bodies if not body.streaming)


def _streams(bodies: Iterable[Body]) -> list[RawEvent]:
    return _events({"body": body.text, "usage": None, "stream": True} for body in bodies if _is_sse(body))


def _is_sse(body: Body) -> bool:
    """False for streams of another framing, whose chunks the floor does not find."""
    return body.streaming and is_event_stream(body.text.encode())


def _is_read(body: Body) -> bool:
    """False for usage that stands in headers only."""
    return read_body(body.text, is_tail=False).usage is not None


def _events(changes: Iterable[dict[str, Any]]) -> list[RawEvent]:
    variants = list(changes)
    return [
        raw_event(usage_event(**variants[number % len(variants)]), sequence_number=number) for number in range(EVENTS)
    ]


def _ratio(events: Sequence[RawEvent], parse_body: _Parse, *, rows: bool = False) -> float:
    oldest = NOON - timedelta(days=365)

    def to_plan() -> int:
        collected = collect(events, oldest)
        planned = plan(collected.calls, DIMENSIONS, events[0].origin.writer)
        transactions = [each for group in planned.transactions.values() for each in group]
        if rows:
            for each in transactions:
                for one in each.calls:
                    call_entity(one.call, each.partition, one.row_key, "0" * 32, DIMENSIONS)
        return sum(len(each.calls) for each in transactions)

    def floor() -> None:
        for event in events:
            body = from_json(event.body).get("body")
            if body is not None:
                parse_body(body.encode())

    collected = collect(events, oldest)
    assert all(call.usage_state == "reported" for call in collected.calls)
    assert to_plan() == len(events)
    return ratio(to_plan, floor)


def _parse_chunks(body: bytes) -> None:
    for line in body.splitlines():
        if line.startswith(b"data: {"):
            from_json(line[6:])
