"""Calls whose figures a test knows, as the dashboard's tests send them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.support.events import NOON, usage_event

NOW = NOON + timedelta(minutes=10)
"""The time on the browser's clock: a Friday."""
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
QUIET, BUSY = "invoices", "support-chat"
MODELS = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "somebody's-own", None)
"""The third has no price, the last did not say its name."""
READER = "5a1e4c4e-0000-4000-8000-00000000000a"
"""Someone who may see the busy app only."""
NAMES = {BUSY: "Support chat", QUIET: "Invoices & receipts"}
DAYS = 14


def calls() -> Iterator[dict[str, Any]]:
    """Two weeks of calls until now, more of them by day than at night and on weekdays than at weekends."""
    for hours in range(DAYS * 24):
        time = NOW - timedelta(hours=hours, minutes=7)
        busy = 2 if time.weekday() < 5 and 8 <= time.hour <= 18 else 1
        for number in range(busy):
            yield _call(time, hours, number)


def _call(time: datetime, hours: int, number: int) -> dict[str, Any]:
    app = (BUSY, BUSY, QUIET, "search", HOSTILE)[(hours + number) % 5]
    model = MODELS[(hours * 3 + number) % 9 % 4]
    failed, prompt = (hours + 2 * number) % 11 == 0, 9_000 + 137 * (hours % 50)
    usage: dict[str, Any] | None = {
        "prompt_tokens": prompt,
        "completion_tokens": 400 + 31 * (hours % 17),
        "prompt_tokens_details": {"cached_tokens": prompt // 2 if app == BUSY else 0},
    }
    if failed or (hours + number) % 13 == 0:
        usage = None
    return usage_event(
        app_id=app,
        request_id=f"call-{hours}-{number}",
        response_model=model,
        deployment=None if model is None else model.split("-2024")[0],
        timestamp=(time + timedelta(seconds=number)).isoformat(),
        status=429 if failed else 200,
        stream=number == 1,
        duration_ms=300 + 90 * (hours % 23) + (4000 if hours % 29 == 0 else 0),
        usage=usage,
    )
