"""How long calls wait for their other half, in table `pending` (pending.py says what is in it).

A list of calls is looked at when their deadline has passed. Most calls are whole long before, but their list is still
there, so the timer takes such lists away, the oldest first, until one has a call that waits. The first list then tells
how long the oldest call waits, for one row read a bucket. A call that is noted as settled is left to settle.py: it may
have died before it counted it.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Final

from ledger.join import is_waiting, known_of
from ledger.pending import BUCKETS, CONCURRENT_READS, Pending, list_row
from ledger.store import RowChanged, Write

MAX_LISTS: Final = 500
"""Taken away in one bucket and run."""


async def oldest_waiting(pending: Pending) -> datetime | None:
    """When the first half of the call came that waits longest; None if none waits. As of the timer's last run: a call
    that has become whole since may still be the one. Raises StoreError."""

    async def one(bucket: str) -> datetime | None:
        async for key in _lists(pending, bucket):
            return datetime.fromisoformat(key.split("|")[1]) - pending.deadline
        return None

    came = await asyncio.gather(*(one(bucket) for bucket in BUCKETS))
    return min((time for time in came if time is not None), default=None)


async def take_away_done(pending: Pending) -> None:
    """Take away the lists whose calls wait no more, up to the first that has one. Raises StoreError."""
    await asyncio.gather(*(_take_away(pending, bucket) for bucket in BUCKETS))


async def _take_away(pending: Pending, bucket: str) -> None:
    done = 0
    async for key in _lists(pending, bucket):
        row = await pending.store.get(bucket, key)
        if row is None:  # its deadline has passed meanwhile, and it is settled
            continue
        calls: list[str] = json.loads(row.columns["calls"])
        if done == MAX_LISTS or await _any_is_open(pending, bucket, calls):
            return
        done += 1
        forget = datetime.fromisoformat(row.columns["forget_utc"])
        delete = Write({"PartitionKey": bucket, "RowKey": key}, row.etag, delete=True)
        with suppress(RowChanged):
            await pending.store.submit([delete, Write(list_row(bucket, forget, calls, forget))])


async def _any_is_open(pending: Pending, bucket: str, calls: list[str]) -> bool:
    for start in range(0, len(calls), CONCURRENT_READS):
        rows = await pending.read(bucket, calls[start : start + CONCURRENT_READS])
        known = [known_of(row.columns) for row in rows.values() if row is not None]
        if any(is_waiting(each) or each.settled for each in known):
            return True
    return False


async def _lists(pending: Pending, bucket: str) -> AsyncIterator[str]:
    """Their keys, in the order in which the calls came."""
    async for row in pending.store.range(bucket, "t|", "t~", ["RowKey"]):
        yield row.columns["RowKey"]
