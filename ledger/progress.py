"""How far each hub partition is counted: table `directory`, PartitionKey `progress`, a row per partition. One that an
import or a replay wrote says so in the column `noted_by`; what the app's own reader counts beyond a gap behind it
stands beside that (`own_…`) until a replay has filled the gap.

For operators only. Counting never reads it, and a row that could not be written stops nothing.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from azure.data.tables import EdmType, EntityProperty

from ledger.retry import insist, insist_anew
from ledger.rows import utc_text
from ledger.store import Entity, RowChanged, RowExists, Store, StoreError, Write
from models.errors import StoreUnavailable
from models.keys import escape_key
from models.origin import Origin

PARTITION_KEY: Final = "progress"
NOTED_BY: Final = "noted_by"
OWN_FIRST: Final = "own_first_sequence_number"
OWN_LAST: Final = "own_sequence_number"
OWN_TIME: Final = "own_enqueued_time_utc"
SECONDS: Final = 5.0
"""A batch waits no longer than that for its row."""
MAX_CONFLICTS: Final = 5

log = logging.getLogger("usage_collector.backlog")


class Reached(NamedTuple):
    """The newest event of a partition that is counted."""

    enqueued_time: datetime
    sequence_number: int


class Progress:
    """Writes a row with each batch, so that a partition that falls silent is never shown behind."""

    def __init__(self, store: Store):
        self._store = store
        self._known: dict[str, tuple[Reached, str] | None] = {}

    async def note(self, last: Origin, first: Origin | None = None) -> None:
        """A batch is counted that begins with `first` (None: it is one event) and ends with `last`. Never raises."""
        try:
            async with asyncio.timeout(SECONDS):
                await insist(partial(self._advance, first or last, last))
        except (StoreUnavailable, StoreError, TimeoutError) as fault:
            log.warning("progress of %s %s is not noted: %s", last.hub, last.partition, fault or type(fault).__name__)

    async def note_restored(self, hub: str, partition: str, reached: Reached) -> None:
        """An import brought in what is counted through this event; a row that is there stays. Raises
        StoreUnavailable."""
        last = Origin(hub, partition, reached.sequence_number, reached.enqueued_time)
        with suppress(RowExists):
            await insist(partial(self._store.submit, [Write(_entity(last, "import"))]))

    async def note_replayed(self, last: Origin) -> None:
        """A replay counted all through this event. Forward only, and a row that the app's own reader wrote stays: it
        tells whether that one goes on. Raises StoreUnavailable."""

        async def attempt() -> None:
            row = await self._store.get(PARTITION_KEY, _key(last))
            is_behind = row is None or _reached(row.columns) < _reached_at(last)
            if is_behind and (row is None or NOTED_BY in row.columns):
                entity = _noted(row.columns if row else {}, last, "replay")
                await self._store.submit([Write(entity, row.etag if row else None)])

        await insist_anew(attempt, PARTITION_KEY)

    async def _advance(self, first: Origin, last: Origin) -> None:
        """Forward only, whoever writes: an earlier owner of the partition can be late, and a replay brings old events.
        What is newer is told by the time, since sequence numbers start again in a hub that is made anew."""
        key = _key(last)
        reached = _reached_at(last)
        for _ in range(MAX_CONFLICTS):
            known = self._known.pop(key, None)
            entity, noted = _entity(last), False
            if known is None and (row := await self._store.get(PARTITION_KEY, key)) is not None:
                known = _reached(row.columns), row.etag
                if noted := NOTED_BY in row.columns:
                    entity = _beside(row.columns, first, last)
            if known is not None and known[0] >= reached:
                if not noted:
                    self._known[key] = known
                return
            try:
                etags = await self._store.submit([Write(entity, known[1] if known else None)])
            except (RowExists, RowChanged):
                continue
            if NOTED_BY not in entity:
                self._known[key] = reached, etags[0]
            return

    async def reached(self) -> dict[tuple[str, str], Reached]:
        """By hub and partition. Raises StoreError."""
        rows = self._store.range(PARTITION_KEY, "", "~~")
        return {(row.columns["hub"], row.columns["partition"]): _reached(row.columns) async for row in rows}


def _key(event: Origin) -> str:
    return f"{escape_key(event.hub)}|{escape_key(event.partition)}"


class _Own(NamedTuple):
    """What the app's reader counted beyond a gap: from which sequence number on, and how far. It leaves nothing out, so
    that this tells all."""

    first: int
    reached: Reached


def _entity(last: Origin, noted_by: str | None = None, own: _Own | None = None) -> Entity:
    entity: Entity = {
        "PartitionKey": PARTITION_KEY,
        "RowKey": _key(last),
        "hub": last.hub,
        "partition": last.partition,
        "sequence_number": EntityProperty(last.sequence_number, EdmType.INT64),
        "enqueued_time_utc": utc_text(last.enqueued_time),
    }
    if noted_by is not None:
        entity[NOTED_BY] = noted_by
    if own is not None:
        entity[OWN_FIRST] = EntityProperty(own.first, EdmType.INT64)
        entity[OWN_LAST] = EntityProperty(own.reached.sequence_number, EdmType.INT64)
        entity[OWN_TIME] = utc_text(own.reached.enqueued_time)
    return entity


def _beside(columns: Mapping[str, Any], first: Origin, last: Origin) -> Entity:
    """The row in which an import or a replay noted how far it came, after the app's reader counted these events: the
    reader's from then on if they follow, else what it counted stands in it."""
    noted, before = _reached(columns), _own(columns)
    if first.sequence_number <= noted.sequence_number + 1:
        return _entity(last)
    own = _Own(first.sequence_number, _reached_at(last))
    if before is not None:
        own = _Own(min(before.first, own.first), max(before.reached, own.reached))
    return _entity(_moved(last, noted), columns[NOTED_BY], own)


def _noted(columns: Mapping[str, Any], last: Origin, by: str) -> Entity:
    """The row after a replay came to `last`; the reader's own again where that fills the gap before what it counted."""
    own = _own(columns)
    if own is None or last.sequence_number + 1 < own.first:
        return _entity(last, by, own)
    return _entity(_moved(last, max(own.reached, _reached_at(last))))


def _own(columns: Mapping[str, Any]) -> _Own | None:
    if OWN_FIRST not in columns:
        return None
    return _Own(columns[OWN_FIRST], Reached(datetime.fromisoformat(columns[OWN_TIME]), columns[OWN_LAST]))


def _reached(columns: Mapping[str, Any]) -> Reached:
    return Reached(datetime.fromisoformat(columns["enqueued_time_utc"]), columns["sequence_number"])


def _reached_at(event: Origin) -> Reached:
    return Reached(event.enqueued_time, event.sequence_number)


def _moved(event: Origin, reached: Reached) -> Origin:
    return event._replace(**reached._asdict())
