"""What each command asks, and how its answer is written."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console

from usage_cli import times
from usage_cli.client import Client
from usage_cli.client import Parameters as Question
from usage_cli.tables import Cell, Row, count, listing, usage_table

PAGE: Final = "10000"
CALLS_PAGE: Final = 1000
FORMULA_STARTS: Final = tuple("=+-@\t\r\n＝＋－＠")
"""OWASP, "CSV Injection"."""


class Session:
    """What a command works with: the API, where tables go, and a sign of life while it waits."""

    def __init__(self, client: Client, given: argparse.Namespace):
        self.client = client
        self.given = given
        # Not on a terminal, nobody folds lines: a table is as wide as it is.
        self.out = Console(width=None if sys.stdout.isatty() else 4000, soft_wrap=False, highlight=False)
        self._err = Console(stderr=True)

    def waiting(self, what: str) -> Any:
        return self._err.status(what) if self._err.is_terminal else nullcontext()

    def get(self, path: str, parameters: Question) -> Any:
        with self.waiting("asking …"):
            return self.client.get(path, parameters)


def report(session: Session) -> None:
    """usage and costs by app, or by whatever --by says"""
    given = session.given
    by_time = given.granularity != "total"
    question = {
        **_range(given, "month"),
        **_filters(given),
        "tz": given.tz.key,
        "granularity": given.granularity,
        "group_by": ",".join(given.by or ["app"]),
    }
    if given.format == "csv":
        order = {} if by_time or not given.top else {"order_by": "-total_tokens"}
        _write_pages(session, "usage", question | order | {"limit": str(min(given.top or PAGE, PAGE))}, given.top)
        return
    top = {"limit": str(given.top)} if given.top else {}
    answer = session.get("usage", question | {"order_by": "start" if by_time else "-total_tokens"} | top)
    if given.format == "json":
        _write_json(answer)
        return
    session.out.print(f"[bold]{answer['from']} to {answer['to']}[/], {answer['tz']}")
    fitted = usage_table(answer, short=given.short, width=session.out.width)
    session.out.print(fitted.table)
    if fitted.missing:
        session.out.print(f"no room for {', '.join(fitted.missing)}: a wider window, or --format csv, has them")
    if answer["next_cursor"]:
        session.out.print(f"The first {given.top}; totals are of all.")
    if answer["totals"]["unpriced_tokens"] or answer["totals"]["unpriced_audio_seconds"]:
        session.out.print("unpriced: what has no price, which cost nothing here: `usage_cli prices --missing`")
    if answer["totals"]["usage_missing"]:
        session.out.print("coverage: share of the calls whose usage was reported; the others' tokens are not guessed")


def calls(session: Session) -> None:
    """one app's calls, newest first"""
    given = session.given
    question = {**_range(given, None), **_filters(given), "app": given.of_app}
    if given.format == "csv":
        _write_pages(session, "calls", question | {"limit": str(CALLS_PAGE)}, most=given.limit)
        return
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while len(found) < given.limit:
        page = session.get("calls", question | {"limit": str(min(CALLS_PAGE, given.limit - len(found)))} | cursor)
        found += page["calls"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    if given.format == "json":
        _write_json({**page, "calls": found})
        return

    def used(kind: str) -> Any:
        return lambda call: "–" if call["usage"][kind] is None else count(call["usage"][kind])

    columns = {
        "time": lambda call: call["timestamp"],
        "request": lambda call: call["request_id"],
        "model": lambda call: call["model"] or call["deployment"] or "–",
        "status": lambda call: "–" if call["status"] is None else str(call["status"]),
        "prompt": used("prompt_tokens"),
        "completion": used("completion_tokens"),
        "usage": lambda call: call["missing_reason"] or call["usage_state"],
    }
    session.out.print(listing(columns, found, ("status", "prompt", "completion")))
    more = page["next_cursor"] is not None
    session.out.print(f"{len(found)} calls{', and more: --limit' if more else ''}")


def apps(session: Session) -> None:
    """the apps that had calls, and what is entered of them"""
    answer = session.get("apps", _range(session.given, None))
    names = ("app", "display_name", "owner", "cost_center")
    _listed(session, answer, answer["apps"], {**{name: name for name in names}, "months": "months"})


def models(session: Session) -> None:
    """the models that answered, and their deployments"""
    answer = session.get("models", _range(session.given, None))
    _listed(session, answer, answer["models"], {"model": "model", "deployments": "deployments"})


def prices(session: Session) -> None:
    """which price applies to which model; with --missing, what has none"""
    given = session.given
    if given.missing:
        answer = session.get("prices", {**_range(given, None), "missing": "1"})
        names = [name for name in ("model", "deployment") if any(name in row for row in answer["missing"])]
        shown = {name: name for name in (*names, "calls", "unpriced_tokens", "unpriced_audio_seconds")}
        _listed(session, answer, answer["missing"], shown)
        return
    answer = session.get("prices", _range(given, None))
    rows = [
        {"model": model["model"], **price, **price["per_million"], **_words_of(price)}
        for model in answer["models"]
        for price in model["prices"]
    ]
    kinds = dict.fromkeys(kind for row in rows for kind in row["per_million"])
    rates = list(kinds) if given.format == "csv" else ["rates"]
    _listed(session, answer, rows, {name: name for name in ("model", "scope", *rates, *_OF_PRICES)})


_OF_PRICES: Final = ("valid_from", "valid_to", "source")


def _words_of(price: Row) -> dict[str, str]:
    """The scope and the rates of a price, each in one text."""
    rates = [f"{kind.removesuffix('_tokens').replace('_', ' ')} {rate}" for kind, rate in price["per_million"].items()]
    return {"scope": ", ".join(f"{name}={value}" for name, value in price["scope"].items()), "rates": "\n".join(rates)}


_DIMENSIONS: Final = (
    *("deployment", "operation", "api", "product", "subscription", "user", "backend", "gateway", "region"),
    *("client_ip", "stream", "status"),
)
FILTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "report": ("app", "model", "cost_center", *_DIMENSIONS),
    "calls": ("model", *_DIMENSIONS, "usage_state", "missing_reason"),
}
"""What --where can name, by command: the filters of the API, and no other of its parameters."""

COMMANDS: Final = (report, calls, apps, models, prices)


def _listed(session: Session, answer: Any, rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """Rows in the format that is wanted; lists become words."""

    def text(row: Row, name: str) -> str:
        value = row.get(name)
        if isinstance(value, list):
            return ", ".join(value)
        return "" if value is None else str(value)

    if session.given.format == "json":
        _write_json(answer)
    elif session.given.format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\r\n")
        writer.writerow(columns)
        for row in rows:
            cells = [text(row, name) for name in columns.values()]
            writer.writerow([f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell for cell in cells])
    else:
        numbers = [heading for heading in columns if heading.endswith(("tokens", "calls", "seconds"))]
        shown = {heading: _cell_of(text, name, heading in numbers) for heading, name in columns.items()}
        shown = {heading.replace("_", " "): cell for heading, cell in shown.items()}
        numbers = [heading.replace("_", " ") for heading in numbers]
        session.out.print(listing(shown, rows, numbers))


def _cell_of(text: Callable[[Row, str], str], name: str, is_number: bool) -> Cell:
    return lambda row: _shown(text(row, name), is_number)


def _shown(text: str, is_number: bool) -> str:
    return count(int(text)) if is_number and text.isascii() and text.isdigit() else text or "–"


def _write_json(answer: Any) -> None:
    json.dump(answer, sys.stdout, ensure_ascii=False, indent=2)
    print()


def _write_pages(session: Session, path: str, question: Question, most: int | None = None) -> None:
    """CSV as the API gives it, page after page, with one header; at most so many rows."""
    written = 0
    with session.waiting("asking …") as status:
        for number, page in enumerate(session.client.pages(path, {**question, "format": "csv"})):
            rows = list(csv.reader(io.StringIO(page, newline="")))
            header, body = rows[0], rows[1:] if most is None else rows[1 : 1 + most - written]
            writer = csv.writer(sys.stdout, lineterminator="\r\n")
            writer.writerows([header, *body] if number == 0 else body)
            written += len(body)
            if status is not None:
                status.update(f"{written:,} rows …")
            if most is not None and written >= most:
                return


def _range(given: argparse.Namespace, default: str | None) -> dict[str, str]:
    now = datetime.now(UTC)
    if given.month:
        start, end = times.month(given.month, given.tz)
    elif given.last:
        start, end = times.last(given.last, now)
    elif given.start or given.end:
        edges = {"from": given.start, "to": given.end}
        return {name: times.moment(text, given.tz).isoformat() for name, text in edges.items() if text}
    elif default == "month":
        start, _ = times.month(f"{now.astimezone(given.tz):%Y-%m}", given.tz)
        end = now
    else:
        return {}
    return {"from": start.isoformat(), "to": end.isoformat()}


def _filters(given: argparse.Namespace) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in given.where:
        name, equals, value = each.partition("=")
        if not equals or not value:
            raise ValueError(f"{each!r} is no filter, expected one such as app=search")
        known = FILTERS[given.command]
        if name not in known:
            raise ValueError(f"--where names {name!r}, expected one of {', '.join(known)}")
        found.setdefault(name, []).append(value)
    return found
