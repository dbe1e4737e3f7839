"""The timer's work on table `pending`: count what waited too long, forget what is long past.

Bounded in each run: what is left over is done by the next one.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from ledger.commit import CommitReport, Ledger
from ledger.directory import Directory
from ledger.join import Known, is_waiting, judge, known_of, settle
from ledger.pending import BUCKETS, Pending, call_row, list_row
from ledger.retry import insist
from ledger.rows import utc_text
from ledger.store import Refused, Row, RowChanged, RowExists, Write
from models.call import UNATTRIBUTED, Call

WRITER: Final = "pending"
MAX_SECONDS: Final = 45.0
"""Of one run: no round is begun after that. The next run begins a minute after this one did."""
MAX_LISTS: Final = 100
"""Lists of calls that a round looks at in one bucket: some 10,000 calls."""
MAX_CONFLICTS: Final = 10


@dataclass(slots=True)
class SettleReport:
    """Calls that were `counted` because their deadline had passed; of these those whose usage is `missing`, and those
    whose caller is not known (`unattributed`). `refused` are those whose row the service does not take. `forgotten`
    rows were deleted. `left_over` is True if there is more to do."""

    counted: list[Call] = field(default_factory=list)
    missing: int = 0
    unattributed: int = 0
    refused: list[tuple[Call, str]] = field(default_factory=list)
    forgotten: int = 0
    left_over: bool = False

    @property
    def figures(self) -> dict[str, int]:
        return {
            "counted": len(self.counted),
            "missing": self.missing,
            "unattributed": self.unattributed,
            "refused": len(self.refused),
            "forgotten": self.forgotten,
            "left_over": self.left_over,
        }


async def settle_pending(pending: Pending, ledger: Ledger, directory: Directory, now: datetime) -> SettleReport:
    """Look at every list of calls that is due. Raises StoreUnavailable or StoreError: the next run does the rest."""
    report = SettleReport()
    until = time.monotonic() + MAX_SECONDS
    turn = asyncio.Lock()  # the buckets' calls are summed in the same rows

    async def one(bucket: str) -> None:
        for kind, do in (("t", settled), ("f", forgotten)):
            while due := await insist(partial(_due, pending, bucket, kind, now)):
                for row in due:
                    await insist(partial(do, bucket, row))
                if len(due) < MAX_LISTS:
                    break
                if time.monotonic() > until:
                    report.left_over = True
                    break

    async def settled(bucket: str, due: Row) -> None:
        await _settle(pending, ledger, directory, turn, bucket, due, report)

    async def forgotten(bucket: str, due: Row) -> None:
        await _forget(pending, bucket, due, report)

    outcomes = await asyncio.gather(*(one(bucket) for bucket in BUCKETS), return_exceptions=True)
    for outcome in outcomes:  # only when none is under way any more
        if outcome is not None:
            raise outcome
    return report


async def _due(pending: Pending, bucket: str, kind: str, now: datetime) -> list[Row]:
    due: list[Row] = []
    async for row in pending.store.range(bucket, f"{kind}|", f"{kind}|{utc_text(now)}~"):
        due.append(row)
        if len(due) == MAX_LISTS:
            break
    return due


async def _settle(
    pending: Pending,
    ledger: Ledger,
    directory: Directory,
    turn: asyncio.Lock,
    bucket: str,
    due: Row,
    report: SettleReport,
) -> None:
    listed: list[str] = json.loads(due.columns["calls"])
    for_good = [known for known in await _settled(pending, bucket, listed) if known.settled]
    verdicts = [judge(known) for known in for_good]
    calls = [call for verdict in verdicts for call in (verdict.call, *verdict.moved) if call is not None]
    await directory.enter(calls)
    async with turn:
        _count(await ledger.commit(calls, WRITER), report)
    forget = datetime.fromisoformat(due.columns["forget_utc"])
    await _submit_or_leave(
        pending, [Write(_keys(due), due.etag, delete=True), Write(list_row(bucket, forget, listed, forget))]
    )


async def _settled(pending: Pending, bucket: str, calls: Sequence[str]) -> list[Known]:
    """What is known of `calls`, after those that still wait were marked: their deadline has passed."""
    conflicts = 0
    while True:
        rows = {call: row for call, row in (await pending.read(bucket, calls)).items() if row is not None}
        known = {call: known_of(row.columns) for call, row in rows.items()}
        late = {call: settle(each) for call, each in known.items() if is_waiting(each)}
        try:
            if late:
                await pending.store.submit(
                    [Write(call_row(bucket, call, each, WRITER), rows[call].etag) for call, each in late.items()]
                )
            return list((known | late).values())
        except Refused:  # too much at once
            if len(calls) == 1:
                raise
            return [known for call in calls for known in await _settled(pending, bucket, [call])]
        except RowChanged:  # another half came meanwhile
            conflicts += 1
            if conflicts > MAX_CONFLICTS:
                raise


def _count(committed: CommitReport, report: SettleReport) -> None:
    for call in committed.counted:
        if call.usage_state == "missing":
            report.missing += 1
        if call.app == UNATTRIBUTED:
            report.unattributed += 1
    report.counted += committed.counted
    report.refused += committed.refused


async def _forget(pending: Pending, bucket: str, due: Row, report: SettleReport) -> None:
    rows = [row for row in (await pending.read(bucket, json.loads(due.columns["calls"]))).values() if row is not None]
    await _submit_or_leave(pending, [Write(_keys(row), row.etag, delete=True) for row in (*rows, due)])
    report.forgotten += len(rows)


async def _submit_or_leave(pending: Pending, writes: Sequence[Write]) -> None:
    """Another run of the timer may have done it; if not, the next one will."""
    with suppress(RowChanged, RowExists):
        await pending.store.submit(writes)


def _keys(row: Row) -> dict[str, str]:
    return {name: row.columns[name] for name in ("PartitionKey", "RowKey")}
