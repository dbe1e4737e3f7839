"""A store that fails on purpose, around a real one."""

from collections.abc import AsyncIterator, Callable, Sequence

from ledger.store import Entity, Row, Store, StoreBusy, WholeStore, Write


class FaultyStore:
    """Asks `before` and `after` of each request, which may raise: before, nothing happened; after, it did."""

    def __init__(self, store: Store, before: Callable[[int], None], after: Callable[[int], None] = lambda number: None):
        self._store = store
        self._before = before
        self._after = after
        self.requests = 0
        self.reads = 0

    async def submit(self, writes: Sequence[Write]) -> list[str]:
        number = self._next()
        etags = await self._store.submit(writes)
        self._after(number)
        return etags

    async def get(self, partition_key: str, row_key: str, select: Sequence[str] = ()) -> Row | None:
        self.reads += 1
        number = self._next()
        row = await self._store.get(partition_key, row_key, select)
        self._after(number)
        return row

    def range(
        self,
        partition_key: str,
        start: str,
        end: str,
        select: Sequence[str] = (),
        times: tuple[str, str] | None = None,
    ) -> AsyncIterator[Row]:
        self.reads += 1
        self._next()
        return self._store.range(partition_key, start, end, select, times)

    def scan(self, first: str, end: str, select: Sequence[str] = ()) -> AsyncIterator[Row]:
        self.reads += 1
        self._next()
        return self._store.scan(first, end, select)

    async def upsert(self, entities: Sequence[Entity]) -> None:
        self._next()
        await self._store.upsert(entities)

    def _next(self) -> int:
        self.requests += 1
        self._before(self.requests)
        return self.requests


class FaultyWholeStore(FaultyStore):
    """The same of a table that is gone through as a whole."""

    _store: WholeStore

    async def partition_after(self, partition_key: str) -> str | None:
        self._next()
        return await self._store.partition_after(partition_key)

    def typed(self, partition_key: str, start: str, end: str) -> AsyncIterator[Row]:
        self._next()
        return self._store.typed(partition_key, start, end)


def never(number: int) -> None:
    """No fault."""


def at(*numbers: int) -> Callable[[int], None]:
    """A fault at the requests of these numbers, from 1."""

    def fail(number: int) -> None:
        if number in numbers:
            raise StoreBusy(f"made up for request {number}")

    return fail
