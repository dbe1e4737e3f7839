"""The way of a batch: hub events -> calls and dead letters -> tables. Read this first.

collectors.collect   what the events say (pure)
ledger.pending       the halves of calls that the gateway tells in several records meet
ledger.schema        whether this app understands the tables
ledger.directory     which apps and models there are
ledger.commit        each call counted exactly once
ledger.dead_letters  what could not be read, set aside with the reason
telemetry.record     all this as metrics, and ledger.progress how far the partition is: for operators
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from collectors.collect import Collected, collect
from collectors.identity import is_made_up, is_of_delivery
from collectors.letters import refused
from ledger.commit import CommitReport
from ledger.pending import Meeting
from ledger.purge import PurgeReport, purge_calls
from ledger.settle import SettleReport, settle_pending
from models.batch_report import BatchReport as BatchReport
from models.call import Call
from models.dead_letter import DeadLetter
from models.errors import StoreUnavailable
from models.half import Half
from models.origin import RawEvent
from services import Services
from services import now as wall_clock

log = logging.getLogger("usage_collector")

READ_SECONDS: Final = 60.0
WRITE_SECONDS: Final = 120.0
"""Of one batch. With what reading its bodies takes that is well under functionTimeout (host.json), at which the host
would end the process, and all that it does beside this batch."""


async def ingest(
    events: Sequence[RawEvent],
    services: Services,
    invocation_id: str = "",
    now: Callable[[], datetime] = wall_clock,
    *,
    replay: str | None = None,
) -> BatchReport | None:
    """Count a batch of one hub partition. Returns None for an empty batch.

    `replay` says that the events are read again, beside the function app, and under which name their aggregate rows are
    kept, so that they do not contend with the partition's. What they tell for the first time takes out the dead letters
    of their first delivery.

    Raises StoreUnavailable if not everything could be stored: the batch must come again, and nothing is counted twice
    when it does.
    """
    if not events:
        return None
    started = time.monotonic()
    try:
        return await _ingest(events, services, invocation_id, now, started, replay)
    except Exception as fault:
        seconds = time.monotonic() - started
        _tell_failure(events, services, invocation_id, type(fault).__name__, seconds)
        raise


async def _ingest(
    events: Sequence[RawEvent],
    services: Services,
    invocation_id: str,
    now: Callable[[], datetime],
    started: float,
    replay: str | None,
) -> BatchReport:
    kept_since = now() - timedelta(days=services.settings.call_retention_days)
    # They can differ after the setting was raised: rows that are gone do not come back.
    async with _in_time(READ_SECONDS):
        await services.schema.begin(now())
        oldest = max(kept_since, await services.directory.known_since())
    payloads = services.settings.dead_letter_payloads
    # In a thread, since a batch of large bodies takes seconds to read, and the app has other things to answer.
    collected = await asyncio.to_thread(
        collect,
        events,
        oldest,
        oldest_redriven=kept_since,
        estimate_usage=services.settings.estimate_usage,
        payloads=payloads,
    )
    async with _in_time(WRITE_SECONDS):
        return await _count(events, collected, services, invocation_id, now, started, replay)


async def _count(
    events: Sequence[RawEvent],
    collected: Collected,
    services: Services,
    invocation_id: str,
    now: Callable[[], datetime],
    started: float,
    replay: str | None,
) -> BatchReport:
    payloads = services.settings.dead_letter_payloads
    joins = bool(services.settings.gateway_logs_hub)
    whole, halves = _told_apart(collected, joins)
    if not joins and (logs := sum(half.kind != "policy" for half in halves)):
        warned = {"event": "gateway_logs_without_setting", "hub": events[0].origin.hub, "records": logs}
        log.warning("%s", json.dumps(warned | {"setting": "GATEWAY_LOGS_HUB"}))
    meetings = await services.pending.meet(halves, now())
    joined = [call for meeting in meetings for call in (meeting.verdict.call, *meeting.verdict.moved) if call]
    calls = whole + joined
    await services.directory.enter(calls)
    committed = await services.ledger.commit(calls, replay or events[0].origin.writer)
    unmet = [(half.call, each.refused) for each in meetings if each.refused for half in each.records]
    not_stored = [*committed.refused, *unmet]
    dead_letters = collected.dead_letters + [refused(call, why, events, payloads) for call, why in not_stored]
    await services.dead_letters.set_aside(dead_letters, now())
    await services.dead_letters.remove_counted(events, dead_letters, replayed=replay is not None)
    report = _report(events, collected, tally(meetings, committed), committed, dead_letters, started, now())
    log.info("%s", json.dumps({"event": "batch", "invocation_id": invocation_id, **asdict(report)}))
    services.telemetry.batch(report, committed, dead_letters)
    if replay is None:
        await services.progress.note(events[-1].origin, events[0].origin)
    return report


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    """Raises StoreUnavailable when what is done in it takes longer. What was counted until then stays counted, as if
    the process had died here: the batch comes again."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"table storage: not done within {seconds:g} s") from None


def _tell_failure(
    events: Sequence[RawEvent], services: Services, invocation_id: str, error: str, seconds: float
) -> None:
    """Of an error only its type, since a fault of our own can have content in its message."""
    first, last = events[0].origin, events[-1].origin
    figures = {
        "hub": first.hub,
        "partition": first.partition,
        "first_sequence_number": first.sequence_number,
        "last_sequence_number": last.sequence_number,
        "events": len(events),
        "error": error,
        "milliseconds": round(seconds * 1000),
    }
    log.error("%s", json.dumps({"event": "batch_failed", "invocation_id": invocation_id, **figures}))
    services.telemetry.batch_failed(first.hub, error, seconds)


def _told_apart(collected: Collected, joins: bool) -> tuple[list[Call], list[Half]]:
    """The calls to count at once, and what has to meet other halves first. Where the gateway's logs come too, a call
    with a request_id of its own is such a half: its log must find that it was counted. So is, always, a call that is
    dated by its delivery: sent again, it must be found whatever day it is then."""
    whole: list[Call] = []
    parts: list[Half] = []
    for call in collected.calls:
        if (joins and not is_made_up(call.request_id)) or (
            call.dated_by_delivery and not is_of_delivery(call.request_id)
        ):
            parts.append(Half("policy", call, waits=False))
        else:
            whole.append(call)
    return whole, parts + collected.halves


async def settle(services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock) -> SettleReport:
    """Count the calls whose other half did not come by the deadline. Raises if the tables do not answer."""
    await services.schema.begin(now())
    report = await settle_pending(services.pending, services.ledger, services.directory, now())
    letters = [refused(call, why, (), services.settings.dead_letter_payloads) for call, why in report.refused]
    await services.dead_letters.set_aside(letters, now())
    services.telemetry.counted(report.counted)
    log.info("%s", json.dumps({"event": "settle", "invocation_id": invocation_id, **report.figures}))
    return report


async def purge(services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock) -> PurgeReport:
    """Delete the call rows past their retention, and dead letters as old. Raises if the tables do not answer."""
    await services.schema.begin(now())
    oldest = now() - timedelta(days=services.settings.call_retention_days)
    report = await purge_calls(services.usage, services.directory, oldest)
    letters = await services.dead_letters.purge(oldest)
    alerts = await services.alerts.purge(now() - timedelta(days=services.settings.alert_retention_days))
    figures = asdict(report) | {f"dead_letters_{name}": value for name, value in asdict(letters).items()}
    figures |= {f"alerts_{name}": value for name, value in asdict(alerts).items()}
    log.info("%s", json.dumps({"event": "purge", "invocation_id": invocation_id, **figures}))
    return report


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
    refused = {id(call) for call, _ in committed.refused}
    met = {id(meeting.verdict.call) for meeting in meetings}
    duplicates = {id(call) for call in committed.duplicates}
    joined = sum(id(call) not in met for call in committed.corrected)
    duplicate = sum(id(call) not in met for call in committed.duplicates)
    pending = 0
    for meeting in meetings:
        if meeting.refused is not None:  # each record is a dead letter
            continue
        once = id(meeting.verdict.call) in counted | refused
        known = id(meeting.verdict.call) in duplicates and any(half.of_any_day for half in meeting.records)
        new = 0 if known else max(meeting.new - once, 0)
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
