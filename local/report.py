"""The usage report of `make run`, and what to try next."""

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.collected import Counted
from local.sample.truth import Counts, Truth, differences

_COLUMNS = {
    "calls": "calls",
    "failed": "failed_calls",
    "prompt": "prompt_tokens",
    "cached": "cached_prompt_tokens",
    "completion": "completion_tokens",
    "total": "total_tokens",
}


def print_usage(console: Console, usage: Mapping[str, Any], start: datetime) -> None:
    """A table of an answer of `/api/usage` grouped by app and model, the greatest consumers first."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, header_style="bold", footer_style="bold", pad_edge=False)
    totals = Counts.of_row(usage["totals"])
    table.add_column("app and model", "all apps", overflow="fold")
    for heading, footer in zip([*_COLUMNS, "coverage"], _cells(totals), strict=True):
        table.add_column(heading, footer, justify="right", no_wrap=True)
    for app, models in _by_app(usage["rows"]):
        table.add_row(escape(app), *_cells(Counts.total(counts for _, counts in models)), style="bold")
        for place, (model, counts) in enumerate(models):
            name = f"  {escape(model)}" if model else "  [dim]no model named[/]"
            table.add_row(name, *_cells(counts), end_section=place == len(models) - 1)
    console.print()
    console.print(f"[bold]Token usage since {start:%A %-d %B, %H:%M} UTC[/]")
    console.print(table)
    console.print(
        "[dim]cached: part of prompt. coverage: share of the calls whose usage the provider reported;\n"
        "the others are counted as calls, and their tokens are not guessed.[/]"
    )


def print_agreement(console: Console, truth: Truth, counted: Counted, calls_before: int) -> bool:
    """What was sent against what was counted, in this run. Returns whether all of it agrees."""
    faults = differences(truth.apps, counted.apps)
    if counted.dead_letters != truth.malformed:
        faults.append(f"{truth.malformed} malformed events were sent, {counted.dead_letters} were set aside")
    console.print()
    if faults:
        console.print("[bold red]DISAGREEMENT[/] between what was sent and what was counted:")
        for fault in faults:
            console.print(f"  [red]{escape(fault)}[/]")
        return False
    console.print(
        f"[bold]{truth.usage_events:,}[/] events sent: [bold]{truth.totals.calls:,}[/] calls counted, "
        f"{truth.duplicates} sent twice and counted once, {truth.malformed} malformed set aside"
    )
    console.print(
        f"[bold]{truth.joined:,}[/] of the calls are live streams whose usage came in the gateway's own log: "
        f"{truth.logs} messages, {truth.repeated_logs} of them sent twice"
    )
    console.print("[green]✓[/] all totals of all apps agree exactly with what was sent")
    if calls_before:
        console.print(f"[dim]  ({calls_before:,} calls in the table were there before this run)[/]")
    return True


def print_next(console: Console, base_url: str, hub_connection_string: str, hub: str) -> None:
    """Lines to paste into another terminal, in the project's folder."""
    python = Path(sys.executable)
    shown = os.path.relpath(python) if python.is_relative_to(Path.cwd()) else str(python)
    _heading(console, "Look at it:")
    _paste(console, f"{base_url}/api/dashboard")
    _heading(console, "Ask for the last 24 hours, hour by hour:")
    _paste(console, f"curl '{base_url}/api/usage?granularity=hour&group_by=app,model'")
    _heading(console, "Send an event of your own:")
    _paste(
        console,
        f"""{shown} - <<'END'
import json, uuid
from datetime import UTC, datetime
from azure.eventhub import EventData, EventHubProducerClient

hub = "{hub_connection_string}"
event = {{"schema": "usage-event/1", "request_id": str(uuid.uuid4()), "timestamp": datetime.now(UTC).isoformat(),
         "app_id": "my-app", "response_model": "gpt-4o-2024-08-06", "stream": False, "status": 200,
         "usage": {{"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42}}}}
with EventHubProducerClient.from_connection_string(hub, eventhub_name="{hub}") as producer:
    producer.send_batch([EventData(json.dumps(event))])
END""",
    )
    _heading(console, "and see it counted:")
    _paste(console, f"curl '{base_url}/api/usage?granularity=total&app=my-app'")


def _by_app(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str | None, Counts]]]]:
    """Each app with its models; apps, and the models of each, by tokens, then by calls."""
    apps: dict[str, list[tuple[str | None, Counts]]] = {}
    for row in rows:
        apps.setdefault(row["app"], []).append((row["model"], Counts.of_row(row)))
    for models in apps.values():
        models.sort(key=lambda model: _weight(model[1]), reverse=True)
    return sorted(apps.items(), key=lambda app: _weight(Counts.total(counts for _, counts in app[1])), reverse=True)


def _weight(counts: Counts) -> tuple[int, int]:
    return counts.total_tokens, counts.calls


def _cells(counts: Counts) -> list[str]:
    return [*(f"{getattr(counts, name):,}" for name in _COLUMNS.values()), _coverage(counts)]


def _coverage(counts: Counts) -> str:
    if not counts.calls:
        return ""
    if counts.usage_reported == counts.calls:
        return "[green]100 %[/]"
    # Rounded down: 100 % is only said of all.
    return f"[yellow]{100 * counts.usage_reported // counts.calls} %[/]"


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(f"[bold]{text}[/]")


def _paste(console: Console, text: str) -> None:
    console.print(text, markup=False, style="cyan", soft_wrap=True)
