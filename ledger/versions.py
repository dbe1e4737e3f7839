"""Documents that operators edit, each with its history: a version is never overwritten.

One partition of a table. In it, written in one transaction:

    c|{id}                 the document as it is now, and the number of its version
    v|{id}|{version}       the same, once for each version
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from ledger.retry import Sleep, insist
from ledger.rows import utc_text
from ledger.store import Entity, Row, RowChanged, RowExists, Store, Write
from models.errors import StoreUnavailable
from models.keys import escape_key

Document = Mapping[str, Any]
MAX_RACES: Final = 20


class Version(NamedTuple):
    """A document as it was from `edited_at` on (RFC 3339, UTC). The first version is 1."""

    id: str
    version: int
    edited_at: str
    document: Document


class Versions:
    """The documents of one table, all of one kind."""

    def __init__(self, store: Store, partition: str, sleep: Sleep = asyncio.sleep):
        self._store = store
        self._partition = partition
        self._sleep = sleep

    async def all(self) -> list[Version]:
        """All documents as they are now. Raises StoreBusy."""
        return [version async for version in self.after(None)]

    async def after(self, name: str | None) -> AsyncIterator[Version]:
        """As `all`, one by one in the order of their keys, those after this one. Raises StoreBusy."""
        async for row in self._store.range(self._partition, f"c|{escape_key(name or '')}", "c|~~"):
            if (version := _version(row.columns)).id != name:
                yield version

    async def get(self, name: str) -> Version | None:
        """One document as it is now. Raises StoreBusy."""
        found = await self._current(name)
        return _version(found.columns) if found else None

    async def history(self, name: str) -> list[Version]:
        """All versions of a document, the first one first. Raises StoreBusy."""
        return [version async for version in self._range(f"v|{escape_key(name)}|")]

    async def edit(self, name: str, change: Callable[[Version | None], Document], now: datetime) -> Version:
        """Make the next version: `change` is given what is there, and may raise to leave it as it is. A document that
        stays the same gets no new version. Raises StoreUnavailable."""
        for _ in range(MAX_RACES):
            row = await insist(partial(self._current, name), self._sleep)
            before = _version(row.columns) if row else None
            document = change(before)
            if before and before.document == document:
                return before
            made = Version(name, before.version + 1 if before else 1, utc_text(now), document)
            writes = [
                Write(self._entity(made, f"v|{escape_key(name)}|{made.version:08}")),
                Write(self._entity(made, f"c|{escape_key(name)}"), row.etag if row else None),
            ]
            try:
                await insist(partial(self._store.submit, writes), self._sleep)
            except (RowExists, RowChanged):
                # Somebody was faster, or the answer to our own write was lost: what is there now tells.
                continue
            return made
        raise StoreUnavailable(f"{name} is edited by others all the time")

    async def _current(self, name: str) -> Row | None:
        return await self._store.get(self._partition, f"c|{escape_key(name)}")

    async def _range(self, prefix: str) -> AsyncIterator[Version]:
        async for row in self._store.range(self._partition, prefix, prefix + "~~"):
            yield _version(row.columns)

    def _entity(self, version: Version, row_key: str) -> Entity:
        return {
            "PartitionKey": self._partition,
            "RowKey": row_key,
            "id": version.id,
            "version": version.version,
            "edited_at": version.edited_at,
            "document": json.dumps(version.document, ensure_ascii=False),
        }


def _version(columns: Entity) -> Version:
    return Version(columns["id"], columns["version"], columns["edited_at"], json.loads(columns["document"]))
