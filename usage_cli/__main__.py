"""`python -m usage_cli <command>`: docs/usage-cli.md."""

import argparse
import io
import os
import sys
from collections.abc import Iterable
from typing import Final, NoReturn
from zoneinfo import ZoneInfo

from usage_cli import times
from usage_cli.client import Client, ClientError, credentials
from usage_cli.commands import COMMANDS, Session, calls, prices, report

DEFAULT_URL: Final = "http://127.0.0.1:7071"


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; {self.prog} --help says more\n")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _zone(text: str) -> ZoneInfo:
    try:
        return times.zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument(
        "--url", default=os.environ.get("USAGE_URL", DEFAULT_URL), help="the function app (or USAGE_URL)"
    )
    common.add_argument(
        "--audience",
        default=os.environ.get("USAGE_AUDIENCE"),
        help="sign in with Entra for this app, such as api://<client id> (or USAGE_AUDIENCE)",
    )
    common.add_argument("--format", choices=("table", "csv", "json"), default="table")
    span = common.add_argument_group("range").add_mutually_exclusive_group()
    span.add_argument("--month", metavar="YYYY-MM")
    span.add_argument("--last", metavar="7d", help="so many h, d or w until now")
    span.add_argument("--from", dest="start", metavar="TIME", help="a day, or an RFC 3339 time; with --to")
    common.add_argument("--to", dest="end", metavar="TIME", help="exclusive; now if it is not given")
    common.add_argument("--tz", type=_zone, default=ZoneInfo("UTC"), help="IANA name: where days and months begin")

    parser = Parser(prog="python -m usage_cli", description="Usage and costs of language models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    made = {}
    for command in COMMANDS:
        text = command.__doc__ or ""
        made[command] = commands.add_parser(command.__name__, help=text, description=text, parents=[common])
        made[command].set_defaults(run=command)
    for command in (report, calls):
        made[command].add_argument(
            "--where",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="filter, such as model=gpt-4o; repeatable",
        )
    made[report].add_argument(
        "--by",
        action="append",
        metavar="NAMES",
        help="comma list such as app,model,cost_center; none; repeatable",
    )
    made[report].add_argument("--granularity", choices=("total", "month", "day", "hour"), default="total")
    made[report].add_argument("--top", type=_number, metavar="N", help="the N rows with the most tokens")
    made[report].add_argument("--short", action="store_true", help="1.23M for 1,234,567")
    made[calls].add_argument("--app", dest="of_app", required=True)
    made[calls].add_argument("--limit", type=_number, default=100, metavar="N")
    made[prices].add_argument("--missing", action="store_true", help="what was charged nothing for want of a price")
    return parser


def main(words: Iterable[str]) -> int:
    """Run the command that `words` name. 0: answered; 1: no answer, and stderr says why in one line; 2: wrong words."""
    parser = _parser()
    given = parser.parse_args(list(words))
    if given.end and not given.start:
        parser.error("argument --to: goes with --from")
    if given.command == "report" and given.top and given.granularity != "total":
        parser.error(f"argument --top: goes without --granularity {given.granularity}: which rows come first is time's")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(newline="")  # CSV has CRLF, whatever the system's lines end with
    try:
        client = Client(given.url, credentials(os.environ.get("USAGE_FUNCTION_KEY"), given.audience))
        given.run(Session(client, given))
        sys.stdout.flush()
    except ValueError as error:
        parser.error(str(error))
    except ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
