"""Enter in table `directory` what only table `usage` has, such as an import of that table alone once left it.

Over how many partitions an app's month is spread is told by its calls: each has to be where it is looked for when it
comes again, and no partition may be beyond.
"""

from collections.abc import Collection
from typing import Final

from ledger.directory import Directory
from ledger.forget import FORGOTTEN
from ledger.rows import day_of, part_of, partition_keys
from ledger.store import Store, WholeStore
from ledger.verify import partitions_of
from models.keys import unescape_key

MAX_PARTS: Final = 64
"""That an app's month may be spread over (APP_PARTITIONS)."""


async def unnamed(
    usage: WholeStore, directory: Directory, month: str, apps: Collection[str] | None = None
) -> list[str]:
    """The partitions of a month (`YYYYMM`) that have rows and are not in the directory, of some apps or of all. Raises
    StoreBusy."""
    there = {name async for name in partitions_of(usage, month, apps)}
    # Read after them: an app is named there before its first call is counted.
    parts = await directory.apps(month)
    return sorted(there.difference(*(partition_keys(app, month, number) for app, number in parts.items())))


def app_of(partition: str) -> str:
    """Whose a partition is."""
    return unescape_key(partition.partition("|")[0])


async def mend(usage: WholeStore, listed: Store, app: str, month: str) -> int | None:
    """Enter an app's month in table `listed`, with its models and the days that the purge has behind it. Returns over
    how many partitions it is spread; None, and nothing is entered, if by no number all calls are where they are looked
    for. Raises StoreBusy, StoreUnavailable."""
    partitions = {_part(name): name async for name in partitions_of(usage, month, [app])}
    spread = list(range(max(partitions, default=0) + 1, MAX_PARTS + 1))
    days, models = set(), set()
    for part, partition in partitions.items():
        async for row in usage.range(partition, "c|", "c|~", ["RowKey", "model", "deployment", FORGOTTEN]):
            key = row.columns["RowKey"]
            request_id = unescape_key(key.split("|", 2)[2])
            spread = [number for number in spread if part_of(request_id, number) == part]
            days.add(day_of(key))
            if not row.columns.get(FORGOTTEN):
                models.add((row.columns.get("model"), row.columns.get("deployment")))
    if not spread:
        return None
    of_calls = {model for model, _ in models}
    for partition in partitions.values():  # sums whose calls are no longer kept; not all tell deployments apart
        async for row in usage.range(partition, "m|", "m|~", ["RowKey", "model", "deployment"]):
            if row.columns.get("model") not in of_calls:
                models.add((row.columns.get("model"), row.columns.get("deployment")))
    await Directory(listed).enter_found(app, month, spread[0], models)
    await Directory(listed).enter_late(days)  # a purge that began before did not see it, one that begins now does
    return spread[0]


def _part(partition: str) -> int:
    return int((*partition.split("|"), "0")[2])
