"""Recompute every aggregate row from the call rows and print any difference, and what the directory does not name."""

import argparse
import re
from datetime import timedelta

from ledger import rows
from ledger.rows import partition_keys
from ledger.verify import partitions_of, verify
from models.keys import unescape_key
from services import Services, now

HELP = "recompute all aggregates from the call rows, and print where they differ"
MAX_PRINTED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which partitions."""
    parser.add_argument("--month", action="append", metavar="YYYYMM", help="repeatable; default: this month")
    parser.add_argument("--app", action="append", help="repeatable; default: all apps of the month")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if there is any difference, or a partition that the directory does not name. Raises ValueError for a
    month that is none."""
    await found.schema.check()
    moment = now()
    # They can differ after the setting was raised: rows that are gone do not come back.
    kept_since = max(moment - timedelta(days=found.settings.call_retention_days), await found.directory.known_since())
    differing = calls = aggregates = unseen = 0
    for month in arguments.month or [f"{moment:%Y%m}"]:
        if not re.fullmatch(r"\d{4}(0[1-9]|1[0-2])", month, re.ASCII):
            raise ValueError(f"--month is {month!r}: expected YYYYMM, such as 202611")
        parts = await found.directory.apps(month)
        if unknown := [app for app in arguments.app or () if app not in parts]:
            raise ValueError(f"--app is {unknown[0]!r}: the directory of {month} has no such app")
        for app in arguments.app or sorted(parts):
            verified = await verify(found.usage, app, month, kept_since, parts.get(app, 1))
            calls += verified.calls
            aggregates += verified.aggregates
            differing += len(verified.differences)
            notes = [f"{verified.calls} calls", f"{verified.aggregates} aggregates"]
            notes += [f"{verified.changing} being written"] if verified.changing else []
            notes += [f"{verified.unverifiable} before the calls that are kept"] if verified.unverifiable else []
            state = f"{len(verified.differences)} DIFFERENCES" if verified.differences else "agrees"
            print(f"{month}  {app}: {state} ({', '.join(notes)})", flush=True)
            for each in verified.differences[:MAX_PRINTED]:
                print(f"    {each.row} {each.measure}: calls {each.from_calls}, aggregates {each.from_aggregates}")
            if (more := len(verified.differences) - MAX_PRINTED) > 0:
                print(f"    and {more} more")
        there = [name async for name in partitions_of(found.stores[rows.TABLE], month, arguments.app)]
        # Read after them: an app is named there before its first call is counted.
        parts = await found.directory.apps(month)
        named = {key for app, number in parts.items() for key in partition_keys(app, month, number)}
        for partition in sorted(set(there) - named):
            unseen += 1
            app = unescape_key(partition.partition("|")[0])
            print(f"{month}  {app}: NOT IN TABLE directory, so no question finds it: partition {partition}")
    told = f"{calls} calls, {aggregates} aggregates compared, {differing} differences"
    print(f"{told}, {unseen} partitions that no question finds" if unseen else told)
    return 1 if differing or unseen else 0
