"""The aggregate rows that a question needs, read from the partitions of its apps, several at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ledger.directory import Directory
from ledger.rows import partition_key
from ledger.store import Entity, Store
from models.errors import QueryError
from queries.question import UsageQuery
from queries.spans import Span, pieces, spans

T = TypeVar("T")
TakeRow = Callable[[str, Entity], None]
"""Called with the app and the columns of each row, in no particular order."""


class UsageReader:
    """Reads at most `max_entities` rows a question, `concurrency` requests at once."""

    def __init__(self, usage: Store, directory: Directory, *, concurrency: int, max_entities: int):
        self._usage = usage
        self._directory = directory
        self._concurrency = concurrency
        self._max_entities = max_entities

    async def read(self, query: UsageQuery, take: TakeRow) -> int:
        """Give `take` every row of the question's range and apps; returns how many there were.

        Raises QueryError when there are more than the bound, StoreBusy when the tables do not answer.
        """
        read = 0

        async def one(request: tuple[str, Span]) -> None:
            nonlocal read
            app, span = request
            first, after = span.row_keys
            async for row in self._usage.range(partition_key(app, span.month), first, after):
                read += 1
                if read > self._max_entities:
                    raise _too_many(self._max_entities)
                take(app, row.columns)

        parts = pieces(query.start, query.end, query.edges)
        needed = [span for part in parts for span in spans(*part, query.granularity)]
        apps = await self._apps(query, {span.month for span in needed})
        await _each(((app, span) for span in needed for app in apps[span.month]), one, self._concurrency)
        return read

    async def _apps(self, query: UsageQuery, months: Iterable[str]) -> dict[str, list[str]]:
        """The apps to ask for in each month: those of the filter, else all that had calls."""
        if "app" in query.filters:
            return dict.fromkeys(months, sorted(query.filters["app"]))
        ordered = sorted(months)
        found = await asyncio.gather(*(self._directory.apps(month) for month in ordered))
        return dict(zip(ordered, found, strict=True))


async def _each(items: Iterable[T], do: Callable[[T], Coroutine[Any, Any, None]], concurrency: int) -> None:
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


def _too_many(bound: int) -> QueryError:
    return QueryError(
        "too_much_to_read",
        f"the answer needs more than {bound} rows of the table: ask for a shorter range, a coarser granularity or "
        "fewer apps",
        "from",
    )
