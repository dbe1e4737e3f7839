"""Which version the tables' rows have: table `directory`, PartitionKey `schema`, RowKey `tables`.

`newest` is the newest version that was ever written, `oldest` the oldest that may still be there. Tables with rows and
without this one are of the time before it: version 1. A version changes by hand, and only where an earlier one would
misread what is written now: columns and tables that it does not know are none of its business (CONTRIBUTING.md).

    1   call rows do not say which dimensions their sums tell apart; dead letters have no payload
    2   they do

An app reads OLDEST_READ and whatever is newer, up to VERSION. Before it counts it notes VERSION, so that an app that
knows less stops: it would misread what is there, and what it then wrote could be wrong for ever, while events can wait
in the hub.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from azure.data.tables import EdmType, EntityProperty

from ledger.retry import Sleep, insist
from ledger.rows import utc_text
from ledger.store import Entity, Row, RowChanged, RowExists, Store, Write
from models.errors import StoreUnavailable, TablesOfAnotherVersion

VERSION: Final = 2
OLDEST_READ: Final = 1
PARTITION_KEY: Final = "schema"
ROW_KEY: Final = "tables"
CHECK_SECONDS: Final = 30.0
"""How long what was read is believed."""
GRACE: Final = timedelta(minutes=3)
"""From when a version is noted until it is written: longer than an app of an earlier one goes on with a batch that it
began before it could know."""
MAX_CONFLICTS: Final = 20


class SchemaVersions(NamedTuple):
    """Of the rows that the tables hold."""

    newest: int
    oldest: int


class Schema:
    """`version` is what this app knows and writes, but for tests."""

    def __init__(self, store: Store, version: int = VERSION, sleep: Sleep = asyncio.sleep):
        self.store = store
        self._sleep = sleep
        self.version = version
        self._fits_until = 0.0
        self._begun = False

    async def check(self) -> None:
        """See that this app understands the tables. Raises TablesOfAnotherVersion, StoreBusy."""
        if time.monotonic() < self._fits_until:
            return
        self._judge(await self.found())
        self._fits_until = time.monotonic() + CHECK_SECONDS

    async def begin(self, now: datetime) -> None:
        """Before this app writes. Raises TablesOfAnotherVersion, and StoreUnavailable also while apps of an earlier
        version may still be at work."""
        if not self._begun:
            await self.note(now)
            self._begun = True
        await insist(self.check, self._sleep)

    async def found(self) -> SchemaVersions | None:
        """None if there is no row. Raises StoreBusy."""
        row = await self._row()
        return _versions(row.columns) if row else None

    async def note(self, now: datetime, oldest: int | None = None) -> SchemaVersions:
        """Note that rows of this app's version are written, and with `oldest` that none is older (or that some are).
        Raises as `begin`."""
        for _ in range(MAX_CONFLICTS):
            row = await insist(self._row, self._sleep)
            before = _versions(row.columns) if row else None
            self._judge(before)
            if before is None:
                unmarked = await insist(self._any_row, self._sleep)
                before = SchemaVersions(self.version, OLDEST_READ if unmarked else self.version)
            after = SchemaVersions(max(before.newest, self.version), before.oldest if oldest is None else oldest)
            columns: Entity = dict(row.columns) if row else {"PartitionKey": PARTITION_KEY, "RowKey": ROW_KEY}
            if row and before.newest < self.version:
                columns["written_from_utc"] = utc_text(now + GRACE)
            if row is None or after != before:
                for name, number in after._asdict().items():
                    columns[name] = EntityProperty(number, EdmType.INT64)
                try:
                    await insist(partial(self.store.submit, [Write(columns, row.etag if row else None)]), self._sleep)
                except (RowExists, RowChanged):  # another instance was first, or the answer to our own was lost
                    continue
            if now < datetime.fromisoformat(columns.get("written_from_utc", utc_text(_LONG_AGO))):
                raise StoreUnavailable(
                    f"schema version {after.newest} is written from {columns['written_from_utc']} on: until then "
                    "instances of an earlier version may be at work"
                )
            return after
        raise StoreUnavailable("the schema version is changed by others all the time")

    def fault(self, versions: SchemaVersions | None) -> str | None:
        """Why this app does not understand tables with such rows; None if it does."""
        if versions is None or (versions.newest <= self.version and versions.oldest >= OLDEST_READ):
            return None
        found = f"the tables have schema versions {versions.oldest} to {versions.newest}"
        known = f"this app knows {OLDEST_READ} to {self.version}"
        if versions.newest > self.version:
            return f"{found}, {known}: deploy the version that wrote them, or a later one"
        return f"{found}, {known}: run `python -m commands migrate` of the version before"

    def _judge(self, versions: SchemaVersions | None) -> None:
        if fault := self.fault(versions):
            raise TablesOfAnotherVersion(fault)

    async def _row(self) -> Row | None:
        return await self.store.get(PARTITION_KEY, ROW_KEY)

    async def _any_row(self) -> bool:
        """Every call that was counted is in the directory."""
        async for _ in self.store.scan("apps|", "apps|~", ["PartitionKey"]):
            return True
        return False


_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


def _versions(columns: Entity) -> SchemaVersions:
    return SchemaVersions(columns["newest"], columns["oldest"])
