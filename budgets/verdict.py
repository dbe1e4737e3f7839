"""A budget and what was used of it -> its state, the thresholds that are crossed, and the status of an app. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, Final, Literal

from budgets.entry import BudgetEntry
from budgets.periods import Period
from budgets.projection import Method
from ledger.versions import Version
from models.event import parse_rfc3339
from prices.price import decimal_text

State = Literal["within", "exceeded", "partly_priced", "unknown"]
MAX_FOLDED: Final = 16
"""Budgets that the status of an app tells of, those that decide first."""


@dataclass(frozen=True, slots=True)
class Used:
    """What was used in a period, in the budget's unit: None if nothing of it has a price. What no price covers is
    beside it (0 if the unit is tokens), and so are calls that reported no usage."""

    amount: Decimal | None
    unpriced_tokens: int = 0
    unpriced_audio_seconds: Decimal = Decimal(0)
    calls: int = 0
    calls_without_usage: int = 0

    @property
    def partly_priced(self) -> bool:
        """Whether `amount` is a lower bound."""
        return bool(self.unpriced_tokens or self.unpriced_audio_seconds)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the timer found of a budget's period at `as_of`. `fault` is why it could not be evaluated."""

    budget_id: str
    version: int
    period: Period
    as_of: datetime
    used: Used | None
    projected: Decimal | None = None
    method: Method | None = None
    fault: str | None = None


def crossed(budget: BudgetEntry, used: Used) -> list[int]:
    """The thresholds, in percent, that are reached."""
    if used.amount is None:
        return []
    return [threshold for threshold in budget.thresholds if used.amount * 100 >= budget.limit * threshold]


def state_of(budget: BudgetEntry, used: Used | None) -> State:
    """Exceeded is what has reached its limit. Without a price, or without an evaluation, nothing is known; and what is
    below its limit, with some of it unpriced, may be above."""
    if used is None or used.amount is None:
        return "unknown"
    if used.amount >= budget.limit:
        return "exceeded"
    return "partly_priced" if used.partly_priced else "within"


def shown_evaluation(found: Evaluation, budget: BudgetEntry) -> dict[str, Any]:
    """As answers show it, and as the timer notes it."""
    used, end = found.used, found.period.end
    amount = used.amount if used else None
    return {
        "version": found.version,
        "as_of": _text(found.as_of),
        "period_start": _text(found.period.start),
        "period_end": _text(end),
        "days_left": round(max((end - found.as_of).total_seconds(), 0) / 86_400, 2),
        "state": state_of(budget, used),
        "actual": None if amount is None else decimal_text(amount),
        "percent": None if amount is None else _percent(amount, budget.limit),
        "projected": None if found.projected is None else decimal_text(found.projected),
        "projection": found.method,
        "unpriced_tokens": used.unpriced_tokens if used else 0,
        "unpriced_audio_seconds": float(used.unpriced_audio_seconds) if used else 0.0,
        "calls": used.calls if used else 0,
        "calls_without_usage": used.calls_without_usage if used else 0,
        "fault": found.fault,
    }


def noted_for_apps(found: Evaluation, budget: BudgetEntry) -> dict[str, Any]:
    """What the status of an app tells of a budget that covers it."""
    shown = shown_evaluation(found, budget)
    return {
        "id": found.budget_id,
        "covers": _covers(budget.app, budget.cost_center),
        "model": budget.model,
        "unit": budget.unit,
        "limit": decimal_text(budget.limit),
        **{name: shown[name] for name in ("version", "state", "actual", "percent", "period_start", "period_end")},
    }


def noted_unread(version: Version) -> tuple[dict[str, Any], str | None, str | None]:
    """The same of one that nobody can read, with the app and the cost centre that it covers: everything, where that is
    not told either."""
    values = (version.document.get(name) for name in ("app", "cost_center", "model"))
    app, center, model = (value if isinstance(value, str) else None for value in values)
    figures = dict.fromkeys(("unit", "limit", "actual", "percent", "period_start", "period_end"))
    known = {"id": version.id, "covers": _covers(app, center), "model": model, "version": version.version}
    return {**known, "state": "unknown", **figures}, app, center


def _covers(app: str | None, cost_center: str | None) -> str:
    return "app" if app is not None else "cost_center" if cost_center is not None else "everything"


def folded(notes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The few that are kept for an app, which say what all would, now and later: those that decide; of them those that
    are exceeded, then what is not known; of the exceeded the longest lasting, of the others those that end first."""
    ordered = sorted(notes, key=lambda each: (-(each["percent"] or 0), each["id"]))
    ordered.sort(key=lambda each: each["period_end"] or "")
    exceeded = [each for each in reversed(ordered) if each["state"] == "exceeded"]
    others = [each for each in ordered if each["state"] != "exceeded"]
    others.sort(key=lambda each: each["state"] == "within")
    return sorted([*exceeded, *others], key=lambda each: each["model"] is not None)[:MAX_FOLDED]


def status_of(notes: Sequence[Mapping[str, Any]], now: datetime) -> tuple[str, str | None]:
    """Of an app: whether it is within all budgets that cover it, and until when it is not. A budget of one model does
    not decide about the app; one whose period ended since it was looked at, or that nobody can read, is not known."""
    deciding = [note for note in notes if note["model"] is None]
    lasting = [note for note in deciding if note["period_end"] and now < parse_rfc3339(note["period_end"])]
    exceeded = [note["period_end"] for note in lasting if note["state"] == "exceeded"]
    if exceeded:
        return "exceeded", max(exceeded)
    if not deciding:
        return "no_budget", None
    known = len(lasting) == len(deciding) and all(note["state"] == "within" for note in lasting)
    return ("within" if known else "unknown"), None


def _percent(amount: Decimal, limit: Decimal) -> float:
    """Two places of them, cut: a threshold that is not reached is not shown as if it were."""
    return floor(Fraction(amount) * 10_000 / Fraction(limit)) / 100


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
