"""Write the tables to files, while the app counts."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Final

from commands.backup import Backup, Header, Part
from commands.progress import Progress
from commands.replay_from import replay_from
from ledger import directory, progress, rows, schema, traffic
from ledger.retry import insist
from ledger.rows import utc_text
from ledger.snapshot import snapshot
from ledger.store import Entity, WholeStore, partitions_after
from services import Services, now

HELP = "write all tables, or some, to files in a folder; run again, it goes on where it was"
AT_ONCE: Final = 4
"""Partitions."""
NOT_EXPORTED: Final = {
    directory.TABLE: (directory.CURSORS[0], progress.PARTITION_KEY, schema.PARTITION_KEY, traffic.PARTITION_KEY)
}
"""Partitions that belong to the running app and not to its data: the key of cursors, how much the hubs take in. The
schema version and how far the hubs were counted are in the header."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, and what."""
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="a new one, or one not finished")
    parser.add_argument("--table", action="append", help="repeatable; default: all tables; directory goes with usage")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 0 when every partition is in a file. Raises ValueError for a folder or a table that cannot be meant, and
    for a folder to which another process writes."""
    await found.schema.check()
    versions = await found.schema.found() or schema.SchemaVersions(schema.VERSION, schema.OLDEST_READ)
    for name in arguments.table or ():
        if name not in found.stores:
            raise ValueError(f"--table is {name!r}: expected one of {', '.join(found.stores)}")
    tables = with_directory(arguments.table or found.stores)
    wanted = tuple(sorted(tables, key=lambda name: (name == directory.TABLE, name)))
    backup = Backup(arguments.to)
    with backup.held():
        return await _write(backup, wanted, versions, found)


async def _write(backup: Backup, wanted: tuple[str, ...], versions: schema.SchemaVersions, found: Services) -> int:
    begun = now()
    # Before the first row is read: what is counted by then is in the files.
    reached = await insist(found.progress.reached)
    since = await replay_from(found, begun)
    own = Header(
        utc_text(begun),
        wanted,
        versions.oldest,
        versions.newest,
        replay_from_utc=since,
        account=found.stores[directory.TABLE].url.partition("://")[2],
        table_prefix=found.settings.table_prefix,
    )
    for (hub, partition), (time, number) in reached.items():
        own.reached.setdefault(hub, {})[partition] = utc_text(time), number
    header, parts = backup.begun(own)
    for before, now_told in zip(header.told, own.told, strict=True):
        if before != now_told:  # two exports in one would be of neither, and have one time to replay from
            raise ValueError(
                f"{backup.folder} holds an unfinished export of {before}: expected the same, not {now_told}"
            )
    # Table `directory` comes last, and anew: it then names every app whose calls were read, also by a run before this.
    backup.go_on(header, parts)
    done = {(part.table, part.partition) for part in parts}
    for table in header.tables:
        store = found.stores[table]
        todo = [name for name in await partitions(store, table) if (table, name) not in done]
        with Progress(f"partitions of {table}", len(todo)) as bar:
            at_once = asyncio.Semaphore(AT_ONCE)

            async def one(name: str, table: str = table, store: WholeStore = store, bar: Progress = bar) -> None:
                async with at_once:  # noqa: B023
                    part = await insist(lambda: backup.write(table, name, rows_of(store, table, name)))
                    parts.append(part)
                    bar.advance(f"{part.content.rows:,} rows in {name}")

            await _all(*(one(name) for name in todo))
    backup.finish(header, parts, utc_text(now()))
    print(told(parts))
    return 0


def with_directory(tables: Collection[str]) -> set[str]:
    """No call is found that table `directory` does not name: it goes with table `usage`."""
    return set(tables) | ({directory.TABLE} if rows.TABLE in tables else set())


def told(parts: list[Part]) -> str:
    """One line over all of them."""
    sums = [part.content.sums for part in parts]
    calls, tokens = (sum(each.get(name, 0) for each in sums) for name in ("calls", "total_tokens"))
    return f"{sum(part.content.rows for part in parts)} rows in {len(parts)} files: {calls} calls, {tokens} tokens"


async def partitions(store: WholeStore, table: str) -> list[str]:
    """Those that are exported, in order. Raises StoreBusy."""
    return [name async for name in partitions_after(store) if name not in NOT_EXPORTED.get(table, ())]


async def rows_of(store: WholeStore, table: str, partition: str) -> AsyncIterator[Entity]:
    """The rows of one partition, in order."""
    if table == rows.TABLE:
        async for entity in snapshot(store, partition):
            yield entity
        return
    async for row in store.typed(partition, "", "~~"):
        yield row.columns


async def _all(*works: "asyncio.Future[None] | object") -> None:
    outcomes = await asyncio.gather(*works, return_exceptions=True)  # type: ignore[arg-type]
    for outcome in outcomes:  # only when none is under way any more
        if isinstance(outcome, BaseException):
            raise outcome
