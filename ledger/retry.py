"""Do things again: how long to wait, how often to try, and writes that may be repeated as they are."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ledger.store import MAX_TRANSACTION_ENTITIES, Entity, Refused, RowChanged, RowExists, Store, StoreBusy
from models.errors import StoreUnavailable

T = TypeVar("T")
log = logging.getLogger("usage_collector")

Sleep = Callable[[float], Awaitable[None]]

MAX_ATTEMPTS = 6
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0
MAX_CONFLICTS = 50


def wait_seconds(attempt: int) -> float:
    """The wait after the attempt of that number (from 1): doubled each time, and random, so that those who met do not
    meet again."""
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0**attempt)
    return random.uniform(longest / 2, longest)  # noqa: S311  # no secret


async def insist(action: Callable[[], Awaitable[T]], sleep: Sleep = asyncio.sleep) -> T:
    """Do an idempotent action until it comes through. Raises StoreUnavailable after MAX_ATTEMPTS passing faults."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return await action()
        except StoreBusy as fault:
            if attempt == MAX_ATTEMPTS:
                raise StoreUnavailable(f"table storage: {fault}") from fault
            await sleep(wait_seconds(attempt))
    raise AssertionError("unreachable")


async def insist_anew(attempt: Callable[[], Awaitable[None]], what: str, sleep: Sleep = asyncio.sleep) -> None:
    """The same for an attempt that reads what is there before it writes: where another writer was faster, or the answer
    to our own write was lost, what is there now tells. Raises StoreUnavailable, also after MAX_CONFLICTS of these."""
    for _ in range(MAX_CONFLICTS):
        with suppress(RowExists, RowChanged):
            return await insist(attempt, sleep)
    raise StoreUnavailable(f"{MAX_CONFLICTS} conflicts in {what}")


async def upsert_all(store: Store, entities: Iterable[Entity], sleep: Sleep = asyncio.sleep) -> None:
    """Insert or merge any number of rows. Of two with the same keys the last one counts. Raises StoreUnavailable."""
    partitions: dict[str, dict[str, Entity]] = defaultdict(dict)
    for entity in entities:
        partitions[entity["PartitionKey"]][entity["RowKey"]] = entity
    for rows in partitions.values():
        left = list(rows.values())
        while left:
            chunk, left = left[:MAX_TRANSACTION_ENTITIES], left[MAX_TRANSACTION_ENTITIES:]
            await _upsert(store, chunk, sleep)


async def _upsert(store: Store, rows: list[Entity], sleep: Sleep) -> None:
    """A row that the service will never take must not hold up the others, nor its batch for ever: it is logged."""
    try:
        await insist(partial(store.upsert, rows), sleep)
    except Refused as refusal:
        if len(rows) == 1:
            log.error("%s %s is refused: %s", rows[0]["PartitionKey"], rows[0]["RowKey"], refusal)
            return
        for row in rows:
            await _upsert(store, [row], sleep)
