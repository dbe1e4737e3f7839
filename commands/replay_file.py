"""`replay --file`: events from a file. None is set aside: what is bad is said, and the file is still there."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from collectors.collect import Collected, collect
from collectors.identity import is_of_delivery
from commands.event_file import Body, open_events
from commands.tally import Tally
from ledger.dead_letters import DeadLetters
from models.call import Call
from models.dead_letter import DeadLetter
from models.errors import StoreUnavailable
from models.origin import Origin, RawEvent
from pipeline import ingest
from services import Services
from services import now as wall_clock

AT_ONCE: Final = 500
"""Events counted together."""
MAX_TOLD: Final = 100
"""Of the lines that cannot be counted; the others are only numbered."""
LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


class Complaints:
    """Prints what cannot be counted, as much as anyone reads."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self.number = 0

    def add(self, place: int, what: str) -> None:
        self.number += 1
        if self.number <= MAX_TOLD:
            print(f"{self._unit} {place} {what}")

    def end(self) -> None:
        if self.number > MAX_TOLD:
            print(f"{self.number - MAX_TOLD} more are left out")


class ToldLetters(DeadLetters):
    """In the place of the table: the bad records are said."""

    def __init__(self, complaints: Complaints):
        self._complaints = complaints

    async def set_aside(self, dead_letters: Iterable[DeadLetter], now: datetime) -> None:
        for letter in dead_letters:
            about = f" {letter.field}" if letter.field else ""
            place = f", its record {letter.position + 1}" if letter.position else ""
            what = f"is left out{place}: {letter.reason}{about}: expected {letter.expected}, got {letter.got}"
            self._complaints.add(letter.origin.sequence_number, what)

    async def remove_counted(
        self, events: Sequence[RawEvent], still: Iterable[DeadLetter], *, replayed: bool = False
    ) -> int:
        """A file is no delivery of a hub, so no letter can be of it."""
        return 0


async def replay_file(path: Path, sent: datetime | None, found: Services) -> int:
    """Count what is in the file. `sent` is the time of the records that say none; else when the file was changed.

    Such records, and those whose time lies in the future, are the same calls if the file is read again. Those without
    an identity are left out: none can be told from one that came by a hub. Returns 1 if anything was left out.
    """
    sent = sent or _last_change(path)
    tally = Tally()
    undated = 0
    now = wall_clock()
    with open_events(path) as file:
        complaints = Complaints(file.unit)
        telling = replace(found, dead_letters=ToldLetters(complaints))
        events = _events(file.bodies, path, sent, now)
        while batch := list(islice(events, AT_ONCE)):
            named: list[RawEvent] = []
            for event in batch:
                calls = _calls(collect([event], LONG_AGO))
                if any(is_of_delivery(call.request_id) for call in calls):
                    complaints.add(event.origin.sequence_number, "is left out: a record in it has no id of its own")
                else:
                    named.append(event)
                    undated += sum(call.undated is True for call in calls)
            try:
                tally.add(await ingest(named, telling, replay="replay-file"))
            except StoreUnavailable as fault:
                print(f"stopped at {file.unit} {batch[0].origin.sequence_number} ({fault}); run it again")
                return 1
    complaints.end()
    if undated:
        print(f"{undated} records say no time: those not known yet are counted at {sent.isoformat()} (--sent)")
    print(tally, flush=True)
    return 1 if complaints.number else 0


def _last_change(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _events(bodies: Iterator[Body], path: Path, sent: datetime, now: datetime) -> Iterator[RawEvent]:
    hub = "file:" + re.sub(r"[^A-Za-z0-9._-]", "_", path.name)[:100]
    for place, text in bodies:
        yield RawEvent(text, Origin(hub, "0", place, now), sent=sent)


def _calls(collected: Collected) -> list[Call]:
    return [*collected.calls, *(half.call for half in collected.halves)]
