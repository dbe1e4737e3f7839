"""What the timer notes of budgets, in table `budgets` beside the budgets themselves (ledger/versions.py).

PartitionKey `states`    a row per budget, by its id: what was found last, and until when all is settled
PartitionKey `status`    a row per app that has budgets of its own or of its cost centre; `*` for those of everything
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from ledger.retry import insist, upsert_all
from ledger.rows import utc_text
from ledger.store import MAX_TRANSACTION_ENTITIES, Entity, Row, RowChanged, RowExists, Store, Write
from models.event import parse_rfc3339
from models.keys import escape_key

TABLE: Final = "budgets"
PARTITION: Final = "budgets"
"""Of the budgets."""
STATES: Final = "states"
STATUS: Final = "status"
EVERYTHING: Final = "*"
"""No app has this key: `*` is escaped in them."""

MAX_STATUS_LENGTH: Final = 30_000
"""Characters, all ASCII, of what is noted for an app: a text column holds 32,768, and 100 rows must fit into one
transaction of 4 MiB. A character outside the Basic Multilingual Plane takes twelve."""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """`found` is the last evaluation as it is shown, None before the first. Periods that ended by `settled` are done
    with. `profile` is what is usual in each hour of a week (None: no history), as of `profiled`, for the budget's
    version `profile_version`. It was `asked` for then: those that a run has no time for come first in the next."""

    settled: datetime | None = None
    found: Mapping[str, Any] | None = None
    profile: Sequence[float] | None = None
    profiled: datetime | None = None
    profile_version: int = 0
    asked: datetime | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted for an app: the budgets that cover it, as of a time."""

    as_of: datetime
    budgets: Sequence[Mapping[str, Any]]


class BudgetNotes:
    """The timer's own rows. Every method can raise StoreError; those that write, StoreUnavailable."""

    def __init__(self, store: Store):
        self._store = store

    async def states(self) -> dict[str, BudgetState]:
        """Of all budgets, by their ids."""
        return {row.columns["RowKey"]: _state(row) async for row in self._store.range(STATES, "", "~~")}

    async def state(self, budget_id: str) -> BudgetState | None:
        """Of one."""
        row = await self._store.get(STATES, budget_id)
        return None if row is None else _state(row)

    async def found(self, budget_ids: Collection[str]) -> dict[str, Mapping[str, Any] | None]:
        """The last evaluations of these, and perhaps of others, by their ids."""
        if not budget_ids:
            return {}
        # No id has a character as small as the one that stands behind the last of them.
        rows = self._store.range(STATES, min(budget_ids), max(budget_ids) + "!", ["RowKey", "found"])
        return {row.columns["RowKey"]: json.loads(row.columns["found"]) async for row in rows}

    async def note(self, budget_id: str, state: BudgetState) -> None:
        """In the place of the state with its `etag`. If another run was faster, its state stays: the next run, which
        reads it, does what may be left."""
        entity: Entity = {
            "PartitionKey": STATES,
            "RowKey": budget_id,
            "found": json.dumps(state.found),
            "profile": json.dumps(state.profile),
            "profile_version": state.profile_version,
        }
        if state.settled is not None:
            entity["settled"] = utc_text(state.settled)
        if state.profiled is not None:
            entity["profiled"] = utc_text(state.profiled)
        if state.asked is not None:
            entity["asked"] = utc_text(state.asked)
        with suppress(RowExists, RowChanged):
            await insist(partial(self._store.submit, [Write(entity, state.etag)]))

    async def forget(self, budget_ids: Iterable[str]) -> None:
        """Delete the states of budgets that are no more."""
        for budget_id in budget_ids:
            await self._delete([{"PartitionKey": STATES, "RowKey": budget_id}])

    async def status(self, app: str | None) -> Noted | None:
        """What is noted for an app, None for everything: one point read."""
        row = await self._store.get(STATUS, EVERYTHING if app is None else escape_key(app))
        return None if row is None else Noted(parse_rfc3339(row.columns["as_of"]), json.loads(row.columns["budgets"]))

    async def note_status(
        self, everything: Sequence[Mapping[str, Any]], apps: Mapping[str, Sequence[Mapping[str, Any]]], now: datetime
    ) -> None:
        """Note what covers everything, and what covers each of `apps`, and no others any more."""
        rows = {EVERYTHING: everything} | {escape_key(app): budgets for app, budgets in apps.items()}
        stale = [
            {"PartitionKey": STATUS, "RowKey": row.columns["RowKey"]}
            async for row in self._store.range(STATUS, "", "~~", ["RowKey"])
            if row.columns["RowKey"] not in rows
        ]
        for start in range(0, len(stale), MAX_TRANSACTION_ENTITIES):
            await self._delete(stale[start : start + MAX_TRANSACTION_ENTITIES])
        same = {"PartitionKey": STATUS, "as_of": utc_text(now)}
        entities = [same | {"RowKey": key, "budgets": _fitting(budgets)} for key, budgets in rows.items()]
        await upsert_all(self._store, entities)

    async def _delete(self, entities: Sequence[Entity]) -> None:
        with suppress(RowChanged):  # another run deletes too, or we did and the answer was lost
            await insist(partial(self._store.submit, [Write(entity, "*", delete=True) for entity in entities]))


def _fitting(budgets: Sequence[Mapping[str, Any]]) -> str:
    """As many of them as a row can hold, the first ones: they decide, and are short, since they name no model."""
    while len(text := json.dumps(budgets)) > MAX_STATUS_LENGTH:
        budgets = budgets[:-1]
    return text


def _state(row: Row) -> BudgetState:
    columns = row.columns
    return BudgetState(
        settled=parse_rfc3339(columns["settled"]) if "settled" in columns else None,
        found=json.loads(columns["found"]),
        profile=json.loads(columns["profile"]),
        profiled=parse_rfc3339(columns["profiled"]) if "profiled" in columns else None,
        profile_version=columns["profile_version"],
        asked=parse_rfc3339(columns["asked"]) if "asked" in columns else None,
        etag=row.etag,
    )
