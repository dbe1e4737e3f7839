"""Which apps and models have rows in which month, so that a query reads partitions by name and never scans the table.

Table `directory`: PartitionKey `apps|{YYYYMM}`, a row per app, with the number of partitions that its month is spread
over, if more than one: whoever writes the row first decides, and it stays so. PartitionKey `models|{YYYYMM}`, a row per
model and deployment. A row is written before the first call it is needed for, so the directory may name an app too
many, never one too few. PartitionKey `purge`, RowKey `calls`: the day through which call rows are deleted, and the day
through which deleting them was begun; RowKey `late|{YYYYMMDD}`: a day before that of which calls were counted all the
same, so that their rows are still to be deleted. PartitionKey `cursors`, RowKey `key`: with what cursors are signed.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from secrets import token_bytes
from typing import Final

from ledger.retry import Sleep, insist, insist_anew, upsert_all
from ledger.rows import hour_of, part_of, partition_key
from ledger.store import Entity, RowChanged, RowExists, Store, Write
from models.call import Call
from models.keys import escape_key

TABLE: Final = "directory"
PURGE: Final = ("purge", "calls")
LATE: Final = "late|"
FIRST_TIME: Final = datetime(2023, 1, 1, tzinfo=UTC)
"""Where the first purge begins: few calls of a model through API Management are older."""
CURSORS: Final = ("cursors", "key")
MAX_SINGLE_READS: Final = 16
"""Of more apps the whole month's are read."""
MAX_KNOWN = 100_000
"""When this process knows more entries than that, it forgets them all: each is then written once more."""


class Directory:
    """Remembers what it wrote, so that the steady state writes nothing. `spread` says over how many partitions the next
    months of an app are to be spread."""

    def __init__(self, store: Store, sleep: Sleep = asyncio.sleep, spread: Mapping[str, int] = {}):
        self._store = store
        self._sleep = sleep
        self._spread = spread
        self._known: set[tuple[str, str]] = set()
        self._parts: dict[tuple[str, str], int] = {}
        self._found: dict[tuple[str, str], int] = {}
        self._cursor_key: bytes | None = None
        self._known_since: datetime | None = None

    async def enter(self, calls: Iterable[Call]) -> None:
        """See that every app and model of `calls` is in the directory, and every day that the purge has behind it.
        Raises StoreUnavailable."""
        new: dict[tuple[str, str], Entity] = {}
        purged = max(await self.known_since(), FIRST_TIME)
        for call in calls:
            for entity in (*_entries(call), *([_late(call.timestamp)] if call.timestamp < purged else [])):
                key = entity["PartitionKey"], entity["RowKey"]
                if key not in self._known:
                    new[key] = entity
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        months = {partition.partition("|")[2] for partition, _ in new if partition.startswith("apps|")}
        for entity in new.values():
            if self._spread.get(entity.get("app", ""), 1) > 1:
                await insist(partial(self._first, entity | {"parts": self._spread[entity["app"]]}), self._sleep)
        await upsert_all(self._store, new.values(), self._sleep)
        for month in months:  # another instance may have other settings, and may have been first
            for app, parts in (await insist(partial(self.apps, month), self._sleep)).items():
                if parts > 1:
                    self._parts[app, month] = parts
        self._known.update(new)

    async def _first(self, entity: Entity) -> None:
        with suppress(RowExists):
            await self._store.submit([Write(entity)])

    def partition_of(self, call: Call) -> str:
        """The partition of a call that was entered."""
        month = hour_of(call.timestamp)[:6]
        parts = self._parts.get((call.app, month), 1)
        return partition_key(call.app, month, part_of(call.request_id, parts) if parts > 1 else 0)

    async def apps(self, month: str) -> dict[str, int]:
        """The apps that have rows in `month` (`YYYYMM`), each with the number of partitions they are spread over."""
        return {str(row["app"]): row.get("parts", 1) async for row in self._rows(f"apps|{month}")}

    async def some_apps(self, month: str, apps: Collection[str]) -> dict[str, int]:
        """As `apps`, of these only. What was found once is not read again."""
        if len(apps) > MAX_SINGLE_READS:
            return {app: parts for app, parts in (await self.apps(month)).items() if app in apps}
        unknown = [app for app in apps if (app, month) not in self._found]
        rows = await asyncio.gather(*(self._store.get(f"apps|{month}", escape_key(app)) for app in unknown))
        if len(self._found) > MAX_KNOWN:
            self._found.clear()
        found = {app: row.columns.get("parts", 1) for app, row in zip(unknown, rows, strict=True) if row}
        found |= {app: self._found[app, month] for app in apps if (app, month) in self._found}
        self._found.update({(app, month): parts for app, parts in found.items()})
        return found

    async def models(self, month: str) -> list[tuple[str | None, str | None]]:
        """The pairs of model and deployment that have rows in `month` (`YYYYMM`)."""
        return [(row.get("model"), row.get("deployment")) async for row in self._rows(f"models|{month}")]

    async def purged_through(self) -> date | None:
        """The last day whose call rows were deleted. Raises StoreBusy."""
        row = await self._store.get(*PURGE)
        return date.fromisoformat(row.columns["through"]) if row and "through" in row.columns else None

    async def set_purged_through(self, day: date) -> None:
        """Raises StoreUnavailable."""
        await self._note_purge(through=day)

    async def set_purge_begun(self, day: date) -> None:
        """Before call rows of days through `day` are deleted. Raises StoreUnavailable."""
        await self._note_purge(begun=day)

    async def _note_purge(self, **days: date) -> None:
        texts = {name: day.isoformat() for name, day in days.items()}
        await upsert_all(self._store, [{"PartitionKey": PURGE[0], "RowKey": PURGE[1]} | texts], self._sleep)

    async def known_since(self) -> datetime:
        """Since when a call that was counted is sure to have its row. Read once: what is deleted while this process
        runs is older than what its settings let it count. Raises StoreUnavailable."""
        if self._known_since is None:
            row = await insist(partial(self._store.get, *PURGE), self._sleep)
            columns = row.columns if row else {}
            begun = date.fromisoformat(columns.get("begun") or columns.get("through") or date.min.isoformat())
            self._known_since = datetime.combine(begun + timedelta(days=1), time(), UTC)
        return self._known_since

    async def late_days(self) -> list[date]:
        """Days that were purged, or are older than any that is, and have call rows. Raises StoreBusy."""
        rows = self._store.range(PURGE[0], LATE, f"{LATE}~", ["RowKey"])
        return [date.fromisoformat(row.columns["RowKey"].removeprefix(LATE)) async for row in rows]

    async def enter_found(
        self, app: str, month: str, parts: int, models: Iterable[tuple[str | None, str | None]]
    ) -> None:
        """Enter what rows of table `usage` say of an app's month: that it is spread over at least so many partitions,
        and its pairs of model and deployment. Raises StoreUnavailable."""
        await upsert_all(self._store, [_model_entry(month, *each) for each in models], self._sleep)
        entry = _app_entry(month, app) | ({"parts": parts} if parts > 1 else {})

        async def attempt() -> None:
            row = await self._store.get(entry["PartitionKey"], entry["RowKey"])
            if row is None or row.columns.get("parts", 1) < parts:
                await self._store.submit([Write(entry, row.etag if row else None)])

        await insist_anew(attempt, entry["PartitionKey"], self._sleep)

    async def enter_late(self, days: Iterable[date]) -> list[date]:
        """See that the purge comes back to those of these days that it has behind it: their call rows came from an
        export. Returns them. Raises StoreUnavailable."""
        purged = max(await self.known_since(), FIRST_TIME).date()
        late = [day for day in days if day < purged]
        await upsert_all(self._store, map(_late, late), self._sleep)
        return late

    async def take_over_purge(self, columns: Mapping[str, object]) -> None:
        """What another table's row says of its purge becomes true of this one too, whose rows are joined with its. A
        call whose row either may have deleted is not counted again, so `begun` is the later. What either may still have
        is to be deleted, so `through` is the earlier, or none. Raises StoreUnavailable."""

        async def attempt() -> None:
            row = await self._store.get(*PURGE)
            both = [columns] if row is None else [columns, row.columns]
            begun = max(str(each.get("begun") or each.get("through") or "") for each in both)
            through = min(str(each.get("through") or "") for each in both)
            joined: Entity = {"PartitionKey": PURGE[0], "RowKey": PURGE[1]}
            joined |= {name: day for name, day in (("begun", begun), ("through", through)) if day}
            if row is None or {name: row.columns.get(name) for name in joined} != joined:
                await self._store.submit([Write(joined, row.etag if row else None)])

        await insist_anew(attempt, PURGE[0], self._sleep)

    async def forget_late(self, day: date) -> None:
        """When its rows are deleted. Raises StoreUnavailable."""
        delete = Write({"PartitionKey": PURGE[0], "RowKey": f"{LATE}{_digits(day)}"}, "*", delete=True)
        with suppress(RowChanged):  # another run was first
            await insist(partial(self._store.submit, [delete]), self._sleep)

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
    yield _app_entry(month, call.app)
    yield _model_entry(month, call.model, call.deployment)


def _app_entry(month: str, app: str) -> Entity:
    return {"PartitionKey": f"apps|{month}", "RowKey": escape_key(app), "app": app}


def _model_entry(month: str, model: str | None, deployment: str | None) -> Entity:
    entry: Entity = {"PartitionKey": f"models|{month}", "RowKey": _model_key(model, deployment)}
    if model is not None:
        entry["model"] = model
    if deployment is not None:
        entry["deployment"] = deployment
    return entry


def _late(day: date) -> Entity:
    return {"PartitionKey": PURGE[0], "RowKey": f"{LATE}{_digits(day)}"}


def _digits(day: date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"


def _model_key(model: str | None, deployment: str | None) -> str:
    """Names of models may be longer than a key: a digest stands for them."""
    return hashlib.sha256(repr((model, deployment)).encode()).hexdigest()[:32]
