"""What was used, by the same sums and prices as GET /api/usage. Budgets of one period are answered by one read."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from budgets.entry import BudgetEntry, Unit
from budgets.periods import Period
from budgets.projection import HOUR, WEEK, WEEKS
from budgets.verdict import Used
from models.errors import QueryError
from models.event import parse_rfc3339
from models.measures import total
from prices.price import cost
from queries.answer import Sums, add_priced
from queries.asking import Asker
from queries.names import Names
from queries.question import UsageQuery
from queries.read import in_time

log = logging.getLogger("usage_collector.budgets")

MAX_ROWS: Final = 1_000_000
"""Sums of one read, held at once: apps by models. Answers of the API have a bound of their own."""
MAX_HOURLY_APPS: Final = 16
"""Of more apps, or of all, a profile knows the days of the week only: their hours are too many rows to read."""
MICROSECONDS: Final = 1_000_000


class Wanted(NamedTuple):
    """A budget in one of its periods."""

    budget: BudgetEntry
    period: Period


class Clock:
    """The time that one run may take: each question `seconds` at the most, and all `seconds_of_run`."""

    def __init__(self, seconds: int, seconds_of_run: int):
        self._seconds = seconds
        self._end = time.monotonic() + seconds_of_run

    @property
    def left(self) -> int:
        """Seconds for the next question, 0 if there are none."""
        return max(min(self._seconds, int(self._end - time.monotonic())), 0)


async def measure(
    asker: Asker, wanted: Mapping[Wanted, datetime], now: datetime, clock: Clock, alone_clock: Clock
) -> dict[Wanted, Used | str]:
    """What was used of each, or why that is not known; what there was no time to ask for is left out. `wanted` says
    when each was asked for last: those that wait longest come first. A period's sums are read as a whole: of a month of
    UTC that is its month rows. Where one read cannot answer for all, each budget is asked for alone, when all others
    were, in the time of `alone_clock`. Raises StoreError."""
    found: dict[Wanted, Used | str] = {}
    alone: list[Wanted] = []
    periods: dict[Period, list[Wanted]] = {}
    for each in sorted(wanted, key=wanted.__getitem__):
        periods.setdefault(each.period, []).append(each)
    # by the last of a period: those that one read could not answer for wait longer than their period did
    for of_period in sorted(periods.values(), key=lambda those: wanted[those[-1]]):
        if not clock.left:
            break
        shared = await _read(asker, of_period, now, clock)
        if not isinstance(shared, str):
            found |= shared
        elif len(of_period) == 1:
            found[of_period[0]] = shared
        else:
            alone += of_period
    for each in sorted(alone, key=wanted.__getitem__):
        if not alone_clock.left:
            break
        answer = await _read(asker, [each], now, alone_clock)
        found[each] = answer if isinstance(answer, str) else answer[each]
    return found


async def _read(asker: Asker, wanted: Sequence[Wanted], now: datetime, clock: Clock) -> dict[Wanted, Used] | str:
    budgets = [each.budget for each in wanted]
    (period,) = {each.period for each in wanted}
    query = _question(budgets, period, asker.names)
    try:
        async with in_time(clock.left):
            fold = await asker.fold(query, now, MAX_ROWS, None)
        answer = fold.answer()
    except QueryError as fault:
        log.warning("budgets of %s: %s: %s", period.start.date(), fault.code, fault)
        return fault.code
    sums: dict[BudgetEntry, Sums] = {budget: {} for budget in budgets}
    takers = _Takers(budgets, asker.names)
    for row, of_row in zip(answer.rows, answer.sums, strict=True):
        for budget in takers.of(row.get("app"), row.get("model")):
            add_priced(sums[budget], of_row)
    return {each: used_of(sums[each.budget], each.budget.unit) for each in wanted}


def _question(budgets: Sequence[BudgetEntry], period: Period, names: Names) -> UsageQuery:
    filters: dict[str, frozenset[str]] = {}
    if not any(budget.covers_everything for budget in budgets):
        filters["app"] = frozenset(app for budget in budgets for app in apps_of(budget, names))
    models = {budget.model for budget in budgets}
    if None not in models:
        filters["model"] = frozenset(model for model in models if model is not None)
    by_app = any(not budget.covers_everything for budget in budgets)
    group_by = (*(["app"] if by_app else []), *(["model"] if models != {None} else []))
    return UsageQuery(period.start, period.end, "total", group_by, filters)


def apps_of(budget: BudgetEntry, names: Names) -> list[str]:
    """The apps of a budget that is not of everything."""
    return apps_covered(budget.app, budget.cost_center, names)


def apps_covered(app: str | None, cost_center: str | None, names: Names) -> list[str]:
    """One app, or those of a cost centre."""
    return [app] if app is not None else [name for name, center in names.cost_centers.items() if center == cost_center]


class _Takers:
    """Which budgets the calls of an app and a model count for."""

    def __init__(self, budgets: Iterable[BudgetEntry], names: Names):
        self._everything: list[BudgetEntry] = []
        self._of_app: dict[str, list[BudgetEntry]] = {}
        for budget in budgets:
            if budget.covers_everything:
                self._everything.append(budget)
                continue
            for app in apps_of(budget, names):
                self._of_app.setdefault(app, []).append(budget)

    def of(self, app: str | None, model: str | None) -> Iterable[BudgetEntry]:
        of_app = self._of_app.get(app, []) if app is not None else []
        return (budget for budget in (*self._everything, *of_app) if budget.model in (None, model))


def used_of(by_price: Sums, unit: Unit) -> Used:
    """Sums in a budget's unit."""
    sums = total(by_price.values())
    calls = sums.get("calls", 0)
    without = calls - sums.get("usage_reported", 0)
    used = Used(Decimal(sums.get("total_tokens", 0)), calls=calls, calls_without_usage=without)
    if unit == "tokens":
        return used
    costs = cost(by_price)
    seconds = Decimal(costs.unpriced_audio_microseconds) / MICROSECONDS
    return replace(used, amount=costs.amount, unpriced_tokens=costs.unpriced_tokens, unpriced_audio_seconds=seconds)


async def history(
    asker: Asker, budget: BudgetEntry, today: datetime, now: datetime, clock: Clock
) -> list[tuple[datetime, Decimal]]:
    """What a budget would have counted in each hour of the weeks before `today`, a midnight of UTC. Where only days are
    read, each hour of a day has the same. Raises QueryError and StoreError."""
    hourly = not budget.covers_everything and len(apps_of(budget, asker.names)) <= MAX_HOURLY_APPS
    query = _question([budget], Period(today - WEEKS * WEEK, today), asker.names)
    query = replace(query, granularity="hour" if hourly else "day", group_by=())
    async with in_time(clock.left):
        answer = (await asker.fold(query, now, MAX_ROWS, None)).answer()
    found: list[tuple[datetime, Decimal]] = []
    for row, of_row in zip(answer.rows, answer.sums, strict=True):
        start, amount = parse_rfc3339(row["start"]), used_of(of_row, budget.unit).amount or Decimal(0)
        found += [(start, amount)] if hourly else [(start + hour * HOUR, amount / 24) for hour in range(24)]
    return found
