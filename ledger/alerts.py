"""Alerts, each once, in table `alerts`: an outbox. Who finds a reason inserts; a timer sends what is due.

One partition, since they are few and the newest are asked for. Rows that belong together change in one transaction:

    i|{digest}               this id was raised
    r|{time}|{digest}        the alert, and what became of it; its time counts backwards, so that the newest is first
    d|{time}|{digest}        it is to be sent then, and what must be known to share the time out among receivers
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple
from uuid import uuid4

from ledger.alert_rows import PARTITION, alert_of, delivery_of, due_key, entity_of, mark_key, newest_first, row_key
from ledger.retry import Sleep, insist
from ledger.store import MAX_TRANSACTION_ENTITIES, Entity, Row, RowChanged, RowExists, Store, Write
from models.alert import Alert, Delivery, Format, digest_of
from models.webhook import masked

TABLE: Final = "alerts"
MAX_EXAMINED: Final = 10_000
"""Rows read for a page of a list, whether or not they are what was asked for."""
MAX_PURGED: Final = 10_000
"""Alerts of one run."""
_RAISED_BY: Final = "raised_by"


class Stored(NamedTuple):
    """An alert and what became of it; `etag` is of both."""

    alert: Alert
    delivery: Delivery
    etag: str


class Receiver(NamedTuple):
    """Where an alert is sent, and in which form."""

    webhook: str
    format: Format


class Due(NamedTuple):
    """An alert that is to be sent: the keys of the row that says so, and of its own. As it was when that was written:
    whether it `has_webhook`, of which `budget` (None: it is not of a budget), and is `told` already."""

    key: str
    row: str
    budget: str | None = None
    has_webhook: bool = False
    told: bool = False


class Wanted(NamedTuple):
    """Which alerts: raised at `start` or later and before `end`; of any of the kinds, states, apps and budgets, empty:
    of every. `allowed` are the apps that the caller may see, None for all alerts."""

    start: datetime
    end: datetime
    kinds: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    budgets: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None

    def has(self, stored: Stored) -> bool:
        """Whether it is one of them, its time aside."""
        alert = stored.alert
        if self.allowed is not None and alert.app not in self.allowed:
            return False
        asked = (
            (self.kinds, alert.kind),
            (self.states, stored.delivery.state),
            (self.apps, alert.app),
            (self.budgets, alert.budget),
        )
        return all(not values or value in values for values, value in asked)


class Page(NamedTuple):
    """Some alerts, the newest first, and where to go on: None at the end. There may be more where few are found."""

    alerts: list[Stored]
    next: str | None


@dataclass(slots=True)
class AlertPurgeReport:
    """`deleted` alerts; `left_over` is True if there are more."""

    deleted: int = 0
    left_over: bool = False


class Alerts:
    """The alerts behind `store`. Every method can raise StoreUnavailable or StoreError."""

    def __init__(self, store: Store, sleep: Sleep = asyncio.sleep):
        self._store = store
        self._sleep = sleep

    async def raise_once(self, alert: Alert) -> bool:
        """Write it down, to be sent soon. False if there is one with this id already."""
        receiver = None if alert.webhook is None else masked(alert.webhook)
        return await self.record(alert, Delivery(next_attempt=alert.raised, receiver=receiver))

    async def record(self, alert: Alert, delivery: Delivery) -> bool:
        """Write it down with what became of it. False if there is one with this id already."""
        mark: Entity = {"PartitionKey": PARTITION, "RowKey": mark_key(alert.digest)}
        if await self._mark(alert.digest) is not None:  # a reason is found again and again, as long as it holds
            return False
        own = uuid4().hex
        writes = [Write(mark | {"id": alert.id, "row": row_key(alert), _RAISED_BY: own})]
        writes += [Write(entity_of(alert, delivery)), *_due_writes(alert, None, delivery)]
        try:
            await self._submit(writes)
        except RowExists:  # by another instance, or by ourselves in an attempt whose answer was lost
            found = await self._mark(alert.digest)
            return found is not None and found.columns[_RAISED_BY] == own
        return True

    async def get(self, alert_id: str) -> Stored | None:
        """One alert."""
        mark = await self._mark(digest_of(alert_id))
        row = None if mark is None else await self._get(mark.columns["row"])
        return None if row is None else _stored(row)

    async def due(self, now: datetime, limit: int) -> list[Due]:
        """Alerts that are to be sent, those that wait longest first."""

        async def read() -> list[Due]:
            found: list[Due] = []
            async for row in self._store.range(PARTITION, "d|", f"{due_key(now, '')}~"):
                key, own, budget = row.columns["RowKey"], row.columns["row"], row.columns.get("budget")
                flags = (row.columns.get(name, False) for name in ("has_webhook", "told"))
                found.append(Due(key, own, budget, *flags))
                if len(found) == limit:
                    break
            return found

        return await insist(read, self._sleep)

    async def claim(self, due: Due, now: datetime, until: datetime) -> Stored | None:
        """Begin an attempt: nobody else does until `until`, when it is due again unless it is finished by then. None if
        somebody else was faster, or the answer to our own write was lost."""
        stored = await self._still(due)
        if stored is None:
            return None
        attempts = stored.delivery.attempts + 1
        delivery = replace(stored.delivery, attempts=attempts, last_attempt=now, next_attempt=until)
        return await self._change(stored, stored.alert, delivery)

    async def put_off(self, due: Due, until: datetime, answer: str) -> Stored | None:
        """Due again at `until`, without an attempt; `answer` says why. None as of `claim`."""
        stored = await self._still(due)
        if stored is None:
            return None
        return await self._change(stored, stored.alert, replace(stored.delivery, next_attempt=until, answer=answer))

    async def finish(self, claimed: Stored, delivery: Delivery) -> Stored | None:
        """Note how an attempt ended; it is due again at `next_attempt`, if there is one. None if the claim was lost
        meanwhile. What arrived needs its webhook no more, and a secret that is not kept cannot be read."""
        alert = claimed.alert if delivery.state in ("pending", "failed") else replace(claimed.alert, webhook=None)
        return await self._change(claimed, alert, delivery)

    async def again(self, alert_id: str, now: datetime, receiver: Receiver | None = None) -> Stored | None:
        """Have an alert that was given up sent again, to `receiver` if that is another by now. None if it is not
        `failed`, or not there."""
        stored = await self.get(alert_id)
        if stored is None or stored.delivery.state != "failed":
            return None
        alert = replace(stored.alert, **receiver._asdict()) if receiver else stored.alert
        shown = alert.webhook and masked(alert.webhook)
        delivery = Delivery(next_attempt=now, receiver=shown, told=stored.delivery.told)
        return await self._change(stored, alert, delivery)

    async def page(self, wanted: Wanted, limit: int, after: str | None = None) -> Page:
        """At most `limit` of the alerts that are wanted; `after` is the `next` of the page before."""
        found: list[Stored] = []
        examined = 0
        first = newest_first(wanted.end) + "|~" if after is None else f"{after}~"
        async for row in self._store.range(PARTITION, first, newest_first(wanted.start) + "|~"):
            stored = _stored(row)
            examined += 1
            if wanted.has(stored):
                found.append(stored)
            if len(found) == limit or examined == MAX_EXAMINED:
                return Page(found, row.columns["RowKey"])
        return Page(found, None)

    async def purge(self, oldest: datetime) -> AlertPurgeReport:
        """Delete the alerts that were raised before `oldest`."""
        report = AlertPurgeReport()
        old = self._store.range(PARTITION, newest_first(oldest) + "|~", "r~")
        async for stored in _several(old):
            try:
                await self._submit([write for each in stored for write in _deletes(each)])
                report.deleted += len(stored)
            except RowChanged:  # another run deletes too, or we did and the answer was lost
                report.left_over = True
            if report.deleted >= MAX_PURGED or report.left_over:
                report.left_over = True
                break
        return report

    async def _change(self, stored: Stored, alert: Alert, delivery: Delivery) -> Stored | None:
        writes = [Write(entity_of(alert, delivery), stored.etag)]
        writes += _due_writes(alert, stored.delivery.next_attempt, delivery)
        try:
            etags = await self._submit(writes)
        except (RowChanged, RowExists):
            return None
        return Stored(alert, delivery, etags[0])

    async def _still(self, due: Due) -> Stored | None:
        """None if it changed since `due` was read."""
        row = await self._get(due.row)
        if row is None:
            return None
        stored = _stored(row)
        at = stored.delivery.next_attempt
        return stored if at is not None and due_key(at, stored.alert.digest) == due.key else None

    async def _mark(self, digest: str) -> Row | None:
        return await self._get(mark_key(digest))

    async def _get(self, key: str) -> Row | None:
        return await insist(partial(self._store.get, PARTITION, key), self._sleep)

    async def _submit(self, writes: Sequence[Write]) -> list[str]:
        return await insist(partial(self._store.submit, writes), self._sleep)


def _stored(row: Row) -> Stored:
    return Stored(alert_of(row.columns), delivery_of(row.columns), row.etag)


def _due_writes(alert: Alert, before: datetime | None, delivery: Delivery) -> list[Write]:
    """What makes the alert due then, and not as it was."""
    if before == (after := delivery.next_attempt):
        return []
    writes = []
    if before is not None:  # the ETag of the alert's own row guards this one
        writes.append(Write({"PartitionKey": PARTITION, "RowKey": due_key(before, alert.digest)}, "*", delete=True))
    if after is not None:
        due: Entity = {"PartitionKey": PARTITION, "RowKey": due_key(after, alert.digest)}
        due |= {"row": row_key(alert), "has_webhook": alert.webhook is not None, "told": delivery.told}
        writes.append(Write(due if alert.budget is None else due | {"budget": alert.budget}))
    return writes


def _deletes(row: Row) -> list[Write]:
    stored = _stored(row)
    mark: Entity = {"PartitionKey": PARTITION, "RowKey": mark_key(stored.alert.digest)}
    due = _due_writes(stored.alert, stored.delivery.next_attempt, replace(stored.delivery, next_attempt=None))
    return [Write(row.columns, row.etag, delete=True), Write(mark, "*", delete=True), *due]


async def _several(rows: AsyncIterator[Row]) -> AsyncIterator[list[Row]]:
    """As many at once as a transaction can delete, each with its three rows."""
    held: list[Row] = []
    async for row in rows:
        held.append(row)
        if len(held) == MAX_TRANSACTION_ENTITIES // 3:
            yield held
            held = []
    if held:
        yield held
