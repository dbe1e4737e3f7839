"""What operators enter by hand, by name: tables `apps` and `models`, each one partition of few rows."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from ledger.retry import insist
from ledger.store import Entity, Row, Store, Write
from models.keys import escape_key

APPS: Final = "apps"
MODELS: Final = "models"
_PARTITION: Final = "entries"


class Entry(NamedTuple):
    """What was entered under `name`; `etag` changes with it."""

    name: str
    columns: Mapping[str, str]
    etag: str


class Entries:
    """The entries of one table."""

    def __init__(self, store: Store):
        self._store = store

    async def all(self) -> list[Entry]:
        """In the order of their keys. Raises StoreBusy."""
        return [_entry(row) async for row in self._store.range(_PARTITION, "", "~~")]

    async def get(self, name: str) -> Entry | None:
        """Raises StoreBusy."""
        row = await self._store.get(_PARTITION, escape_key(name))
        return None if row is None else _entry(row)

    async def put(self, name: str, columns: Mapping[str, str | None], etag: str | None) -> None:
        """Enter `columns` in the place of the entry with `etag`, or where there is none. Raises RowExists or RowChanged
        if it is not as that says, StoreUnavailable."""
        entity: Entity = {"PartitionKey": _PARTITION, "RowKey": escape_key(name), "name": name}
        entity.update((column, value) for column, value in columns.items() if value is not None)

        async def write() -> None:
            await self._store.submit([Write(entity, etag)])

        await insist(write)


def _entry(row: Row) -> Entry:
    columns = {name: value for name, value in row.columns.items() if name not in ("PartitionKey", "RowKey", "name")}
    return Entry(row.columns["name"], columns, row.etag)
