"""Records set aside, in table `deadletters`: PartitionKey the day they were enqueued, RowKey where they came from.

The key is made of the delivery, so a record that is delivered again is the same dead letter.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from azure.data.tables import EdmType, EntityProperty

from ledger.retry import Sleep, upsert_all
from ledger.rows import utc_text
from ledger.store import Entity, Store
from models.dead_letter import DeadLetter
from models.keys import escape_key

TABLE: Final = "deadletters"


class DeadLetters:
    """Writes dead letters; the same one again changes nothing."""

    def __init__(self, store: Store, sleep: Sleep = asyncio.sleep):
        self._store = store
        self._sleep = sleep

    async def set_aside(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Raises StoreUnavailable."""
        await upsert_all(self._store, [_entity(letter) for letter in dead_letters], self._sleep)


def _entity(letter: DeadLetter) -> Entity:
    origin = letter.origin
    enqueued = origin.enqueued_time
    entity: Entity = {
        "PartitionKey": f"{enqueued.year:04}{enqueued.month:02}{enqueued.day:02}",
        "RowKey": "|".join(
            (
                escape_key(origin.hub),
                escape_key(origin.partition),
                f"{origin.sequence_number:020}",
                f"{letter.position:06}",
                f"{int(enqueued.timestamp() * 1000)}",  # sequence numbers start again in a hub that is made anew
            )
        ),
        "hub": origin.hub,
        "partition": origin.partition,
        "sequence_number": EntityProperty(origin.sequence_number, EdmType.INT64),
        "position": letter.position,
        "enqueued_time_utc": utc_text(enqueued),
        "size_bytes": letter.size_bytes,
        "records": letter.records,
    }
    for name in ("reason", "field", "expected", "got", "dialect", "request_id"):
        value = getattr(letter, name)
        if value is not None:
            entity[name] = value
    return entity
