"""What a budget names and nobody has seen: a likely mistake, which is taken all the same, since a budget may be entered
before the first call."""

from collections.abc import Collection
from datetime import datetime
from difflib import get_close_matches
from typing import Final

import services
from api.registry import names
from api.used import used
from budgets.entry import BudgetEntry
from queries import spans
from queries.buckets import month_after

MONTHS: Final = 3
"""The current one and those before it, in which a call makes a name known."""
NEVER_SEEN: Final = "never_seen"

Told = dict[str, str]
"""In the shape of an error, as `parameter` a member of the body."""


async def unseen(entry: BudgetEntry, now: datetime) -> list[Told]:
    """A warning for each name without a call of late and without an entry. Raises StoreBusy."""
    entered = await names()
    months = spans.months(_first(now), now)
    found: list[Told] = []
    if entry.app is not None:
        active = [await services.get().directory.apps(month) for month in months]
        registered = [each.name for each in await services.get().apps.all()]
        found += _warning("app", entry.app, {*registered, *(app for of_month in active for app in of_month)})
    if entry.cost_center is not None:
        found += _warning("cost_center", entry.cost_center, set(entered.cost_centers.values()))
    if entry.model is not None:
        pairs = (await used(months, None, now)).pairs
        told = {entered.model(model, deployment) for model, deployment in pairs}
        found += _warning("model", entry.model, {*entered.aliases.values(), *(each for each in told if each)})
    return found


def _first(now: datetime) -> datetime:
    return datetime.combine(month_after(now.date(), 1 - MONTHS), datetime.min.time(), now.tzinfo)


_HOW: Final = {
    "app": f"no app {{name!r}} had a call in the last {MONTHS} months, and none is entered",
    "cost_center": "no app has the cost centre {name!r}",
    "model": f"no call of the last {MONTHS} months was answered by a model {{name!r}}, and no alias names it",
}


def _warning(member: str, name: str, known: Collection[str]) -> list[Told]:
    if name in known:
        return []
    nearest = get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return [{"code": NEVER_SEEN, "message": _HOW[member].format(name=name) + hint, "parameter": member}]
