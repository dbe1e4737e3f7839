"""The rows that a question needs, read from the partitions of its apps, several at a time, within bounds."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ledger.directory import Directory
from ledger.rows import as_aggregate, call_of, dimensions_of, partition_keys
from ledger.store import Entity, Store
from models.errors import QueryError
from queries.question import UsageQuery
from queries.spans import Span, spans_of

T = TypeVar("T")
TakeRow = Callable[[str, Entity], None]
"""Called with the app and the columns of each aggregate row, in no particular order."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one question: the rows that are read, how many of them may be of calls, the days of these, the ranges of rows
    asked for, the seconds it may take; and how many days the rows of calls are kept."""

    max_entities: int
    max_calls: int
    max_call_days: int
    max_requests: int
    max_seconds: int
    call_retention_days: int


class Taken(NamedTuple):
    """How many rows were read, and when the newest of them was written; None of none."""

    rows: int
    newest: datetime | None


class UsageReader:
    """Reads within `bounds`, `concurrency` requests at once. Raises StoreBusy when the tables do not answer."""

    def __init__(self, usage: Store, directory: Directory, *, concurrency: int, bounds: Bounds):
        self._usage = usage
        self._directory = directory
        self._concurrency = concurrency
        self._bounds = bounds

    async def read(self, query: UsageQuery, take: TakeRow, now: datetime) -> "Taken":
        """Give `take` every row of the question's range and apps, a call as a row over itself. Raises QueryError for
        what lies beyond the bounds."""
        needed = spans_of(query)
        calls = [span for span in needed if span.level == "c"]
        if calls:
            self._refuse_many_days(query, calls)
            await refuse_purged(self._directory, self._bounds, calls[0].start, now)
        apps = await self._apps(query, {span.month for span in needed})
        requests = sum(sum(apps[span.month].values()) for span in needed)
        if requests > self._bounds.max_requests:
            raise _too_much(f"{requests} ranges of rows", f"the most is {self._bounds.max_requests}")
        places = (
            (app, partition, span)
            for span in needed
            for app, parts in apps[span.month].items()
            for partition in partition_keys(app, span.month, parts)
        )
        return await self._read(places, take)

    async def _read(self, requests: Iterable[tuple[str, str, Span]], take: TakeRow) -> "Taken":
        rows = calls = 0
        newest: datetime | None = None

        async def one(request: tuple[str, str, Span]) -> None:
            nonlocal rows, calls, newest
            app, partition, span = request
            first, after = span.row_keys
            async for row in self._usage.range(partition, first, after, times=span.times):
                rows += 1
                if rows > self._bounds.max_entities:
                    raise _too_much(f"more than {self._bounds.max_entities} rows of the table")
                if row.written is not None and (newest is None or row.written > newest):
                    newest = row.written
                if span.level != "c":
                    take(app, row.columns)
                    continue
                calls += 1
                if calls > self._bounds.max_calls:
                    raise _too_much(f"the rows of more than {self._bounds.max_calls} calls")
                call = call_of(row.columns)
                if call.stage != "moved":
                    take(app, as_aggregate(call, ",".join(dimensions_of(row.columns))))

        await each(requests, one, self._concurrency)
        return Taken(rows, newest)

    async def _apps(self, query: UsageQuery, months: Iterable[str]) -> dict[str, dict[str, int]]:
        """The apps to ask for in each month, each with the number of its partitions: those that had calls, of the
        filter's if there is one."""
        ordered = sorted(months)
        wanted = query.filters.get("app")
        of_month = self._directory.apps if wanted is None else partial(self._directory.some_apps, apps=wanted)
        return dict(zip(ordered, await asyncio.gather(*map(of_month, ordered)), strict=True))

    def _refuse_many_days(self, query: UsageQuery, calls: Sequence[Span]) -> None:
        days = len({day for span in calls for day in _days(span)})
        if days <= self._bounds.max_call_days:
            return
        bound = f"this takes {days} days of them, the most is {self._bounds.max_call_days}"
        if query.from_calls:
            names = ", ".join(query.from_calls)
            raise QueryError(
                "dimension_not_aggregated",
                f"usage is not summed up by {names}, so it is added up from the rows of calls: {bound}. Ask for a "
                "shorter range; an operator can add it to the setting AGGREGATE_DIMENSIONS",
                query.from_calls[0] if query.from_calls[0] in query.filters else "group_by",
            )
        raise QueryError(
            "zone_not_aggregated",
            f"usage is summed up by the hours of UTC; in {query.zone.key} buckets begin inside of them, which only the "
            f"rows of calls tell apart: {bound}. Ask for a shorter range or a coarser granularity, or leave tz out",
            "tz",
        )


async def refuse_purged(directory: Directory, bounds: Bounds, start: datetime, now: datetime) -> None:
    """Raises QueryError for a range that needs the rows of calls which are not kept any more."""
    through = await directory.purged_through()
    oldest = (now - timedelta(days=bounds.call_retention_days)).date()
    kept = datetime.combine(oldest if through is None else max(oldest, through + timedelta(days=1)), time(), UTC)
    if start < kept:
        raise QueryError(
            "calls_not_kept",
            f"this needs the rows of calls from {start:%Y-%m-%dT%H:%MZ} on; they are kept for "
            f"{bounds.call_retention_days} days, now since {kept:%Y-%m-%dT%H:%MZ}",
            "from",
        )


@asynccontextmanager
async def in_time(seconds: int) -> AsyncIterator[None]:
    """Raises QueryError when what is done in it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise QueryError(
            "too_slow", f"the answer took more than {seconds} seconds: ask for less, or try again", None, 503
        ) from None


def _days(span: Span) -> list[date]:
    first = span.start.date()
    return [first + timedelta(days=number) for number in range(span.days)]


async def each(items: Iterable[T], do: Callable[[T], Coroutine[Any, Any, None]], concurrency: int) -> None:
    """Do all, so many at once; the first failure ends the others and is raised as it is."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except* Exception as failures:  # noqa: BLE001  # raised again, without the group around it
        raise failures.exceptions[0] from None


def _too_much(needed: str, bound: str = "") -> QueryError:
    return QueryError(
        "too_much_to_read",
        f"the answer needs {needed}{bound and ', '}{bound}: ask for a shorter range, a coarser granularity or fewer "
        "apps",
        "from",
    )
