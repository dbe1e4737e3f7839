"""Delete dead letters for good."""

import argparse

from models.dead_letter import parse_letter_id
from services import Services

HELP = "delete dead letters for good, such as of records whose sender has sent them again, mended"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which dead letters."""
    parser.add_argument("--id", action="append", required=True, help="repeatable")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if one was not there. Raises ValueError for what is no id, before any is deleted."""
    for letter in arguments.id:
        parse_letter_id(letter)
    missing = 0
    for letter in dict.fromkeys(arguments.id):
        kept = await found.dead_letters.get(letter)
        if kept is None:
            print(f"{letter}: not_found")
            missing += 1
            continue
        await found.dead_letters.remove(letter)
        lost = kept.letter
        records = f", {lost.records} records" if lost.records > 1 else ""
        size = len(lost.payload.text) if lost.payload else None
        payload = "nothing of the record was kept" if size is None else f"{size} bytes were kept"
        print(f"{letter}: deleted ({lost.reason}, request_id {lost.request_id or 'unknown'}{records}; {payload})")
    return 1 if missing else 0
