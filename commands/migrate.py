"""Bring rows that an earlier version of the app wrote up to this one's schema version."""

import argparse

from commands.progress import Progress
from ledger.migrate import STEPS, MigrationReport, migrate
from services import Services, now

HELP = "rewrite rows of earlier schema versions; can be run at any time, and again, while the app counts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: it does what there is to do."""


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 0. Raises TablesOfAnotherVersion where a later version has written."""
    before = await found.schema.note(now())
    if before.oldest == before.newest:
        print(f"schema version {before.newest}: nothing has to be rewritten")
        return 0
    print(f"schema versions {before.oldest} to {before.newest}", flush=True)
    with Progress("partitions") as progress:

        def tell(where: str, report: MigrationReport) -> None:
            progress.advance(f"{report.rows:,} rows rewritten, at {where}")

        report = await migrate(found.schema, found.stores, STEPS, now(), tell)
    print(f"schema version {found.schema.version}: {report.rows} rows rewritten in {report.partitions} partitions")
    return 0
