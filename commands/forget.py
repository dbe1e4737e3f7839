"""Delete the data of an app, or the personal data of a user. What stays: docs/data.md."""

import argparse
from collections.abc import AsyncIterator
from functools import partial
from operator import add
from typing import Final, NamedTuple

from commands.progress import Progress
from ledger import dead_letters, directory, pending, registry, rows
from ledger.directory import Directory
from ledger.forget import Whom, forget_ahead, forget_in
from ledger.forget_records import forget_halves, forget_letters
from ledger.mend import mend, unnamed
from ledger.retry import insist
from ledger.rows import hour_of, partition_keys
from ledger.store import RowChanged, Write
from models.call import Call
from models.keys import escape_key
from services import Services, now

HELP = "delete an app's data, or a user's name and addresses; says what it would do, and does it with --yes"
LOOKED_IN: Final = (rows.TABLE, directory.TABLE, pending.TABLE, dead_letters.TABLE, registry.APPS)

MAX_PASSES: Final = 10
"""Calls that are counted behind the place that is read are found by the next one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom."""
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--app", help="as the API names it")
    whom.add_argument("--user", help="as calls name it")
    parser.add_argument("--yes", action="store_true", help="do it; without, only say what there is")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if there is nothing of it, or if calls were counted meanwhile, so that something is left for another
    run."""
    whom, write = Whom(arguments.app, arguments.user), arguments.yes
    if not whom.text:
        raise ValueError("the name is empty: expected that of an app or a user")
    await (found.schema.begin(now()) if write else found.schema.check())
    total, left = _Pass(), True
    with Progress("partitions") as bar:
        for _ in range(MAX_PASSES if write else 1):
            done = await _pass(found, whom, write, bar)
            total = _Pass(*map(add, total, done))
            left = write and (done.found > 0 or done.uncounted > 0)
            if not left:
                break
    counts = (
        f"{total.calls} calls, {total.letters} dead letters, {total.halves} halves of calls, {total.entries} entries"
    )
    nothing = not total.found and not total.partitions
    if nothing:
        print(f"nothing found of {whom.text!r}: {counts}")
    elif write:
        print(f"forgotten: {counts}")
    else:
        print(f"to forget: {counts}, {total.sums} sums; nothing is changed without --yes")
    lost = [month async for month in _named(found, whom.app)] if write and whom.app is not None else []
    if lost:
        print(f"keys of calls stay: over how many partitions it is spread is not known of {', '.join(lost)}")
    others = sorted(set(found.stores) - set(LOOKED_IN))
    print(f"not looked in: {', '.join(others)}, exports, the hubs, logs and metrics (docs/data.md#forget)")
    if left:
        print(f"calls are being counted, and each of {MAX_PASSES} passes found some: stop the sender, and run it again")
    return 1 if left or nothing or lost else 0


class _Pass(NamedTuple):
    """What one pass over everything found. `sums` are of calls that are no longer kept, or all if nothing is written;
    `uncounted` are partitions in which sums came meanwhile, `partitions` those of an app, and lists that it is in."""

    calls: int = 0
    sums: int = 0
    letters: int = 0
    halves: int = 0
    entries: int = 0
    uncounted: int = 0
    partitions: int = 0

    @property
    def found(self) -> int:
        return self.calls + self.sums + self.letters + self.halves + self.entries


async def _pass(found: Services, whom: Whom, write: bool, bar: Progress) -> _Pass:
    calls = sums = uncounted = partitions = entries = 0
    # A new one, since the app's remembers from its start. Its answer holds for what is read after it.
    kept_since = await Directory(found.stores[directory.TABLE]).known_since()
    async for partition in _partitions(found, whom):
        done = await forget_in(found.usage, partition, whom, kept_since, write)
        calls, sums = calls + done.calls, sums + (done.old if write else done.sums)
        uncounted, partitions = uncounted + done.left_over, partitions + (whom.app is not None)
        bar.advance(f"{calls:,} calls, {partition}")
    async for month in _months(found, whom):
        partitions += 1
        if write:
            await _forget_month(found, whom, month)

    async def ahead(call: Call) -> bool:
        if write:
            await found.directory.enter([whom.without(call)])
        return await forget_ahead(found.usage, found.directory.partition_of(call), call, whom, write)

    letters = await forget_letters(found.stores[dead_letters.TABLE], whom, write)
    halves = await forget_halves(found.pending.store, whom, write, ahead)
    if whom.app is not None and await found.apps.get(whom.app) is not None:
        entries = 1
        if write:
            await _delete(found, registry.APPS, "entries", escape_key(whom.app))
    return _Pass(calls, sums, letters, halves, entries, uncounted, partitions)


async def _partitions(found: Services, whom: Whom) -> AsyncIterator[str]:
    """Those of an app, or all. Asked of the table itself: what is there of an app or a user is to be found, whether or
    not table `directory` names it."""
    store = found.stores[rows.TABLE]
    first = f"{escape_key(whom.app)}|" if whom.app is not None else ""
    last: str | None = first
    while (last := await insist(partial(store.partition_after, last or ""))) is not None and last.startswith(first):
        yield last


async def _months(found: Services, whom: Whom) -> AsyncIterator[str]:
    """Those in whose lists an app is."""
    store = found.stores[directory.TABLE]
    last: str | None = "apps|"
    while (last := await insist(partial(store.partition_after, last or ""))) is not None and last.startswith("apps|"):
        month = last.partition("|")[2]
        if whom.app is not None and whom.app in await found.directory.some_apps(month, [whom.app]):
            yield month


async def _named(found: Services, app: str) -> AsyncIterator[str]:
    """See that the purge finds the keys that are kept, also where table `directory` did not name the app. Yields the
    months of which it will not."""
    usage = found.stores[rows.TABLE]
    listed = found.stores[directory.TABLE]
    for month in sorted({each.split("|")[1] async for each in _partitions(found, Whom(app))}):
        if await unnamed(usage, found.directory, month, [app]) and not await mend(usage, listed, app, month):
            yield month


async def _forget_month(found: Services, whom: Whom, month: str) -> None:
    """Take an app out of the list of a month of which nothing is left and nothing can come."""
    assert whom.app is not None
    kept_since = await Directory(found.stores[directory.TABLE]).known_since()
    if month >= hour_of(kept_since)[:6]:
        return
    parts = (await found.directory.some_apps(month, [whom.app]))[whom.app]
    for each in partition_keys(whom.app, month, parts):
        async for _ in found.usage.range(each, "", "~~", ["RowKey"]):
            return
    await _delete(found, directory.TABLE, f"apps|{month}", escape_key(whom.app))


async def _delete(found: Services, table: str, partition: str, row_key: str) -> None:
    keys = {"PartitionKey": partition, "RowKey": row_key}
    try:
        await insist(partial(found.stores[table].submit, [Write(keys, "*", delete=True)]))
    except RowChanged:  # it is gone
        return
