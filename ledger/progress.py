"""How far each hub partition is counted: table `directory`, PartitionKey `progress`, a row per partition. One that an
import or a replay wrote says so in the column `noted_by`.

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

from ledger.retry import insist
from ledger.rows import utc_text
from ledger.store import Entity, RowChanged, RowExists, Store, StoreError, Write
from models.errors import StoreUnavailable
from models.keys import escape_key
from models.origin import Origin

PARTITION_KEY: Final = "progress"
NOTED_BY: Final = "noted_by"
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

    async def note(self, last: Origin) -> None:
        """A batch that ends with this event is counted. Never raises."""
        try:
            async with asyncio.timeout(SECONDS):
                await insist(partial(self._advance, last))
        except (StoreUnavailable, StoreError, TimeoutError) as fault:
            log.warning("progress of %s %s is not noted: %s", last.hub, last.partition, fault or type(fault).__name__)

    async def note_restored(self, hub: str, partition: str, reached: Reached) -> None:
        """An import brought in what is counted through this event; a row that is there stays. Raises
        StoreUnavailable."""
        last = Origin(hub, partition, reached.sequence_number, reached.enqueued_time)
        with suppress(RowExists):
            await insist(partial(self._store.submit, [Write(_entity(_key(last), last) | {NOTED_BY: "import"})]))

    async def note_replayed(self, last: Origin) -> None:
        """A replay counted all through this event. Forward only, and a row that the app's own reader wrote stays: it
        tells whether that one goes on. Raises StoreUnavailable."""

        async def attempt() -> None:
            row = await self._store.get(PARTITION_KEY, _key(last))
            is_behind = row is None or _reached(row.columns) < Reached(last.enqueued_time, last.sequence_number)
            if is_behind and (row is None or NOTED_BY in row.columns):
                entity = _entity(_key(last), last) | {NOTED_BY: "replay"}
                await self._store.submit([Write(entity, row.etag if row else None)])

        while True:
            with suppress(RowExists, RowChanged):  # by the reader, or by us and the answer was lost: look again
                return await insist(attempt)

    async def _advance(self, last: Origin) -> None:
        """Forward only, whoever writes: an earlier owner of the partition can be late, and a replay brings old events.
        What is newer is told by the time, since sequence numbers start again in a hub that is made anew."""
        key = _key(last)
        reached = Reached(last.enqueued_time, last.sequence_number)
        for _ in range(MAX_CONFLICTS):
            known = self._known.pop(key) if key in self._known else await self._read(key)
            if known is not None and known[0] >= reached:
                self._known[key] = known
                return
            try:
                etags = await self._store.submit([Write(_entity(key, last), known[1] if known else None)])
            except (RowExists, RowChanged):
                continue
            self._known[key] = reached, etags[0]
            return

    async def _read(self, key: str) -> tuple[Reached, str] | None:
        row = await self._store.get(PARTITION_KEY, key)
        return (_reached(row.columns), row.etag) if row else None

    async def reached(self) -> dict[tuple[str, str], Reached]:
        """By hub and partition. Raises StoreError."""
        rows = self._store.range(PARTITION_KEY, "", "~~")
        return {(row.columns["hub"], row.columns["partition"]): _reached(row.columns) async for row in rows}


def _key(event: Origin) -> str:
    return f"{escape_key(event.hub)}|{escape_key(event.partition)}"


def _entity(key: str, last: Origin) -> Entity:
    return {
        "PartitionKey": PARTITION_KEY,
        "RowKey": key,
        "hub": last.hub,
        "partition": last.partition,
        "sequence_number": EntityProperty(last.sequence_number, EdmType.INT64),
        "enqueued_time_utc": utc_text(last.enqueued_time),
    }


def _reached(columns: Mapping[str, Any]) -> Reached:
    return Reached(datetime.fromisoformat(columns["enqueued_time_utc"]), columns["sequence_number"])
