"""The timer that evaluates budgets: what was used, what it will be, which thresholds are crossed.

It may run late, twice, at once, or end anywhere: an alert is inserted if it is not there yet, and what is noted here
only saves work, or is found again. So the order is: alerts first, then the state, then the status of apps.
"""

import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from asker import asker_of
from budgets.entry import BudgetEntry, stored_budget
from budgets.measure import Clock, Wanted, apps_covered, history, measure
from budgets.periods import Due, due, needs_history, period_at
from budgets.projection import Projection, profile, project
from budgets.verdict import (
    Evaluation,
    Used,
    crossed,
    folded,
    noted_for_apps,
    noted_unread,
    shown_evaluation,
    state_of,
)
from ledger.budgets import BudgetState
from ledger.store import StoreBusy
from ledger.versions import Version
from models.alert import Alert
from models.errors import QueryError, StoreUnavailable
from queries.asking import Asker
from queries.read import each
from services import Services
from services import now as wall_clock

log = logging.getLogger("usage_collector.budgets")

MAX_PROFILES: Final = 50
"""That one run reads: thousands of rows each. Until its turn comes, a budget has the profile it had, or none."""
MEASURE_SECONDS: Final = 240
SHARED_PART: Final = 0.5
"""Of them, for reads that answer for many budgets; the rest of them is for those that need a read of their own."""
PROFILE_SECONDS: Final = 60
"""Of one run, which is ended after ten minutes (functionTimeout): what is left has no answer in it."""
CONCURRENCY: Final = 8
TOO_SLOW: Final = "too_slow"
"""What is said of a budget that was not asked for, since the run had no time left."""
GONE: Final = "calls_not_kept"
HOPELESS: Final = (GONE, "too_much_to_read")
"""What no later run can answer: of a period that ended it is not waited for."""
MICROSECOND: Final = timedelta(microseconds=1)
NEVER: Final = datetime.min.replace(tzinfo=UTC)
PLACES: Final = {"tokens": 0, "USD": 6}
"""After the point, in projections."""
PASSING: Final = (StoreBusy, StoreUnavailable)
"""What is not the fault of one budget."""


@dataclass(slots=True)
class EvaluateReport:
    """Budgets, how many of them could not be evaluated, periods of theirs, and alerts that were not there before."""

    budgets: int = 0
    failed: int = 0
    periods: int = 0
    raised: int = 0
    milliseconds: int = 0


@dataclass(slots=True)
class _Budget:
    """A budget on its way through one run."""

    version: Version
    entry: BudgetEntry
    state: BudgetState
    due: Sequence[Due] = ()
    settled: datetime | None = None
    fault: str | None = None
    evaluation: Evaluation | None = None


async def evaluate(
    services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock
) -> EvaluateReport:
    """Evaluate all budgets. One that cannot be does not stop the others. Raises if the tables do not answer: the next
    run does it all."""
    started, at = time.monotonic(), now()
    await services.schema.begin(at)
    report = EvaluateReport()
    budgets, unreadable = await _planned(services, at)
    asker = await asker_of(services, "budgets") if budgets or unreadable else None
    if asker is not None:
        await _judge(services, asker, budgets, at, report)
    await _note_apps(services, asker, budgets, unreadable, at)
    report.budgets = len(budgets) + len(unreadable)
    report.failed = sum(each.fault is not None for each in budgets) + len(unreadable)
    report.milliseconds = round((time.monotonic() - started) * 1000)
    states: Counter[str] = Counter(
        state_of(each.entry, each.evaluation.used if each.evaluation else None) for each in budgets
    )
    states["unknown"] += len(unreadable)
    services.telemetry.budgets(states, time.monotonic() - started)
    log.info("%s", json.dumps({"event": "budgets", "invocation_id": invocation_id, **asdict(report)}))
    return report


async def _planned(services: Services, at: datetime) -> tuple[list[_Budget], list[Version]]:
    """The budgets there are, with the periods to be evaluated; and those that nobody can read, as of a later version of
    this app."""
    versions = await services.budgets.all()
    states = await services.budget_notes.states()
    found: list[_Budget] = []
    unreadable: list[Version] = []
    for version in versions:
        entry = None
        try:
            entry = stored_budget(version.document)
            if entry is None:
                continue
            budget = _Budget(version, entry, states.get(version.id, BudgetState()))
            settled = budget.state.settled
            versions_of = await services.budgets.history(version.id) if needs_history(version, settled) else [version]
            budget.due, budget.settled = due(versions_of, settled, at)
        except PASSING:
            raise
        except Exception:
            log.exception("budget %s cannot be read", version.id)
            unreadable.append(version)
            continue
        found.append(budget)
    there = {version.id for version in versions if version.document}
    await services.budget_notes.forget(states.keys() - there)
    return found, unreadable


async def _judge(
    services: Services, asker: Asker, budgets: Sequence[_Budget], at: datetime, report: EvaluateReport
) -> None:
    seconds = services.settings.query_max_seconds
    wanted: dict[Wanted, datetime] = {}
    for budget in budgets:
        asked = budget.state.asked or NEVER
        for found in budget.due:  # budgets that are the same but for their ids are one question
            key = Wanted(found.budget, found.period)
            wanted[key] = min(wanted.get(key, asked), asked)
    shared, alone = (Clock(seconds, round(MEASURE_SECONDS * part)) for part in (SHARED_PART, 1))
    measured = await measure(asker, wanted, at, shared, alone)
    await _renew_profiles(asker, budgets, at, Clock(seconds, PROFILE_SECONDS))

    async def one(budget: _Budget) -> None:
        try:
            await _judge_one(services, budget, measured, at, report)
        except PASSING:
            raise
        except Exception:
            log.exception("budget %s cannot be evaluated", budget.version.id)
            budget.fault = "internal_error"
            current = period_at(at, budget.entry.period, budget.entry.zone)
            found = Evaluation(budget.version.id, budget.version.version, current, at, None, fault=budget.fault)
            budget.evaluation = found

    await each(budgets, one, CONCURRENCY)


async def _judge_one(
    services: Services,
    budget: _Budget,
    measured: Mapping[Wanted, Used | str],
    at: datetime,
    report: EvaluateReport,
) -> None:
    """Raise what is crossed, then note it. What waits for another run is a period that ended and could not be asked
    for: the current one is due anyway."""
    current = period_at(at, budget.entry.period, budget.entry.zone)
    is_settled = True
    for found in budget.due:
        used = measured.get(Wanted(found.budget, found.period), TOO_SLOW)
        report.periods += 1
        is_current = found.version == budget.version.version and found.period == current
        if isinstance(used, str):
            if is_current:
                evaluation = Evaluation(budget.version.id, found.version, found.period, at, None, fault=used)
                budget.evaluation = evaluation
                budget.fault = used
                continue
            if used != GONE:
                budget.fault = used
            is_settled = is_settled and used in HOPELESS
            is_over = used in HOPELESS and budget.settled is not None and found.period.end <= budget.settled
            first, outcome = _first_day(found), " is given up" if is_over else ""
            log.warning("budget %s: its period from %s%s: %s", budget.version.id, first, outcome, used)
            continue
        projection = _projected(found, used, at, budget.state.profile if is_current else None)
        reached = crossed(found.budget, used)
        for below, threshold in zip(reversed(range(len(reached))), reached, strict=True):
            raised = at - below * MICROSECOND  # so that the list, newest first, has the highest first
            alert = _alert(budget.version.id, found, used, projection, threshold, raised, not below)
            is_new = await services.alerts.raise_once(alert)
            report.raised += is_new  # not in one line: others count here while this one waits
        if is_current:
            budget.evaluation = Evaluation(
                budget.version.id, found.version, found.period, at, used, projection.amount, projection.method
            )
    state = budget.state
    if any(Wanted(found.budget, found.period) in measured for found in budget.due):
        state = replace(state, asked=at)
    if budget.evaluation is not None:
        state = replace(state, found=shown_evaluation(budget.evaluation, budget.entry))
    if is_settled:
        state = replace(state, settled=budget.settled)
    await services.budget_notes.note(budget.version.id, state)


def _projected(found: Due, used: Used, at: datetime, usual: Sequence[float] | None) -> Projection:
    if used.amount is None:
        return Projection(None, None)
    budget = found.budget
    return project(used.amount, found.period, at, usual, budget.zone, PLACES[budget.unit])


def _alert(
    budget_id: str, found: Due, used: Used, projection: Projection, threshold: int, at: datetime, is_highest: bool
) -> Alert:
    """Only the highest threshold that was reached is sent, the others are noted, told in the log and listed."""
    budget, period = found.budget, found.period
    return Alert(
        id=f"budget/{budget_id}/{found.version}/{_first_day(found)}/{threshold}",
        kind="budget",
        raised=at,
        app=budget.app,
        cost_center=budget.cost_center,
        model=budget.model,
        budget=budget_id,
        period_start=period.start,
        period_end=period.end,
        threshold=threshold,
        unit=budget.unit,
        limit=budget.limit,
        actual=used.amount,
        projected=projection.amount,
        partly_priced=used.partly_priced,
        webhook=budget.webhook if is_highest else None,
        format=budget.format,
    )


def _first_day(found: Due) -> date:
    return found.period.start.astimezone(found.budget.zone).date()


async def _renew_profiles(asker: Asker, budgets: Sequence[_Budget], at: datetime, clock: Clock) -> None:
    """Of those budgets whose profile is not of today, the oldest first. Without one, projections are linear."""
    today = at.replace(hour=0, minute=0, second=0, microsecond=0)

    def is_old(budget: _Budget) -> bool:
        state = budget.state
        return state.profiled is None or state.profiled < today or state.profile_version != budget.version.version

    def age(budget: _Budget) -> timedelta:
        return today - budget.state.profiled if budget.state.profiled is not None else timedelta.max

    for budget in sorted(filter(is_old, budgets), key=age, reverse=True)[:MAX_PROFILES]:
        if not clock.left:
            break
        try:
            amounts = await history(asker, budget.entry, today, at, clock)
            usual = profile(amounts, today, budget.entry.zone)
        except QueryError as fault:
            log.warning("budget %s has no profile: %s", budget.version.id, fault.code)
            usual = None
        version = budget.version.version
        budget.state = replace(budget.state, profile=usual, profiled=today, profile_version=version)
    for budget in budgets:
        if budget.state.profile_version != budget.version.version:  # of another app or unit, perhaps
            budget.state = replace(budget.state, profile=None, profiled=None)


async def _note_apps(
    services: Services, asker: Asker | None, budgets: Sequence[_Budget], unreadable: Sequence[Version], at: datetime
) -> None:
    everything: list[Mapping[str, Any]] = []
    apps: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    notes = [
        (noted_for_apps(budget.evaluation, budget.entry), budget.entry.app, budget.entry.cost_center)
        for budget in budgets
        if budget.evaluation is not None
    ]
    for note, app, center in [*notes, *map(noted_unread, unreadable)]:
        if app is None and center is None:
            everything.append(note)
        elif asker is not None:
            for name in apps_covered(app, center, asker.names):
                apps[name].append(note)
    await services.budget_notes.note_status(folded(everything), {app: folded(notes) for app, notes in apps.items()}, at)
