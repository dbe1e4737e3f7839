"""Read events again, from a hub or from a file: what was counted stays as it is, what was missed is added."""

import argparse
import asyncio
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Final

from commands.options import range_of, time_of
from commands.replay_file import replay_file
from commands.tally import Tally
from hub_reader import HubReader, Position
from hub_state import HubUnavailable, PartitionState
from ledger.retry import insist
from models.errors import StoreUnavailable
from pipeline import ingest
from services import Services

HELP = "read events again from a hub or a file: what was counted stays as it is, what was missed is added"
AT_ONCE: Final = 4
"""Partitions."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to read."""
    parser.add_argument("--hub", help="default: the hub of usage events")
    parser.add_argument("--partition", action="append", help="repeatable; default: all")
    parser.add_argument("--from", dest="start", metavar="TIME", help="enqueued at this time or later (RFC 3339)")
    parser.add_argument("--to", dest="end", metavar="TIME", help="enqueued before this time")
    parser.add_argument("--from-sequence", type=int, metavar="NUMBER", help="of the one --partition, included")
    parser.add_argument("--to-sequence", type=int, metavar="NUMBER", help="of the one --partition, included")
    parser.add_argument("--consumer-group", default="$Default", help="not that of the function app; default: $Default")
    parser.add_argument("--file", type=Path, help="instead of a hub: a file of events, JSON lines or one JSON document")
    parser.add_argument(
        "--sent", metavar="TIME", help="of a file: when its records without a time were sent; default: its last change"
    )


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if a part could not be read or counted. Raises ValueError for what cannot be meant."""
    of_hub = (arguments.hub, arguments.partition, arguments.start, arguments.end, arguments.from_sequence)
    if arguments.file and any(each is not None for each in (*of_hub, arguments.to_sequence)):
        raise ValueError("--file is read as a whole: expected nothing beside it but --sent")
    sent = time_of("--sent", arguments.sent)
    if arguments.file:
        return await replay_file(arguments.file, sent, found)
    if sent is not None:
        raise ValueError("--sent is the time of what is in a file: expected --file beside it")
    return await _hub(arguments, found)


async def _hub(arguments: argparse.Namespace, found: Services) -> int:
    hub = arguments.hub or found.settings.usage_events_hub
    by_number = arguments.from_sequence is not None or arguments.to_sequence is not None
    if by_number and len(arguments.partition or ()) != 1:
        raise ValueError("--from-sequence and --to-sequence are numbers of one partition: expected one --partition")
    first, last = arguments.from_sequence, arguments.to_sequence
    if first is not None and last is not None and first > last:
        raise ValueError(f"--from-sequence is {first}: expected at most --to-sequence, which is {last}")
    if by_number and (arguments.start or arguments.end):
        raise ValueError("times and sequence numbers are both given: expected one of them")
    start, end = range_of(arguments)
    try:
        states = {state.partition: state for state in await found.hub_state(hub).partitions()}
    except HubUnavailable as fault:
        raise HubUnavailable(f"hub {hub}: {fault}") from fault
    for name in arguments.partition or ():
        if name not in states:
            raise ValueError(f"--partition is {name!r}: expected one of {', '.join(states)} of the hub {hub}")
    tally = Tally()
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(state: PartitionState) -> bool:
        numbers = _numbers(state, arguments.from_sequence, arguments.to_sequence)
        if state.is_empty or not numbers or (start is not None and start > state.last_enqueued_time):
            return True
        async with at_once:
            return await _partition(reader, hub, state, start or numbers[0], numbers[-1], end, found, tally)

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
    state: PartitionState,
    start: Position,
    last: int,
    end: datetime | None,
    found: Services,
    tally: Tally,
) -> bool:
    """True if all of it was counted."""
    partition, following = state.partition, start
    goes_on: bool | None = None
    try:
        async with aclosing(reader.read(partition, start, last)) as batches:
            async for batch in batches:
                wanted = [event for event in batch if end is None or event.origin.enqueued_time < end]
                if goes_on is None:
                    goes_on = await _goes_on(found, hub, state, batch[0].origin.sequence_number)
                tally.add(await ingest(wanted, found, replay=f"replay-{hub}-{partition}"))
                if goes_on and wanted:
                    await found.progress.note_replayed(wanted[-1].origin)
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


async def _goes_on(found: Services, hub: str, state: PartitionState, first: int) -> bool:
    """Whether nothing that the partition holds before this event is left to count, as far as is noted."""
    if first <= state.first:
        return True
    reached = (await insist(found.progress.reached)).get((hub, state.partition))
    return reached is not None and first - 1 <= reached.sequence_number <= state.last  # else of a hub of before
