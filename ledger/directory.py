"""Which apps and models have rows in which month, so that a query reads partitions by name and never scans the table.

Table `directory`: PartitionKey `apps|{YYYYMM}`, a row per app; PartitionKey `models|{YYYYMM}`, a row per model and
deployment. A row is written before the first call it is needed for, so the directory may name an app too many, never
one too few. PartitionKey `purge`, RowKey `calls`: the day through which call rows are deleted. PartitionKey `cursors`,
RowKey `key`: with what cursors are signed.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from datetime import date
from secrets import token_bytes
from typing import Final

from ledger.retry import Sleep, insist, upsert_all
from ledger.rows import hour_of
from ledger.store import Entity, RowExists, Store, Write
from models.call import Call
from models.keys import escape_key

TABLE: Final = "directory"
PURGE: Final = ("purge", "calls")
CURSORS: Final = ("cursors", "key")
MAX_KNOWN = 100_000
"""When this process knows more entries than that, it forgets them all: each is then written once more."""


class Directory:
    """Remembers what it wrote, so that the steady state writes nothing."""

    def __init__(self, store: Store, sleep: Sleep = asyncio.sleep):
        self._store = store
        self._sleep = sleep
        self._known: set[tuple[str, str]] = set()
        self._cursor_key: bytes | None = None

    async def enter(self, calls: Iterable[Call]) -> None:
        """See that every app and model of `calls` is in the directory. Raises StoreUnavailable."""
        new: dict[tuple[str, str], Entity] = {}
        for call in calls:
            for entity in _entries(call):
                key = entity["PartitionKey"], entity["RowKey"]
                if key not in self._known:
                    new[key] = entity
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        await upsert_all(self._store, new.values(), self._sleep)
        self._known.update(new)

    async def apps(self, month: str) -> list[str]:
        """The apps that have rows in `month` (`YYYYMM`)."""
        return [str(row["app"]) async for row in self._rows(f"apps|{month}")]

    async def models(self, month: str) -> list[tuple[str | None, str | None]]:
        """The pairs of model and deployment that have rows in `month` (`YYYYMM`)."""
        return [(row.get("model"), row.get("deployment")) async for row in self._rows(f"models|{month}")]

    async def purged_through(self) -> date | None:
        """The last day whose call rows were deleted. Raises StoreBusy."""
        row = await self._store.get(*PURGE)
        return date.fromisoformat(row.columns["through"]) if row else None

    async def set_purged_through(self, day: date) -> None:
        """Raises StoreUnavailable."""
        await upsert_all(
            self._store, [{"PartitionKey": PURGE[0], "RowKey": PURGE[1], "through": day.isoformat()}], self._sleep
        )

    async def cursor_key(self) -> bytes:
        """A random key that all instances share: the first that needs it makes it. It is no secret to those who may
        read the tables, and a cursor gives nothing that its request may not have. Raises StoreUnavailable."""
        if self._cursor_key is None:
            self._cursor_key = await insist(self._shared_key, self._sleep)
        return self._cursor_key

    async def _shared_key(self) -> bytes:
        row = await self._store.get(*CURSORS)
        if row is None:
            made: Entity = {"PartitionKey": CURSORS[0], "RowKey": CURSORS[1], "key": token_bytes(32)}
            with suppress(RowExists):  # another instance was first
                await self._store.submit([Write(made)])
            row = await self._store.get(*CURSORS)
        assert row is not None
        return bytes(row.columns["key"])

    async def _rows(self, partition: str) -> AsyncIterator[Entity]:
        async for row in self._store.range(partition, "", "~~"):
            yield row.columns


def _entries(call: Call) -> Iterator[Entity]:
    month = hour_of(call.timestamp)[:6]
    yield {"PartitionKey": f"apps|{month}", "RowKey": escape_key(call.app), "app": call.app}
    model: Entity = {"PartitionKey": f"models|{month}", "RowKey": _model_key(call)}
    if call.model is not None:
        model["model"] = call.model
    if call.deployment is not None:
        model["deployment"] = call.deployment
    yield model


def _model_key(call: Call) -> str:
    """Names of models may be longer than a key: a digest stands for them."""
    return hashlib.sha256(repr((call.model, call.deployment)).encode()).hexdigest()[:32]
