"""How many records are set aside, for metrics: bounded, and the newest first."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from ledger.letter_rows import LISTED, day_of, is_part, kept_of
from ledger.store import Store
from models.dead_letter import Kept

MAX_EXAMINED: Final = 10_000
"""Letters."""
MAX_DAYS: Final = 90
"""Looked at, with tomorrow, as clocks differ: a request for each."""
DAYS_AT_ONCE: Final = 13


class Census(NamedTuple):
    """By reason: how many records are set aside, and when the newest of them was first."""

    records: Counter[str]
    newest: Mapping[str, datetime]


async def census(store: Store, now: datetime) -> Census:
    """The newest days first, as far back as MAX_DAYS and until MAX_EXAMINED letters. Raises StoreError."""
    records: Counter[str] = Counter()
    newest: dict[str, datetime] = {}
    examined = 0
    for first in range(-1, MAX_DAYS, DAYS_AT_ONCE):
        days = [day_of(now - timedelta(days=back)) for back in range(first, first + DAYS_AT_ONCE)]
        for letters in await asyncio.gather(*(_of_day(store, day) for day in days)):
            for kept in letters[: MAX_EXAMINED - examined]:
                reason = kept.letter.reason
                records[reason] += kept.letter.records
                newest[reason] = max(newest.get(reason, kept.first_seen), kept.first_seen)
            examined += len(letters)
            if examined >= MAX_EXAMINED:
                return Census(records, newest)
    return Census(records, newest)


async def _of_day(store: Store, day: str) -> list[Kept]:
    letters: list[Kept] = []
    async for row in store.range(day, "", "~~", LISTED):
        if not is_part(row.columns["RowKey"]):
            letters.append(kept_of(row.columns))
        if len(letters) == MAX_EXAMINED:
            break
    return letters
