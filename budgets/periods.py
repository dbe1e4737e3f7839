"""The periods of a budget, and which of them are to be evaluated. Pure.

A period is evaluated while it lasts, and for `GRACE` after its end, since calls of its last hours are counted late. So
that none is missed when nothing ran for long, it is noted until when all is `settled`: every period that ends after
that is evaluated, and with the version of the budget that was in force at its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from budgets.entry import BudgetEntry, PeriodName, stored_budget
from ledger.versions import Version
from models.event import parse_rfc3339
from queries.buckets import DAY, midnight, month_after

GRACE: Final[Mapping[PeriodName, timedelta]] = {"day": timedelta(days=1), "month": timedelta(weeks=1)}
"""A week is how long a hub may keep events. It costs a read more a run."""
MAX_PERIODS: Final = 40
"""Of one budget in one run: the oldest, and the current one; the next run does the rest."""


class Period(NamedTuple):
    """`start` <= time < `end`, in UTC."""

    start: datetime
    end: datetime


class Due(NamedTuple):
    """A period to be evaluated with a version of a budget."""

    version: int
    budget: BudgetEntry
    period: Period


def period_at(instant: datetime, period: PeriodName, zone: ZoneInfo) -> Period:
    """The period that an instant is in."""
    day = instant.astimezone(zone).date()
    first, after = (day, day + DAY) if period == "day" else (day.replace(day=1), month_after(day))
    start, end = midnight(first, zone), midnight(after, zone)
    if start <= instant < end:
        return Period(start, end)
    # Where clocks are set back over midnight, or a day is left out, the date alone does not tell.
    before = midnight(first - DAY if period == "day" else month_after(first, -1), zone)
    later = midnight(after + DAY if period == "day" else month_after(after), zone)
    edges = pairwise(sorted({before, start, end, later}))
    return next(Period(*edge) for edge in edges if edge[0] <= instant < edge[1])


def periods_ending_after(instant: datetime, now: datetime, budget: BudgetEntry) -> Iterator[Period]:
    """The periods with `instant` < end and start <= `now`, in their order."""
    found = period_at(instant, budget.period, budget.zone)
    while found.start <= now:
        yield found
        found = period_at(found.end, budget.period, budget.zone)


def due(history: Sequence[Version], settled: datetime | None, now: datetime) -> tuple[list[Due], datetime]:
    """What is to be evaluated of a budget, of its versions from the one in force at `settled` on (None: from the first
    on), and what can be noted as settled when that is done."""
    found: list[Due] = []
    deleted = [number for number, version in enumerate(history) if not version.document]
    history = history[deleted[-1] + 1 :] if deleted else history  # what was deleted fires no more
    edits = [parse_rfc3339(version.edited_at) for version in history]
    for version, edited, replaced in zip(history, edits, [*edits[1:], None], strict=True):
        budget = stored_budget(version.document)
        if budget is None or (replaced is not None and settled is not None and replaced <= settled):
            continue
        for period in periods_ending_after(max(edited, settled or edited), now, budget):
            if replaced is not None and period.end > replaced:  # the next version is in force at its end
                break
            found.append(Due(version.version, budget, period))
    done = now - max((GRACE[each.budget.period] for each in found), default=max(GRACE.values()))
    if len(found) > MAX_PERIODS:
        found = [*found[: MAX_PERIODS - 1], found[-1]]
        done = min(done, found[-2].period.end)
    return found, max(done, settled or edits[0])


def needs_history(current: Version, settled: datetime | None) -> bool:
    """Whether an earlier version can still have a period to be evaluated."""
    return current.version > 1 and (settled is None or settled < parse_rfc3339(current.edited_at))
