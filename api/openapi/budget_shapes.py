"""Budgets and what is used of them, in JSON."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict

from api.openapi.shapes import Amount, Answer, Error, NextCursor
from budgets.entry import BudgetEntry, Unit
from budgets.projection import Method
from budgets.verdict import State


class OwnBudget(BudgetEntry):
    """A budget as it is since `edited_at`. `webhook` is null for callers who may not edit it."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
    id: str
    version: int
    edited_at: datetime


class EnteredBudget(OwnBudget):
    """What was entered. `warnings` name what nobody has seen: no call, and no entry, has it."""

    warnings: list[Error]


class BudgetFound(Answer):
    """What the timer found of the current period at `as_of`. Amounts are text, in the budget's unit; `fault` says why
    it could not be evaluated."""

    version: int
    as_of: datetime
    period_start: datetime
    period_end: datetime
    days_left: float
    state: State
    actual: Amount | None
    percent: float | None
    projected: Amount | None
    projection: Method | None
    unpriced_tokens: int
    unpriced_audio_seconds: float
    calls: int
    calls_without_usage: int
    fault: str | None


class ListedBudget(OwnBudget):
    """`status` is null until the timer has run."""

    status: BudgetFound | None


class BudgetsAnswer(Answer):
    """A page of them, in an order that stays."""

    budgets: list[ListedBudget]
    next_cursor: NextCursor


class OneBudget(ListedBudget):
    """With all its versions, the oldest first."""

    history: list[OwnBudget]


class CoveringBudget(Answer):
    """A budget that covers an app; with a `model`, it does not decide. One that nobody can read, as of a later version
    of this app, is `unknown` and has no figures."""

    id: str
    covers: Literal["app", "cost_center", "everything"]
    model: str | None
    unit: Unit | None
    limit: Amount | None
    version: int
    state: State
    actual: Amount | None
    percent: float | None
    period_start: datetime | None
    period_end: datetime | None


class BudgetStatusAnswer(Answer):
    """`until` is the end of the last period that is exceeded. `as_of` is when the timer ran; null: it has not. All
    budgets that cover the app decide; `budgets` are those that the caller may see."""

    app: str
    state: Literal["within", "exceeded", "unknown", "no_budget"]
    until: datetime | None
    as_of: datetime | None
    age_seconds: int | None
    budgets: list[CoveringBudget]
