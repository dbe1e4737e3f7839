"""What the endpoints of budgets take and give."""

from collections.abc import Mapping
from typing import Final

from api.edits import ID
from api.openapi.budget_shapes import BudgetsAnswer, BudgetStatusAnswer, EnteredBudget, OneBudget, OwnBudget
from api.openapi.operation import Operation
from budgets.entry import BudgetEntry
from queries.parameters import BudgetsParameters, BudgetStatusParameters

_BUDGET: Final = {"id": (rf"(?!status$){ID.pattern}", "search-month")}
_EXAMPLE_BUDGET: Final = {
    "app": "search",
    "period": "month",
    "tz": "Europe/Berlin",
    "unit": "USD",
    "limit": "2500",
    "thresholds": [50, 80, 100],
}
BUDGET_OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "budgets": {
        "GET": Operation(
            "budgets",
            "The budgets",
            {200: BudgetsAnswer},
            "With what is used of them, as the timer found it last. docs/budgets.md.",
            takes=BudgetsParameters,
            paged=True,
        )
    },
    "budget": {
        "GET": Operation(
            "budgets/{id}",
            "A budget, with its history",
            {200: OneBudget},
            path=_BUDGET,
            refuses=(400, 404),
            conditional=True,
        ),
        "PUT": Operation(
            "budgets/{id}",
            "Enter a budget",
            {200: EnteredBudget, 201: EnteredBudget},
            "Or a new version of it, whose thresholds fire anew.",
            path=_BUDGET,
            body=BudgetEntry,
            body_example=_EXAMPLE_BUDGET,
            refuses=(400, 409, 412, 413),
            conditional=True,
        ),
        "DELETE": Operation(
            "budgets/{id}",
            "Delete a budget",
            {200: OwnBudget},
            "Its alerts stay.",
            path=_BUDGET,
            refuses=(400, 404, 412),
            conditional=True,
        ),
    },
    "budget_status": {
        "GET": Operation(
            "budgets/status",
            "Whether an app is within its budgets",
            {200: BudgetStatusAnswer},
            "For the gateway: one point read. 403 for an app that the caller may not see. docs/budgets.md.",
            takes=BudgetStatusParameters,
            refuses=(400, 403),
            example={"app": "search"},
        )
    },
}
