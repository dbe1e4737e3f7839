"""The way of a batch: hub events -> calls and dead letters -> tables. Read this first.

collectors.collect   what the events say (pure)
ledger.pending       the halves of calls that the gateway tells in several records meet
ledger.directory     which apps and models there are
ledger.commit        each call counted exactly once
ledger.dead_letters  what could not be read, set aside with the reason
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from collectors.collect import Collected, collect
from collectors.identity import is_made_up
from ledger.commit import CommitReport
from ledger.pending import Meeting
from ledger.purge import PurgeReport, purge_calls
from ledger.settle import SettleReport, settle_pending
from models.call import Call
from models.dead_letter import REJECTED_BY_STORE, DeadLetter
from models.half import Half
from models.origin import RawEvent
from services import Services
from services import now as wall_clock

log = logging.getLogger("usage_collector")


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of every record of a batch: received = counted + duplicate + joined + pending + dead_lettered.

    `joined` records told another part of a call than the one that is counted; `pending` ones wait for such a part.
    `corrected` calls were counted before without their usage. `ignored` records are knowingly not about a call, and not
    among the received. `transactions` came through, writing `entities` rows; `requests` were sent, of which `conflicts`
    met a row that was not as expected and `retries` a passing fault. `lag_seconds` is the age of the batch's newest
    event, `milliseconds` the time the batch took.
    """

    hub: str
    partition: str
    first_sequence_number: int
    last_sequence_number: int
    events: int
    received: int
    counted: int
    duplicate: int
    joined: int
    pending: int
    dead_lettered: int
    corrected: int
    ignored: int
    transactions: int
    entities: int
    requests: int
    conflicts: int
    retries: int
    milliseconds: int
    lag_seconds: float


async def ingest(
    events: Sequence[RawEvent], services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock
) -> BatchReport | None:
    """Count a batch of one hub partition. Returns None for an empty batch.

    Raises StoreUnavailable if not everything could be stored: the batch must come again, and nothing is counted twice
    when it does.
    """
    if not events:
        return None
    started = time.monotonic()
    oldest = now() - timedelta(days=services.settings.call_retention_days)
    # In a thread, since a batch of large bodies takes seconds to read, and the app has other things to answer.
    estimate_usage = services.settings.estimate_usage
    collected = await asyncio.to_thread(collect, events, oldest, estimate_usage=estimate_usage)
    whole, halves = _told_apart(collected, bool(services.settings.gateway_logs_hub))
    meetings = await services.pending.meet(halves, now())
    joined = [call for meeting in meetings for call in (meeting.verdict.call, *meeting.verdict.moved) if call]
    calls = whole + joined
    await services.directory.enter(calls)
    committed = await services.ledger.commit(calls, events[0].origin.writer)
    dead_letters = collected.dead_letters + [_refused(call, why) for call, why in committed.refused]
    dead_letters += [
        _refused(meeting.records[0].call, meeting.refused) for meeting in meetings if meeting.refused is not None
    ]
    await services.dead_letters.set_aside(dead_letters)
    report = _report(events, collected, tally(meetings, committed), committed, dead_letters, started, now())
    log.info("%s", json.dumps({"event": "batch", "invocation_id": invocation_id, **asdict(report)}))
    return report


def _told_apart(collected: Collected, joins: bool) -> tuple[list[Call], list[Half]]:
    """The calls to count at once, and what has to meet other halves first. Where the gateway's logs come too, a call
    with a request_id of its own is such a half: its log must find that it was counted."""
    if not joins:
        return collected.calls, collected.halves
    whole = [call for call in collected.calls if is_made_up(call.request_id)]
    parts = [Half("policy", call, waits=False) for call in collected.calls if not is_made_up(call.request_id)]
    return whole, parts + collected.halves


async def settle(services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock) -> SettleReport:
    """Count the calls whose other half did not come by the deadline. Raises if the tables do not answer."""
    report = await settle_pending(services.pending, services.ledger, services.directory, now())
    await services.dead_letters.set_aside([_refused(call, why) for call, why in report.refused])
    figures = asdict(report) | {"refused": len(report.refused)}
    log.info("%s", json.dumps({"event": "settle", "invocation_id": invocation_id, **figures}))
    return report


async def purge(services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock) -> PurgeReport:
    """Delete the call rows past their retention. Raises if the tables do not answer."""
    oldest = now() - timedelta(days=services.settings.call_retention_days)
    report = await purge_calls(services.usage, services.directory, oldest)
    log.info("%s", json.dumps({"event": "purge", "invocation_id": invocation_id, **asdict(report)}))
    return report


def _refused(call: Call, why: str) -> DeadLetter:
    return DeadLetter(
        origin=call.origin,
        position=call.position,
        reason=REJECTED_BY_STORE,
        field=None,
        expected="a row that Table Storage accepts",
        got=why,
        request_id=call.request_id[:128],
    )


class Tally(NamedTuple):
    """The records of a batch by what became of them, but for the dead letters."""

    counted: int
    duplicate: int
    joined: int
    pending: int


def tally(meetings: Sequence[Meeting], committed: CommitReport) -> Tally:
    """One record of a call that was counted now is `counted`. The others are `joined` if they told something new of it
    and `duplicate` if not."""
    counted = {id(call) for call in committed.counted}
    met = {id(meeting.verdict.call) for meeting in meetings}
    joined = sum(id(call) not in met for call in committed.corrected)
    duplicate = sum(id(call) not in met for call in committed.duplicates)
    pending = 0
    for meeting in meetings:
        once = meeting.refused is not None or id(meeting.verdict.call) in counted
        new = max(meeting.new - once, 0)
        duplicate += len(meeting.records) - once - new
        if meeting.waits:
            pending += new
        else:
            joined += new
    return Tally(len(committed.counted), duplicate, joined, pending)


def _report(
    events: Sequence[RawEvent],
    collected: Collected,
    became: Tally,
    committed: CommitReport,
    dead_letters: Sequence[DeadLetter],
    started: float,
    now: datetime,
) -> BatchReport:
    first, last = events[0].origin, events[-1].origin
    return BatchReport(
        hub=first.hub,
        partition=first.partition,
        first_sequence_number=first.sequence_number,
        last_sequence_number=last.sequence_number,
        events=len(events),
        received=collected.received,
        **became._asdict(),
        dead_lettered=sum(letter.records for letter in dead_letters),
        corrected=len(committed.corrected),
        ignored=collected.ignored,
        transactions=committed.transactions,
        entities=committed.entities,
        requests=committed.requests,
        conflicts=committed.conflicts,
        retries=committed.retries,
        milliseconds=round((time.monotonic() - started) * 1000),
        lag_seconds=round((now - last.enqueued_time).total_seconds(), 3),
    )
