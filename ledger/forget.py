"""Take an app, or a user, out of table `usage`, exactly: while the app counts, and again after any fault.

Of an app every call and every sum goes. Of a user the name and the addresses (`client_ip`) of its calls go, and what
was summed for it is summed for nobody in particular. A call's key stays until its retention ends: it is what keeps a
redelivered event from being counted again.

1. Call rows are written anew, in one transaction with the sums they change. What they had added is taken back in rows
   of the writer `forget`, so that nobody else's row is touched.
2. Sums of hours whose call rows are no longer kept are taken out of hour, day and month, in one transaction.
3. Sums that have come to nothing over all writers are deleted.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import partial
from typing import Any, Final

from ledger.plan import change_of
from ledger.retry import insist, insist_anew
from ledger.rows import (
    COMMIT_ID,
    Cell,
    aggregate_entity,
    aggregate_row_keys,
    call_entity,
    call_of,
    call_row_key,
    cell_key,
    dimensions_of,
    hour_of,
    sums_of,
)
from ledger.store import Row, RowExists, Store, Write
from models.call import Call
from models.measures import Measures, add, negative, total
from models.origin import Origin
from models.usage import Usage

WRITER: Final = "forget"
FORGOTTEN: Final = "forgotten"
MAX_CALLS: Final = 14
"""Of one transaction, which has 100 entities: each call its row, three sums it leaves and three it comes into."""
MAX_ROWS: Final = 90

_Added = tuple[Cell, Sequence[str], Measures]
"""What is added to which rows of a cell."""


@dataclass(frozen=True, slots=True)
class Whom:
    """An app or a user; one of the two is given."""

    app: str | None = None
    user: str | None = None

    @property
    def text(self) -> str:
        """Its name."""
        return self.app or self.user or ""

    def means_call(self, columns: Mapping[str, Any]) -> bool:
        """Whether there is something to forget in a call row of which these are `user` and `forgotten`."""
        return not columns.get(FORGOTTEN) if self.app is not None else columns.get("user") == self.user

    def means_sums(self, columns: Mapping[str, Any]) -> bool:
        """Whether an aggregate row is over its calls."""
        return self.app is not None or columns.get("user") == self.user

    def without(self, call: Call) -> Call:
        """What stays of a call."""
        if self.app is None:
            return call._replace(user=None, client_ip=None)
        day = datetime.combine(call.timestamp.date(), time(), UTC)
        return Call(
            call.request_id, day, call.app, "none", None, Usage(), "missing", None, None, Origin("", "", 0, day)
        )._replace(stage="moved")

    def cell_without(self, cell: Cell) -> Cell | None:
        """Where the sums of a cell go; None: nowhere."""
        if self.app is not None:
            return None
        dimensions = ((name, None if name in ("user", "client_ip") else value) for name, value in cell.dimensions)
        return cell._replace(dimensions=tuple(dimensions))


@dataclass(slots=True)
class Forgotten:
    """How many rows there were to change, or were changed. `old` are sums of hours whose calls are no longer kept.
    `left_over` is True if calls were counted meanwhile: another run finds them."""

    calls: int = 0
    sums: int = 0
    old: int = 0
    left_over: bool = False


async def forget_in(store: Store, partition: str, whom: Whom, kept_since: datetime, write: bool) -> Forgotten:
    """Forget in one partition. Calls before `kept_since` (a midnight) have no rows any more. Without `write` it only
    counts. Raises StoreError, StoreUnavailable: another run does the rest."""
    done = Forgotten()
    chunk: list[str] = []
    async for row in store.range(partition, "c|", "c|~", ["RowKey", "user", FORGOTTEN]):
        if whom.means_call(row.columns):
            chunk.append(row.columns["RowKey"])
            if len(chunk) == MAX_CALLS:
                done.calls += await _restate(store, partition, chunk, whom, write)
                chunk = []
    done.calls += await _restate(store, partition, chunk, whom, write)
    if write:
        done.old = await _take_out_old(store, partition, whom, kept_since)
        for level in "hdm":
            await _delete_empty(store, partition, level)
    async for row in _sums(store, partition, "dhm", whom):
        done.sums += 1
        done.left_over |= write and any(sums_of(row.columns).values())
    return done


async def forget_ahead(store: Store, partition: str, call: Call, whom: Whom, write: bool) -> bool:
    """Keep a call of the app, which is not counted yet, from ever being: its row stands there as that of one that was
    forgotten. Returns False if it has a row. Raises StoreError, StoreUnavailable."""
    row_key = call_row_key(call)
    if await insist(partial(store.get, partition, row_key)) is not None:
        return False
    if write:
        entity = call_entity(whom.without(call), partition, row_key, WRITER, ()) | {FORGOTTEN: True}
        # It was counted just now, or the answer to our own was lost: the next pass looks again.
        with suppress(RowExists):
            await insist(partial(store.submit, [Write(entity)]))
    return True


async def _restate(store: Store, partition: str, row_keys: Sequence[str], whom: Whom, write: bool) -> int:
    """Write call rows anew, with the sums that this changes. Returns how many there were."""
    if not write or not row_keys:
        return len(row_keys)

    async def attempt() -> None:
        writes: list[Write] = []
        changes: list[_Added] = []
        for row_key in row_keys:
            row = await store.get(partition, row_key)
            if row is None or not whom.means_call(row.columns):
                continue
            before, dimensions = call_of(row.columns), dimensions_of(row.columns)
            after = whom.without(before)
            entity = call_entity(after, partition, row_key, row.columns[COMMIT_ID], dimensions)
            writes.append(Write(entity | ({FORGOTTEN: True} if whom.app is not None else {}), row.etag))
            taken, added = (change_of(call, dimensions, WRITER) for call in (before, after))
            changes += [taken._replace(measures=negative(taken.measures))] if taken else []
            changes += [added] if added else []
        if writes:
            writes += await _added(store, partition, writes[0].entity["app"], changes)
            await store.submit(writes)

    await insist_anew(attempt, partition)
    return len(row_keys)


async def _added(store: Store, partition: str, app: str, changes: Iterable[_Added]) -> list[Write]:
    """What adds these to their rows."""
    sums: dict[str, tuple[Cell, Measures]] = {}
    for cell, row_keys, measures in changes:
        for row_key in row_keys:
            add(sums.setdefault(row_key, (cell, {}))[1], measures)
    writes: list[Write] = []
    for row_key, (cell, measures) in sums.items():
        row = await store.get(partition, row_key)
        if row is not None:
            add(measures, sums_of(row.columns))
        if row is not None or any(measures.values()):
            entity = aggregate_entity(app, cell, partition, row_key, measures)
            writes.append(Write(entity, row.etag if row else None))
    return writes


async def _take_out_old(store: Store, partition: str, whom: Whom, kept_since: datetime) -> int:
    oldest = hour_of(kept_since)
    hours: dict[str, list[str]] = defaultdict(list)
    async for row in _sums(store, partition, "h", whom):
        if row.columns["RowKey"].split("|")[1] < oldest:
            hours[cell_key(row.columns["RowKey"])].append(row.columns["RowKey"])
    for row_keys in hours.values():
        for start in range(0, len(row_keys), MAX_ROWS):
            keys = row_keys[start : start + MAX_ROWS]
            await insist_anew(partial(_take_out, store, partition, keys, whom), partition)
    return sum(map(len, hours.values()))


async def _take_out(store: Store, partition: str, row_keys: Sequence[str], whom: Whom) -> None:
    """Take the sums of an hour's cell, by several writers, out of the hour, the day and the month."""
    rows = [row for key in row_keys if (row := await store.get(partition, key)) is not None]
    if not rows:
        return
    columns = rows[0].columns
    names = [name for name in columns["dimensions"].split(",") if name]
    hour = columns["RowKey"].split("|")[1]
    cell = Cell(hour, columns.get("model"), tuple((name, columns.get(name)) for name in names))
    sums = total(sums_of(row.columns) for row in rows)
    changes: list[_Added] = [(cell, aggregate_row_keys(cell, WRITER)[1:], negative(sums))]
    if (after := whom.cell_without(cell)) is not None:
        changes.append((after, aggregate_row_keys(after, WRITER), sums))
    deletes = [Write(_keys(row), row.etag, delete=True) for row in rows]
    await store.submit([*deletes, *await _added(store, partition, columns["app"], changes)])


async def _delete_empty(store: Store, partition: str, level: str) -> None:
    """Of the sums from which something was taken."""
    cells: dict[str, list[Row]] = defaultdict(list)
    async for row in store.range(partition, f"{level}|", f"{level}|~"):
        cells[cell_key(row.columns["RowKey"])].append(row)
    for key, found in cells.items():
        if not any(row.columns["RowKey"].endswith(f"|{WRITER}") for row in found):
            continue
        if len(found) <= MAX_ROWS and not any(total(sums_of(row.columns) for row in found).values()):

            async def attempt(key: str = key) -> None:
                rows = [row async for row in store.range(partition, f"{key}|", f"{key}|~")]
                if rows and not any(total(sums_of(row.columns) for row in rows).values()):
                    await store.submit([Write(_keys(row), row.etag, delete=True) for row in rows])

            await insist_anew(attempt, partition)


async def _sums(store: Store, partition: str, levels: str, whom: Whom) -> AsyncIterator[Row]:
    for level in levels:
        async for row in store.range(partition, f"{level}|", f"{level}|~"):
            if whom.means_sums(row.columns):
                yield row


def _keys(row: Row) -> dict[str, Any]:
    return {name: row.columns[name] for name in ("PartitionKey", "RowKey")}
