"""Whether an app is within its budgets: one point read of what the timer noted for it. What is noted for everything is
the same for all apps, and kept for some seconds."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from budgets.verdict import folded, status_of
from ledger.budgets import Noted
from memo import Memo
from services import Services

RECENT_SECONDS: Final = 10.0

_everything: WeakKeyDictionary[Services, Memo[Noted | None]] = WeakKeyDictionary()


async def status(services: Services, app: str, sees_all: bool, now: datetime) -> dict[str, Any]:
    """As GET /api/budgets/status answers of an app that the caller may see. Who does not see all apps is shown the
    app's own budgets only; all that cover it decide. Raises StoreBusy."""
    everything = await _of_everything(services)
    own = await services.budget_notes.status(app)
    notes: list[Mapping[str, Any]] = [*(own.budgets if own else ()), *(everything.budgets if everything else ())]
    state, until = status_of(notes, now)
    as_of = min((noted.as_of for noted in (own, everything) if noted is not None), default=None)
    return {
        "app": app,
        "state": state,
        "until": until,
        "as_of": None if as_of is None else as_of.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "age_seconds": None if as_of is None else max(round((now - as_of).total_seconds()), 0),
        "budgets": folded(note for note in notes if sees_all or note["covers"] == "app"),
    }


async def _of_everything(services: Services) -> Noted | None:
    if services not in _everything:
        _everything[services] = Memo(RECENT_SECONDS)
    return await _everything[services].get(lambda: services.budget_notes.status(None))
