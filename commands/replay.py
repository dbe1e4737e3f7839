"""Read events again, from a hub or from a file: what was counted stays as it is, what was missed is added."""

import argparse
import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from collectors.collect import collect
from collectors.identity import delivery_id
from hub_reader import HubReader, Position
from hub_state import HubUnavailable, PartitionState
from models.batch_report import BatchReport
from models.errors import StoreUnavailable
from models.event import parse_rfc3339
from models.origin import Origin, RawEvent
from pipeline import ingest
from services import Services

HELP = "read events again from a hub or a file: what was counted stays as it is, what was missed is added"
AT_ONCE: Final = 4
"""Partitions."""
LINES: Final = 500
"""Of a file, counted together."""
SECONDS_BETWEEN_LINES: Final = 5.0
FIGURES: Final = ("received", "counted", "duplicate", "joined", "pending", "dead_lettered")
LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to read."""
    parser.add_argument("--hub", help="default: the hub of usage events")
    parser.add_argument("--partition", action="append", help="repeatable; default: all")
    parser.add_argument("--from", dest="start", metavar="TIME", help="enqueued at this time or later (RFC 3339)")
    parser.add_argument("--to", dest="end", metavar="TIME", help="enqueued before this time")
    parser.add_argument("--from-sequence", type=int, metavar="NUMBER", help="of the one --partition, included")
    parser.add_argument("--to-sequence", type=int, metavar="NUMBER", help="of the one --partition, included")
    parser.add_argument("--consumer-group", default="$Default", help="not that of the function app; default: $Default")
    parser.add_argument("--file", type=Path, help="instead of a hub: a file with the body of one event on each line")
    parser.add_argument("--sent", metavar="TIME", help="of a file: when it was sent; default: when it was last changed")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if a part could not be read or counted. Raises ValueError for what cannot be meant."""
    of_hub = (arguments.hub, arguments.partition, arguments.start, arguments.end, arguments.from_sequence)
    if arguments.file and any(each is not None for each in (*of_hub, arguments.to_sequence)):
        raise ValueError("--file is read as a whole: expected nothing beside it but --sent")
    return await (_file(arguments, found) if arguments.file else _hub(arguments, found))


class Tally:
    """What became of the records so far; printed from time to time."""

    def __init__(self) -> None:
        self._events = 0
        self._records: Counter[str] = Counter()
        self._printed = time.monotonic()

    def add(self, report: BatchReport | None) -> None:
        if report is not None:
            self._events += report.events
            self._records.update({name: getattr(report, name) for name in (*FIGURES, "corrected", "ignored")})
        if time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(self, flush=True)

    def __str__(self) -> str:
        told = ", ".join(f"{self._records[name]} {name.replace('_', '-')}" for name in FIGURES)
        aside = ", ".join(f"{self._records[name]} {name}" for name in ("corrected", "ignored"))
        return f"{self._events} events: {told} ({aside})"


async def _hub(arguments: argparse.Namespace, found: Services) -> int:
    hub = arguments.hub or found.settings.usage_events_hub
    by_number = arguments.from_sequence is not None or arguments.to_sequence is not None
    if by_number and len(arguments.partition or ()) != 1:
        raise ValueError("--from-sequence and --to-sequence are numbers of one partition: expected one --partition")
    if by_number and (arguments.start or arguments.end):
        raise ValueError("times and sequence numbers are both given: expected one of them")
    try:
        states = {state.partition: state for state in await found.hub_state(hub).partitions()}
    except HubUnavailable as fault:
        raise HubUnavailable(f"hub {hub}: {fault}") from fault
    for name in arguments.partition or ():
        if name not in states:
            raise ValueError(f"--partition is {name!r}: expected one of {', '.join(states)} of the hub {hub}")
    start, end = (parse_rfc3339(text) if text else None for text in (arguments.start, arguments.end))
    tally = Tally()
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(state: PartitionState) -> bool:
        numbers = _numbers(state, arguments.from_sequence, arguments.to_sequence)
        if state.is_empty or not numbers or (start is not None and start > state.last_enqueued_time):
            return True
        async with at_once:
            return await _partition(reader, hub, state.partition, start or numbers[0], numbers[-1], end, found, tally)

    reader = found.hub_reader(hub, arguments.consumer_group)
    try:
        whole = await asyncio.gather(*(one(states[name]) for name in dict.fromkeys(arguments.partition or states)))
    finally:
        await reader.close()
        print(tally, flush=True)
    return 0 if all(whole) else 1


def _numbers(state: PartitionState, first: int | None, last: int | None) -> range:
    """The sequence numbers to read, of those that the partition holds now."""
    most = state.last if last is None else min(last, state.last)
    return range(state.first if first is None else max(first, state.first), most + 1)


async def _partition(
    reader: HubReader,
    hub: str,
    partition: str,
    start: Position,
    last: int,
    end: datetime | None,
    found: Services,
    tally: Tally,
) -> bool:
    """True if all of it was counted."""
    following: Position = start
    try:
        async with aclosing(reader.read(partition, start, last)) as batches:
            async for batch in batches:
                wanted = [event for event in batch if end is None or event.origin.enqueued_time < end]
                tally.add(await ingest(wanted, found, replay=f"replay-{hub}-{partition}"))
                if len(wanted) < len(batch):
                    break
                following = batch[-1].origin.sequence_number + 1
    except (StoreUnavailable, HubUnavailable, asyncio.CancelledError) as fault:
        go_on = f"--from-sequence {following}" if isinstance(following, int) else f"--from {following.isoformat()}"
        print(f"partition {partition} stopped ({fault or 'interrupted'}); go on with --partition {partition} {go_on}")
        if isinstance(fault, asyncio.CancelledError):
            raise
        return False
    return True


async def _file(arguments: argparse.Namespace, found: Services) -> int:
    """The records need an identity of their own: without, none can be told from one that came by a hub."""
    path: Path = arguments.file
    sent = parse_rfc3339(arguments.sent) if arguments.sent else _last_change(path)
    tally = Tally()
    nameless = 0
    with path.open("rb") as lines:
        events = _events(lines, path, sent)
        while batch := list(islice(events, LINES)):
            named = [event for event in batch if not _is_nameless(event)]
            for number in sorted(_numbers_of(batch) - _numbers_of(named)):
                print(f"line {number} is left out: a record in it has no id of its own")
                nameless += 1
            try:
                tally.add(await ingest(named, found, replay="replay-file"))
            except StoreUnavailable as fault:
                print(f"stopped at line {batch[0].origin.sequence_number} ({fault}); run it again")
                return 1
    print(tally, flush=True)
    return 1 if nameless else 0


def _last_change(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _events(lines: Iterator[bytes], path: Path, sent: datetime) -> Iterator[RawEvent]:
    hub = "file:" + re.sub(r"[^A-Za-z0-9._-]", "_", path.name)[:100]
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield RawEvent(line, Origin(hub, "0", number, sent))


def _numbers_of(events: list[RawEvent]) -> set[int]:
    return {event.origin.sequence_number for event in events}


def _is_nameless(event: RawEvent) -> bool:
    collected = collect([event], LONG_AGO)
    calls = [*collected.calls, *(half.call for half in collected.halves)]
    return any(call.request_id == delivery_id(event.origin, call.position) for call in calls)
