"""Bring the files of an export back into tables: the rows that are not there, and never over another one."""

import argparse
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Final

from backlog import hubs_of
from commands.backup import Backup, Damaged, Part
from commands.compare import Compared
from commands.export import told, with_directory
from commands.progress import Progress
from ledger import dead_letters, directory, pending, rows, schema
from ledger.directory import Directory
from ledger.odata import dump_row
from ledger.progress import Reached
from ledger.retry import insist
from ledger.store import MAX_TRANSACTION_ENTITIES, Entity, RowExists, WholeStore, Write
from models.errors import StoreUnavailable
from services import Services, now

HELP = "bring an export's rows into the tables; rows that are there stay as they are, and nothing is overwritten"
MAX_BYTES: Final = 2 * 1024 * 1024
"""Of one transaction, which may have 4 MiB as it is sent."""
MAX_PRINTED: Final = 20
OF_EVENTS: Final = {rows.TABLE, directory.TABLE, pending.TABLE, dead_letters.TABLE}
"""What events become: only with all of these it is known how far a hub is counted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where from, and what."""
    parser.add_argument("--from", dest="folder", type=Path, required=True, metavar="FOLDER", help="a finished export")
    parser.add_argument(
        "--table", action="append", help="repeatable; default: all tables of the export; directory goes with usage"
    )


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if a partition was refused, or its file is damaged; the others are brought in all the same. Raises
    ValueError for what is no finished export."""
    backup = Backup(arguments.folder)
    if not backup.is_finished:
        raise ValueError(f"{arguments.folder} holds no finished export: run `export --to` on it to its end")
    header, parts = backup.read()
    for name in arguments.table or header.tables:
        if name not in header.tables or name not in found.stores:
            raise ValueError(f"table {name!r}: expected one of {', '.join(set(header.tables) & set(found.stores))}")
    if header.newest > schema.VERSION:
        raise ValueError(f"the export has schema version {header.newest}, this is {schema.VERSION}: use the later one")
    tables = with_directory(arguments.table or header.tables)
    if not tables <= set(header.tables):
        raise ValueError(
            f"{arguments.folder} has table usage without table directory, without which no question finds a call: "
            "export them together"
        )
    versions = await found.schema.note(now())
    if header.oldest < versions.oldest:
        await found.schema.note(now(), oldest=header.oldest)
    # As when calls are counted, the directory comes first: it may name an app too many, never one too few.
    wanted = sorted((part for part in parts if part.table in tables), key=lambda part: part.table != directory.TABLE)
    done = _Done()
    with Progress("partitions", len(wanted)) as bar:
        for part in wanted:
            try:
                bar.advance(await _one(backup, part, found.stores, done))
            except Damaged as fault:
                done.damaged += 1
                print(f"{part.table} {part.partition}: not brought in, {fault}")
                bar.advance(f"a damaged file, {part.partition}")
    if done.late:
        days = f"{len(done.late)} days that are purged here, {min(done.late)} to {max(done.late)}"
        print(
            f"the export has calls of {days}: the next purge deletes them, if they are older than CALL_RETENTION_DAYS"
        )
    if tables >= OF_EVENTS and not (done.refused or done.damaged):
        for hub, partitions in header.reached.items():
            for partition, (time, number) in partitions.items():
                await found.progress.note_restored(hub, partition, Reached(datetime.fromisoformat(time), number))
    if done.refused or done.damaged or done.kept:
        kept = f", {done.kept} rows left as they were there" if done.kept else ""
        damaged = f"{done.damaged} not brought in since their files are damaged"
        print(f"of {len(wanted)} partitions {done.refused} refused, {damaged}{kept}")
        if done.refused:
            print("what is refused here comes in where nothing of it is: in tables of another TABLE_PREFIX, or account")
        return 1
    print(f"{told(wanted)}; all of it is in the tables")
    print("to add what was not counted when the export began:")
    for hub in hubs_of(found).values():
        since = header.replay_from_utc.get(hub)
        print(f"    python -m commands replay --hub {hub}" + (f" --from {since}" if since else ""))
    return 0


@dataclass(slots=True)
class _Done:
    """Partitions that were refused or whose files are damaged, and rows of the directory that were `kept` as they are
    there. The months of apps (`app|YYYYMM`) of which the directory is as the export has it (`listed`), or otherwise.
    Days (`late`) of calls of the export that the purge has behind it."""

    refused: int = 0
    damaged: int = 0
    kept: int = 0
    listed: set[str] = field(default_factory=set)
    otherwise: set[str] = field(default_factory=set)
    late: set[date] = field(default_factory=set)


async def _one(backup: Backup, part: Part, stores: Mapping[str, WholeStore], done: _Done) -> str:
    """One file; returns what became of it. Raises Damaged."""
    if part.table == rows.TABLE:
        month = "|".join(part.partition.split("|")[:2])
        if month in done.otherwise:
            # A call that comes again would be looked for in another partition than the one that it is in here.
            done.refused += 1
            print(
                f"{part.table} {part.partition}: refused, table directory says otherwise over how many partitions the "
                "month is spread: what the hub delivers again would be counted again"
            )
            return f"refused, {part.partition}"
        if month not in done.listed:
            raise Damaged("table directory of the export does not name it")
    compared = await bring(backup, part, stores[part.table], stores[directory.TABLE])
    done.late |= compared.late
    if compared.is_refused:
        done.refused += 1
        print(f"{part.table} {part.partition}: refused, {why_refused(compared)}")
        for row_key in compared.different[:MAX_PRINTED]:
            print(f"    {row_key}")
    elif part.table == directory.TABLE:
        kind, _, month = part.partition.partition("|")
        if kind == "apps":
            done.listed |= {f"{row['RowKey']}|{month}" for row in backup.rows(part)}
            done.otherwise |= {f"{row_key}|{month}" for row_key in compared.different}
        if compared.different:
            done.kept += len(compared.different)
            names = ", ".join(compared.different[:MAX_PRINTED])
            which = f"{len(compared.different)} rows are there and different, and stay: {names}"
            print(f"{part.table} {part.partition}: {which}")
    brought = compared.missing if compared.comes_in else 0
    return f"{brought:,} rows brought in, {compared.same:,} were there, {part.partition}"


def why_refused(compared: Compared) -> str:
    """What is there and different, in one line."""
    if compared.table != rows.TABLE:
        return f"{len(compared.different)} rows are there and different"
    others = f"{compared.missing} not there, {compared.only_there} only there, {compared.same} the same"
    return (
        f"other calls are counted there: {len(compared.different)} rows are different, {others}; "
        f"other sums in {len(compared.other_sums)} cells of an hour, a day or a month"
    )


async def bring(backup: Backup, part: Part, store: WholeStore, named: WholeStore) -> Compared:
    """Insert the rows of one file that the table does not have, unless it is refused: a partition comes in as a whole
    or not at all, since its sums belong to its calls. `named` is table `directory`, which says what is purged: so are
    the calls that come in from before. Raises Damaged before anything is written."""
    before = await _compare(backup, part, store)
    if _is_purge(part) and directory.PURGE[1] in before.different:
        for row in backup.rows(part):
            if row["RowKey"] == directory.PURGE[1]:
                await Directory(store).take_over_purge(row)
        before.different.remove(directory.PURGE[1])
        before.same += 1
    if before.is_refused:
        return before
    # Also if nothing is missing: a run that was stopped may have brought it in. A new one, which knows nothing yet.
    before.late.update(await Directory(named).enter_late(before.days))
    if not before.comes_in:
        return before
    chunk: list[Entity] = []
    size = 0
    async with aclosing(_beside(backup.rows(part), store, part.partition)) as pairs:
        async for entity, there in pairs:
            if entity is None or there is not None:
                continue
            bytes_of = len(dump_row(entity))
            if chunk and (len(chunk) == MAX_TRANSACTION_ENTITIES or size + bytes_of > MAX_BYTES):
                await _insert(store, chunk)
                chunk, size = [], 0
            chunk.append(entity)
            size += bytes_of
    if chunk:
        await _insert(store, chunk)
    before.late.update(await Directory(named).enter_late(before.days))  # the purge may have run meanwhile
    after = await _compare(backup, part, store)
    if after.missing or after.is_refused:
        raise StoreUnavailable(f"{part.table} {part.partition} is being written: stop the app, and import again")
    return before


def _is_purge(part: Part) -> bool:
    """How far the purge is: the one row that an app writes to tables without any calls, and that two can share."""
    return (part.table, part.partition) == (directory.TABLE, directory.PURGE[0])


async def _insert(store: WholeStore, entities: list[Entity]) -> None:
    try:
        await insist(partial(store.submit, [Write(entity) for entity in entities]))
    except RowExists:
        # The answer to our own was lost, or somebody writes there: what is there now is compared in the end.
        return


async def _compare(backup: Backup, part: Part, store: WholeStore) -> Compared:
    compared = Compared(part.table)
    async with aclosing(_beside(backup.rows(part), store, part.partition)) as pairs:
        async for entity, there in pairs:
            compared.take(entity, there)
    return compared


async def _beside(
    wanted: Iterator[Entity], store: WholeStore, partition: str
) -> AsyncGenerator[tuple[Entity | None, Entity | None]]:
    """Each row of the file or of the table with the one of the other; both come in the order of their keys."""
    there = aiter(store.typed(partition, "", "~~"))
    row = await anext(there, None)
    for entity in wanted:
        while row is not None and row.columns["RowKey"] < entity["RowKey"]:
            yield None, row.columns
            row = await anext(there, None)
        if row is not None and row.columns["RowKey"] == entity["RowKey"]:
            yield entity, row.columns
            row = await anext(there, None)
        else:
            yield entity, None
    while row is not None:
        yield None, row.columns
        row = await anext(there, None)
