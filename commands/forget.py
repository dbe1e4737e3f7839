"""Delete the data of an app, or the personal data of a user. What stays: docs/data.md."""

import argparse
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from commands.progress import Progress
from ledger import dead_letters, directory, pending, registry, rows
from ledger.directory import Directory
from ledger.forget import Whom, forget_in
from ledger.forget_records import forget_halves, forget_letters
from ledger.retry import insist
from ledger.rows import hour_of, partition_keys
from ledger.store import RowChanged, Write
from models.keys import escape_key
from services import Services, now

HELP = "delete an app's data, or a user's name and addresses; says what it would do, and does it with --yes"
LOOKED_IN: Final = (rows.TABLE, directory.TABLE, pending.TABLE, dead_letters.TABLE, registry.APPS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom."""
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--app", help="as the API names it")
    whom.add_argument("--user", help="as calls name it")
    parser.add_argument("--yes", action="store_true", help="do it; without, only say what there is")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if calls were counted meanwhile, so that something is left for another run."""
    whom, write = Whom(arguments.app, arguments.user), arguments.yes
    if not whom.text:
        raise ValueError("the name is empty: expected that of an app or a user")
    await (found.schema.begin(now()) if write else found.schema.check())
    calls = sums = entries = months = 0
    left_over = False
    # A new one, since the app's remembers from its start. Its answer holds for what is read after it.
    kept_since = await Directory(found.stores[directory.TABLE]).known_since()
    with Progress("partitions") as bar:
        async for partition, month in _partitions(found, whom):
            done = await forget_in(found.usage, partition, whom, kept_since, write)
            calls, sums, left_over = calls + done.calls, sums + done.sums, left_over or done.left_over
            months += await _forget_month(found, whom, partition, month) if write else 0
            bar.advance(f"{calls:,} calls, {partition}")
    if write:  # counted before: what is left of them are sums of calls that came meanwhile
        sums = 0
    letters = await forget_letters(found.stores[dead_letters.TABLE], whom, write)
    halves = await forget_halves(found.pending.store, whom, write)
    if whom.app is not None and await found.apps.get(whom.app) is not None:
        entries = 1
        if write:
            await _delete(found, registry.APPS, "entries", escape_key(whom.app))
    counts = f"{calls} calls, {letters} dead letters, {halves} halves of calls, {entries} entries"
    print(f"forgotten: {counts}" if write else f"to forget: {counts}, {sums} sums; nothing is changed without --yes")
    others = sorted(set(found.stores) - set(LOOKED_IN))
    print(f"not looked in: {', '.join(others)}, exports, the hubs, logs and metrics (docs/data.md#forget)")
    if left_over:
        print("calls were counted meanwhile: run it again")
    return 1 if left_over else 0


async def _partitions(found: Services, whom: Whom) -> AsyncIterator[tuple[str, str]]:
    """Those of an app, or all, each with its month."""
    store = found.stores[directory.TABLE]
    last: str | None = "apps|"
    while (last := await insist(partial(store.partition_after, last or ""))) is not None and last.startswith("apps|"):
        month = last.partition("|")[2]
        apps = await (found.directory.apps(month) if whom.app is None else found.directory.some_apps(month, [whom.app]))
        for app, parts in apps.items():
            for partition in partition_keys(app, month, parts):
                yield partition, month


async def _forget_month(found: Services, whom: Whom, partition: str, month: str) -> int:
    """Take an app out of the list of a month of which nothing is left and nothing can come."""
    if whom.app is None:
        return 0
    kept_since = await Directory(found.stores[directory.TABLE]).known_since()
    parts = (await found.directory.some_apps(month, [whom.app])).get(whom.app, 0)
    if month >= hour_of(kept_since)[:6]:
        return 0
    for each in partition_keys(whom.app, month, parts):
        async for _ in found.usage.range(each, "", "~~", ["RowKey"]):
            return 0
    await _delete(found, directory.TABLE, f"apps|{month}", escape_key(whom.app))
    return 1


async def _delete(found: Services, table: str, partition: str, row_key: str) -> None:
    keys = {"PartitionKey": partition, "RowKey": row_key}
    try:
        await insist(partial(found.stores[table].submit, [Write(keys, "*", delete=True)]))
    except RowChanged:  # it is gone
        return
