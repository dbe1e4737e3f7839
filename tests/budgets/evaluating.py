"""Budgets to evaluate: an app with tables of its own, calls in it, and the alerts that were raised."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from budgets.entry import read_budget
from budgets.evaluate import evaluate
from ledger.alerts import Wanted
from local.azurite import Azurite
from services import Services, build
from tests.queries.filled import environment, fill
from tests.support.events import usage_event

DAY = "2024-02-29"
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def app(azurite: Azurite, **changes: str) -> AsyncIterator[Services]:
    """Services with tables of their own."""
    services = build(environment(azurite, **changes))
    try:
        yield services
    finally:
        await services.close()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def enter(services: Services, name: str, edited: str = "2024-02-28", **members: Any) -> None:
    """A budget of 1,000 tokens a day for everything, with these changes, entered the day before leap day."""
    body = {"period": "day", "unit": "tokens", "limit": 1000, **members}
    document = read_budget(body, allow_private=False).model_dump(mode="json")
    await services.budgets.edit(name, lambda _: document, at(edited))


async def used(services: Services, tokens: int, when: str, **changes: Any) -> None:
    """One call of so many prompt tokens."""
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    event = usage_event(
        **{"request_id": uuid4().hex, "app_id": "search", "timestamp": at(when).isoformat(), "usage": usage, **changes}
    )
    await fill(services, [(event, "0")])


async def raised(services: Services) -> list[str]:
    """The ids of all alerts, without `budget/`."""
    page = await services.alerts.page(Wanted(EPOCH, FAR), 1000)
    assert page.next is None
    return sorted(stored.alert.id.removeprefix("budget/") for stored in page.alerts)


async def run(services: Services, when: str) -> Any:
    return await evaluate(services, now=lambda: at(when))


async def state(services: Services, name: str) -> Any:
    found = await services.budget_notes.state(name)
    return None if found is None else found.found
