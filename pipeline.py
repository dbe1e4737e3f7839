"""The way of a batch: hub events -> calls and dead letters -> tables. Read this first.

collectors.collect   what the events say (pure)
ledger.directory     which apps and models there are
ledger.commit        each call counted exactly once
ledger.dead_letters  what could not be read, set aside with the reason
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from collectors.collect import collect
from ledger.commit import CommitReport
from models.call import Call
from models.dead_letter import REJECTED_BY_STORE, DeadLetter
from models.origin import RawEvent
from services import Services
from services import now as wall_clock

log = logging.getLogger("usage_collector")


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of every record of a batch: received = counted + duplicate + dead_lettered.

    `transactions` came through, writing `entities` rows; `requests` were sent, of which `conflicts` met a row that was
    not as expected and `retries` a passing fault. `lag_seconds` is the age of the batch's newest event, `milliseconds`
    the time the batch took.
    """

    hub: str
    partition: str
    first_sequence_number: int
    last_sequence_number: int
    events: int
    received: int
    counted: int
    duplicate: int
    dead_lettered: int
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
    collected = collect(events, oldest)
    await services.directory.enter(collected.calls)
    committed = await services.ledger.commit(collected.calls, events[0].origin.writer)
    dead_letters = collected.dead_letters + [_refused(call, why) for call, why in committed.refused]
    await services.dead_letters.set_aside(dead_letters)
    report = _report(
        events, collected.received, committed, sum(letter.records for letter in dead_letters), started, now()
    )
    log.info("%s", json.dumps({"event": "batch", "invocation_id": invocation_id, **asdict(report)}))
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


def _report(
    events: Sequence[RawEvent],
    received: int,
    committed: CommitReport,
    dead_lettered: int,
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
        received=received,
        counted=committed.counted,
        duplicate=committed.duplicates,
        dead_lettered=dead_lettered,
        transactions=committed.transactions,
        entities=committed.entities,
        requests=committed.requests,
        conflicts=committed.conflicts,
        retries=committed.retries,
        milliseconds=round((time.monotonic() - started) * 1000),
        lag_seconds=round((now - last.enqueued_time).total_seconds(), 3),
    )
