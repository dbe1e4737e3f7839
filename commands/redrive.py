"""Send dead letters to the hub again."""

import argparse
from collections import Counter
from datetime import UTC, datetime

from commands.options import range_of
from ledger.dead_letters import Wanted
from models.dead_letter import REASONS
from redrive import MAX_LETTERS, Redrive, redrive, redrive_wanted
from services import Services

HELP = "send dead letters to the hub again: the function app takes out those that it then counts"
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
END = datetime(2101, 1, 1, tzinfo=UTC)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which dead letters."""
    parser.add_argument("--id", action="append", help="repeatable; stands alone")
    parser.add_argument("--reason", action="append", choices=REASONS, help="repeatable; default: every reason")
    parser.add_argument("--from", dest="start", metavar="TIME", help="enqueued at this time or later (RFC 3339)")
    parser.add_argument("--to", dest="end", metavar="TIME", help="enqueued before this time")
    parser.add_argument("--all", action="store_true", help="all there are")


async def run(arguments: argparse.Namespace, found: Services) -> int:
    """Returns 1 if the hub did not confirm all that were sent. Raises ValueError for what cannot be meant."""
    selects = [arguments.reason, arguments.start, arguments.end, arguments.all]
    if arguments.id and any(selects):
        raise ValueError("--id stands alone: expected no --reason, --from, --to or --all beside it")
    if not arguments.id and not any(selects):
        raise ValueError("say which dead letters: --id, --reason, --from, --to or --all")
    await found.schema.check()
    count: Counter[str] = Counter()
    if arguments.id:
        left = list(dict.fromkeys(arguments.id))
        while left:
            outcomes = await redrive(left[:MAX_LETTERS], found)
            left = left[len(outcomes) :]
            _tell(outcomes, count)
    else:
        start, end = range_of(arguments)
        wanted = Wanted(frozenset(arguments.reason or ()), start or BEGINNING, end or END)
        sweep = await redrive_wanted(wanted, found)
        _tell(sweep.outcomes, count)
        while sweep.next is not None:
            sweep = await redrive_wanted(wanted, found, after=sweep.next)
            _tell(sweep.outcomes, count)
    print(", ".join(f"{count[status]} {status}" for status in ("redriven", "not_redrivable", "not_found", "not_sent")))
    return 1 if count["not_sent"] else 0


def _tell(outcomes: list[Redrive], count: Counter[str]) -> None:
    """A line for each that was not sent, and one for all that were."""
    count.update(outcome.status for outcome in outcomes)
    for outcome in outcomes:
        if outcome.status != "redriven":
            print(f"{outcome.id}: {outcome.status}" + (f" ({outcome.obstacle})" if outcome.obstacle else ""))
    if any(outcome.status == "redriven" for outcome in outcomes):
        print(f"{count['redriven']} redriven", flush=True)
