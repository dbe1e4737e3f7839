"""Rows of earlier schema versions -> rows of this one, where something has to be rewritten.

A step goes from partition to partition and writes under ETags, so the app may count meanwhile. How far it got is a row
of table `directory` (PartitionKey `schema`, RowKey `step|{version}|{number}`), so that a run that ended early is gone
on with, and a step that is done is not done again.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from ledger import dead_letters, rows
from ledger.letter_rows import is_part, kept_of, key_of, origin_of, rows_of
from ledger.retry import MAX_CONFLICTS, insist
from ledger.rows import COMMIT_ID, FIRST_DIMENSIONS, aggregate_row_keys, call_entity, call_of, cell_key, cell_of
from ledger.schema import PARTITION_KEY, Schema
from ledger.store import RowChanged, RowExists, WholeStore, Write
from models.errors import StoreUnavailable

"""In one partition."""
MAX_WRITES: Final = 50
"""Of one transaction: call rows and dead letters of version 1 are small."""


class Step(NamedTuple):
    """Brings the rows of one table to the next version. `left` finds what is left to rewrite in a partition: a list of
    writes, which go together, for each row."""

    table: str
    left: Callable[[WholeStore, str], AsyncIterator[list[Write]]]


@dataclass(slots=True)
class MigrationReport:
    """`partitions` that were looked at, and `rows` that were rewritten in them."""

    partitions: int = 0
    rows: int = 0


async def migrate(
    schema: Schema,
    stores: Mapping[str, WholeStore],
    steps: Mapping[int, Sequence[Step]],
    now: datetime,
    tell: Callable[[str, MigrationReport], None] = lambda where, report: None,
) -> MigrationReport:
    """Do the steps from the oldest version in the tables to this app's, and note that no row is older.

    `stores` are the tables by name, `steps` by the version that they lead to. `tell` is told of every partition. Raises
    StoreError, StoreUnavailable: another run does the rest.
    """
    report = MigrationReport()
    oldest = (await schema.note(now)).oldest
    for version in range(oldest + 1, schema.version + 1):
        for number, step in enumerate(steps.get(version, ())):
            store, row_key = stores[step.table], f"step|{version}|{number}"
            reached = await insist(partial(schema.store.get, PARTITION_KEY, row_key))
            last = str(reached.columns["partition"]) if reached else ""
            while (found := await insist(partial(store.partition_after, last))) is not None:
                last = found
                report.rows += await _rewrite(step, store, last)
                report.partitions += 1
                tell(f"{step.table} {last}", report)
                noted = {"PartitionKey": PARTITION_KEY, "RowKey": row_key, "partition": last}
                await insist(partial(schema.store.upsert, [noted]))
        await schema.note(now, oldest=version)
    return report


async def _rewrite(step: Step, store: WholeStore, partition: str) -> int:
    rewritten = 0
    for _ in range(MAX_CONFLICTS):
        try:
            async for writes in _packed(step.left(store, partition)):
                await insist(partial(store.submit, writes))
                rewritten += sum(not write.delete for write in writes)
            return rewritten
        except (RowExists, RowChanged):  # written by the app meanwhile, or by us and the answer was lost: look again
            continue
    raise StoreUnavailable(f"{MAX_CONFLICTS} conflicts in {step.table} {partition}")


async def _packed(found: AsyncIterator[list[Write]]) -> AsyncIterator[list[Write]]:
    packed: list[Write] = []
    async for writes in found:
        if len(packed) + len(writes) > MAX_WRITES:
            yield packed
            packed = []
        packed += writes
    if packed:
        yield packed


async def _say_dimensions(store: WholeStore, partition: str) -> AsyncIterator[list[Write]]:
    """Call rows of version 1 do not say which dimensions their sums tell apart: the sums of their hour do."""
    hours: set[str] = set()
    settings: dict[str, None] = {FIRST_DIMENSIONS: None}
    async for row in store.range(partition, "h|", "h|~", ["RowKey", "dimensions"]):
        hours.add(cell_key(row.columns["RowKey"]))
        settings[row.columns["dimensions"]] = None
    async for row in store.range(partition, "c|", "c|~"):
        if "dimensions" in row.columns:
            continue
        call = call_of(row.columns)
        names = FIRST_DIMENSIONS.split(",")
        for setting in settings:
            key = aggregate_row_keys(cell_of(call, tried := [name for name in setting.split(",") if name]), "")[0]
            if cell_key(key) in hours:
                names = tried
                break
        entity = call_entity(call, partition, row.columns["RowKey"], row.columns[COMMIT_ID], names)
        yield [Write(entity, row.etag)]


async def _give_letters_keys(store: WholeStore, partition: str) -> AsyncIterator[list[Write]]:
    """Dead letters of version 1 have keys of another form, and no counts."""
    async for row in store.range(partition, "", "~~"):
        if is_part(row.columns["RowKey"]) or "records" in row.columns:
            continue
        kept = kept_of(row.columns)
        _, row_key = key_of(origin_of(row.columns), kept.letter.position)
        old = {name: row.columns[name] for name in ("PartitionKey", "RowKey")}
        writes = [Write(old, row.etag, delete=True)]
        if await store.get(partition, row_key, ["RowKey"]) is None:  # else it was delivered again since
            writes.append(Write(rows_of(None, [kept.letter], kept.last_seen, "migrate").main))
        yield writes


STEPS: Final[Mapping[int, Sequence[Step]]] = {
    2: (Step(rows.TABLE, _say_dimensions), Step(dead_letters.TABLE, _give_letters_keys)),
}
"""By the version that they lead to; one without steps needs none."""
