"""Recompute every aggregate row from the call rows and print any difference, and what the directory does not name; the
latter is mended if so asked."""

import argparse
import re
from datetime import timedelta

from ledger import directory, rows
from ledger.mend import app_of, mend, unnamed
from ledger.verify import verify
from services import Services, now

HELP = "recompute all aggregates from the call rows, and print where they differ"
MAX_PRINTED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which partitions."""
    parser.add_argument("--month", action="append", metavar="YYYYMM", help="repeatable; default: this month")
    parser.add_argument("--app", action="append", help="repeatable; default: all apps of the month")
    parser.add_argument("--mend", action="store_true", help="first enter in table directory what it does not name")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if there is any difference, or a partition that the directory does not name. Raises ValueError for a
    month that is none."""
    moment = now()
    await (found.schema.begin(moment) if arguments.mend else found.schema.check())
    # They can differ after the setting was raised: rows that are gone do not come back.
    kept_since = max(moment - timedelta(days=found.settings.call_retention_days), await found.directory.known_since())
    usage = found.stores[rows.TABLE]
    differing = calls = aggregates = unseen = 0
    for month in arguments.month or [f"{moment:%Y%m}"]:
        if not re.fullmatch(r"\d{4}(0[1-9]|1[0-2])", month, re.ASCII):
            raise ValueError(f"--month is {month!r}: expected YYYYMM, such as 202611")
        if arguments.mend:
            await _mend(found, month, arguments.app)
        parts = await found.directory.apps(month)
        for app in arguments.app or ():
            if app not in parts and not await unnamed(usage, found.directory, month, [app]):
                raise ValueError(f"--app is {app!r}: the directory of {month} has no such app")
        for app in sorted(parts.keys() & arguments.app if arguments.app else parts):
            verified = await verify(found.usage, app, month, kept_since, parts[app])
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
        for partition in await unnamed(usage, found.directory, month, arguments.app):
            unseen += 1
            print(
                f"{month}  {app_of(partition)}: NOT IN TABLE directory, so no question finds it: partition {partition}"
            )
    told = f"{calls} calls, {aggregates} aggregates compared, {differing} differences"
    print(f"{told}, {unseen} partitions that no question finds" if unseen else told)
    return 1 if differing or unseen else 0


async def _mend(found: Services, month: str, apps: list[str] | None) -> None:
    usage = found.stores[rows.TABLE]
    for app in sorted({app_of(each) for each in await unnamed(usage, found.directory, month, apps)}):
        parts = await mend(usage, found.stores[directory.TABLE], app, month)
        if parts is None:
            print(f"{month}  {app}: not mended, by no number of partitions its calls are where they are looked for")
        else:
            print(f"{month}  {app}: entered in table directory ({parts} partitions)", flush=True)
