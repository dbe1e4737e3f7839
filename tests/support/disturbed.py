"""A table in which something happens while it is read."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from ledger.store import Row, WholeStore
from tests.support.faulty import FaultyWholeStore


class Disturbed(FaultyWholeStore):
    """Of each reading of rows, after some of them, something happens; or with `first` only before the first reading."""

    def __init__(self, store: WholeStore, happens: Callable[[], Any], first: bool = False):
        super().__init__(store, lambda number: None)
        self._happens = happens
        self._first = first
        self._amid = not first

    async def typed(self, partition_key: str, start: str, end: str) -> AsyncIterator[Row]:
        if self._first:
            self._first = False
            await self._happens()
        number = 0
        async for row in super().typed(partition_key, start, end):
            number += 1
            if self._amid and number % 5 == 2:
                await self._happens()
            yield row
