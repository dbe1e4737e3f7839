"""The aggregate rows that a question needs, read from the partitions of its apps, several at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ledger.directory import Directory
from ledger.rows import partition_key
from ledger.store import Entity, Store
from models.errors import QueryError
from queries.question import UsageQuery
from queries.spans import Span, spans

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
        at_once = asyncio.Semaphore(self._concurrency)
        read = 0

        async def one(app: str, span: Span) -> None:
            nonlocal read
            first, after = span.row_keys
            async with at_once:
                async for row in self._usage.range(partition_key(app, span.month), first, after):
                    read += 1
                    if read > self._max_entities:
                        raise _too_many(self._max_entities)
                    take(app, row.columns)

        needed = list(spans(query.start, query.end, query.granularity))
        apps = await self._apps(query, {span.month for span in needed})
        await _all(one(app, span) for span in needed for app in apps[span.month])
        return read

    async def _apps(self, query: UsageQuery, months: Iterable[str]) -> dict[str, list[str]]:
        """The apps to ask for in each month: those of the filter, else all that had calls."""
        if "app" in query.filters:
            return dict.fromkeys(months, sorted(query.filters["app"]))
        ordered = sorted(months)
        found = await asyncio.gather(*(self._directory.apps(month) for month in ordered))
        return dict(zip(ordered, found, strict=True))


async def _all(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all; the first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except* Exception as failures:  # noqa: BLE001  # raised again, without the group around it
        raise failures.exceptions[0] from None


def _too_many(bound: int) -> QueryError:
    return QueryError(
        "too_much_to_read",
        f"the answer needs more than {bound} rows of the table: ask for a shorter range, a coarser granularity or "
        "fewer apps",
        "from",
    )
