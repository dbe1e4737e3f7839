"""The timer that deletes call rows past their retention. Aggregate rows stay.

How far it got is a row of table `directory`, so that a run with nothing to do is one read.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

from ledger.directory import FIRST_TIME, Directory
from ledger.retry import insist
from ledger.rows import partition_keys
from ledger.store import MAX_TRANSACTION_ENTITIES, Row, RowChanged, Store, Write

MAX_ROWS: Final = 1_000_000
"""Of one run, which then takes a minute or two; what is left is deleted by the next, ten minutes later."""
AT_ONCE: Final = 8


@dataclass(slots=True)
class PurgeReport:
    """`deleted` call rows; `left_over` is True if there are more."""

    deleted: int = 0
    left_over: bool = False


async def purge_calls(usage: Store, directory: Directory, oldest: datetime) -> PurgeReport:
    """Delete the call rows of days that ended a day before `oldest`, since calls before it are not counted any more and
    instances' clocks differ. Raises StoreError: the next run does the rest."""
    report = PurgeReport()
    last = oldest.date() - timedelta(days=2)
    through = await directory.purged_through()
    for first, end in _months(through + timedelta(days=1) if through else FIRST_TIME.date(), last):
        await directory.set_purge_begun(end)
        await _purge_days(usage, directory, first, end, report)
        if report.left_over:
            return report
        await directory.set_purged_through(end)
    for day in await directory.late_days():
        if day <= last:
            await _purge_days(usage, directory, day, day, report)
            if report.left_over:
                return report
            await directory.forget_late(day)
    return report


async def _purge_days(usage: Store, directory: Directory, first: date, last: date, report: PurgeReport) -> None:
    """Days of one month."""
    month = f"{first.year:04}{first.month:02}"
    apps = iter((await directory.apps(month)).items())

    async def worker() -> None:
        for app, parts in apps:
            for partition in partition_keys(app, month, parts):
                if report.left_over:
                    return
                await _purge(usage, partition, first, last, report)

    outcomes = await asyncio.gather(*(worker() for _ in range(AT_ONCE)), return_exceptions=True)
    for outcome in outcomes:  # only when none is under way any more
        if outcome is not None:
            raise outcome


async def _purge(usage: Store, partition: str, first: date, last: date, report: PurgeReport) -> None:
    chunk: list[Row] = []
    async for row in usage.range(partition, f"c|{_digits(first)}", f"c|{_digits(last)}~", ["PartitionKey", "RowKey"]):
        chunk.append(row)
        if len(chunk) == MAX_TRANSACTION_ENTITIES:
            await _delete(usage, chunk, report)
            chunk = []
            if report.deleted >= MAX_ROWS:
                report.left_over = True
                return
    if chunk:
        await _delete(usage, chunk, report)


async def _delete(usage: Store, rows: list[Row], report: PurgeReport) -> None:
    try:
        await insist(partial(usage.submit, [Write(row.columns, "*", delete=True) for row in rows]))
        report.deleted += len(rows)
    except RowChanged:  # another run deletes too, or we did and the answer was lost
        report.left_over = True


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """The parts of the range that lie in one month each."""
    while first <= last:
        next_month = (first.replace(day=1) + timedelta(days=31)).replace(day=1)
        yield first, min(last, next_month - timedelta(days=1))
        first = next_month


def _digits(day: date) -> str:
    """Years before 1000 too, of which strftime writes no zeros."""
    return f"{day.year:04}{day.month:02}{day.day:02}"
