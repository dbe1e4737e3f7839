"""Records set aside, in table `deadletters` (letter_rows.py says what is in it): kept, listed, taken out again."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final, NamedTuple
from uuid import uuid4

from ledger.letter_census import Census, census
from ledger.letter_rows import (
    LISTED,
    MAX_ROWS,
    WRITTEN_BY,
    Key,
    Rows,
    day_of,
    deletes_of,
    is_part,
    kept_of,
    key_of,
    key_of_id,
    keys_between,
    origin_of,
    rows_of,
    writes_of,
)
from ledger.retry import MAX_ATTEMPTS, MAX_CONFLICTS, Sleep, insist, log, wait_seconds
from ledger.store import MAX_TRANSACTION_ENTITIES, Refused, Row, RowChanged, RowExists, Store, StoreBusy, Write
from models.dead_letter import DeadLetter, Kept
from models.errors import StoreUnavailable
from models.origin import RawEvent

TABLE: Final = "deadletters"

MAX_LETTERS: Final = 100
"""Written or removed together: as many as a transaction has rows, if none has a large payload."""
MAX_BYTES: Final = 2 * 1024 * 1024
"""Of one transaction, which may have 4 MiB as it is sent: in base64, so a third larger."""
CONCURRENT_READS: Final = 16
MAX_EXAMINED: Final = 10_000
"""Rows read for a page of a list, whether or not they are what was asked for."""
MAX_PURGED: Final = 20_000
"""Rows of one run."""

Seen = Mapping[Key, Sequence[DeadLetter]]


class Wanted(NamedTuple):
    """Which dead letters: of any of the `reasons` (empty: of every), enqueued at `start` or later and before `end`."""

    reasons: frozenset[str]
    start: datetime
    end: datetime


class Page(NamedTuple):
    """Some letters, and where to go on: None at the end. There may be more also where `letters` are few."""

    letters: list[Kept]
    next: Key | None


@dataclass(slots=True)
class LetterPurgeReport:
    """`deleted` rows; `left_over` is True if there are more."""

    deleted: int = 0
    left_over: bool = False


class DeadLetters:
    """The dead letters behind `store`. Every method can raise StoreUnavailable or StoreError."""

    def __init__(self, store: Store, sleep: Sleep = asyncio.sleep):
        self._store = store
        self._sleep = sleep

    async def set_aside(self, dead_letters: Iterable[DeadLetter], now: datetime) -> None:
        """Keep them. One that is kept already was seen once more."""
        days: dict[str, dict[Key, list[DeadLetter]]] = defaultdict(lambda: defaultdict(list))
        for letter in dead_letters:
            key = key_of(letter.origin, letter.position)
            days[key[0]][key].append(letter)
        for seen in days.values():
            for chunk in _chunks(seen):
                await self._write(chunk, now, uuid4().hex)

    async def _write(self, seen: Seen, now: datetime, own: str) -> None:
        """Read nothing at first, since mostly they are new. A count is added to under the row's ETag; a row that is
        our `own` was written by an attempt whose answer was lost."""
        stored: dict[Key, Row | None] = dict.fromkeys(seen)
        busy = conflicts = 0
        while True:
            try:
                if busy or conflicts:
                    stored = await self._read(list(seen))
                left = [key for key, row in stored.items() if row is None or row.columns[WRITTEN_BY] != own]
                rows = {key: _rows(stored[key], seen[key], now, own) for key in left}
                for writes in _packed((writes_of(letter, stored[key]), letter.size) for key, letter in rows.items()):
                    await self._store.submit(writes)
                return
            except (RowExists, RowChanged) as conflict:
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise StoreUnavailable(f"{conflicts} conflicts in {TABLE}") from conflict
                if conflicts > 2:
                    await self._sleep(wait_seconds(conflicts - 2))
            except StoreBusy as fault:
                busy += 1
                if busy >= MAX_ATTEMPTS:
                    raise StoreUnavailable(f"table storage: {fault}") from fault
                await self._sleep(wait_seconds(busy))
            except Refused as refusal:
                # A letter that the service will never take must not hold up the others, nor its batch for ever.
                if len(seen) == 1:
                    [(partition_key, row_key)] = seen
                    log.error("%s %s is refused: %s", partition_key, row_key, refusal)
                    return
                for key, letters in seen.items():
                    await self._write({key: letters}, now, own)
                return

    async def _read(self, keys: Sequence[Key], select: Sequence[str] = ()) -> dict[Key, Row | None]:
        at_once = asyncio.Semaphore(CONCURRENT_READS)

        async def one(key: Key) -> Row | None:
            async with at_once:
                return await self._store.get(*key, select)

        return dict(zip(keys, await asyncio.gather(*(one(key) for key in keys)), strict=True))

    async def remove_counted(
        self, events: Sequence[RawEvent], still: Iterable[DeadLetter], *, replayed: bool = False
    ) -> int:
        """Take out the letters whose records came back in `events`, but for those that are `still` set aside. They are
        in the ledger now, so that this can be done again at any time. Returns how many there were.

        A redriven event names its letter. With `replayed`, what was set aside of an event's first delivery is looked
        for as well.
        """
        keys = {key_of(again.origin, again.position) for event in events if (again := event.redriven)}
        if replayed:
            keys |= await self._of_deliveries(events)
        keys -= {key_of(letter.origin, letter.position) for letter in still}
        removed = 0
        for chunk in _slices(sorted(keys), MAX_LETTERS):
            removed += await self._take_out(chunk)
        return removed

    async def _take_out(self, keys: Sequence[Key]) -> int:
        """A key that the service refuses is that of no letter, and must not hold up the others, nor its batch."""
        try:
            return await insist(lambda: self._remove(keys), self._sleep)
        except Refused as refusal:
            if len(keys) == 1:
                log.error("%s %s is refused: %s", *keys[0], refusal)
                return 0
            return sum([await self._take_out([key]) for key in keys])

    async def _of_deliveries(self, events: Sequence[RawEvent]) -> set[Key]:
        deliveries = [event.origin for event in events if event.redriven is None]
        if not deliveries:
            return set()
        known = set(deliveries)
        numbers = [origin.sequence_number for origin in known]
        start, end = keys_between(deliveries[0], min(numbers), max(numbers))
        found: set[Key] = set()
        for day in sorted({day_of(origin.enqueued_time) for origin in known}):
            async for row in self._store.range(day, start, end, LISTED):
                if not is_part(row.columns["RowKey"]) and origin_of(row.columns) in known:
                    found.add((day, row.columns["RowKey"]))
        return found

    async def _remove(self, keys: Sequence[Key]) -> int:
        for _ in range(MAX_CONFLICTS):
            found = await self._read(keys, ["PartitionKey", "RowKey", "parts"])
            days: dict[str, list[Row]] = defaultdict(list)
            for row in found.values():
                if row is not None:
                    days[row.columns["PartitionKey"]].append(row)
            try:
                for rows in days.values():
                    for writes in _packed((deletes_of(row), 0) for row in rows):
                        await self._store.submit(writes)
                return sum(map(len, days.values()))
            except RowChanged:  # seen once more, or removed by another
                continue
        raise StoreUnavailable(f"{MAX_CONFLICTS} conflicts in {TABLE}")

    async def get(self, letter: str) -> Kept | None:
        """The letter of that id, with its payload. Raises ValueError if it is not an id."""
        partition_key, row_key = key_of_id(letter)
        rows = [row.columns async for row in self._store.range(partition_key, row_key, f"{row_key}~")]
        return kept_of(rows[0], rows[1:]) if rows and not is_part(rows[0]["RowKey"]) else None

    async def remove(self, letter: str) -> bool:
        """Take out the letter of that id, for good. False if there is none. Raises ValueError if it is not an id."""
        key = key_of_id(letter)
        return await insist(lambda: self._remove([key]), self._sleep) > 0

    async def census(self, now: datetime) -> Census:
        """Count what is there."""
        return await census(self._store, now)

    async def page(self, wanted: Wanted, limit: int, after: Key | None = None) -> Page:
        """At most `limit` letters without their payloads, in the order of their keys."""
        found: list[Kept] = []
        examined = 0
        last: Key | None = None
        async for row in self._rows(wanted, after):
            key = row.columns["PartitionKey"], row.columns["RowKey"]
            if is_part(key[1]):
                continue
            if len(found) == limit or examined == MAX_EXAMINED:
                return Page(found, last)
            last, examined = key, examined + 1
            if wanted.reasons and row.columns["reason"] not in wanted.reasons:
                continue
            if wanted.start <= origin_of(row.columns).enqueued_time < wanted.end:
                found.append(kept_of(row.columns))
        return Page(found, None)

    async def _rows(self, wanted: Wanted, after: Key | None) -> AsyncIterator[Row]:
        first = day_of(wanted.start)
        if after is not None:
            async for row in self._store.range(after[0], f"{after[1]}~", "~~", LISTED):
                yield row
            first = max(first, f"{after[0]}~")
        async for row in self._store.scan(first, f"{day_of(wanted.end)}~", LISTED):
            yield row

    async def purge(self, oldest: datetime) -> LetterPurgeReport:
        """Delete the letters of days that ended a day before `oldest`: nothing of them could be counted any more."""
        report = LetterPurgeReport()
        rows: list[Row] = []
        async for row in self._store.scan("0", day_of(oldest - timedelta(days=1)), ["PartitionKey", "RowKey"]):
            if not is_part(row.columns["RowKey"]) and _is_full(rows, row):  # a letter goes as a whole
                await self._purge(rows, report)
                rows = []
                if report.deleted >= MAX_PURGED:
                    report.left_over = True
                    return report
            rows.append(row)
        if rows:
            await self._purge(rows, report)
        return report

    async def _purge(self, rows: list[Row], report: LetterPurgeReport) -> None:
        try:
            deletes = [Write(row.columns, "*", delete=True) for row in rows]
            await insist(partial(self._store.submit, deletes), self._sleep)
            report.deleted += len(rows)
        except RowChanged:  # another run deletes too, or we did and the answer was lost
            report.left_over = True


def _rows(stored: Row | None, seen: Sequence[DeadLetter], now: datetime, own: str) -> Rows:
    return rows_of(stored.columns if stored else None, seen, now, own)


def _is_full(rows: Sequence[Row], following: Row) -> bool:
    """True if no letter more fits in the transaction, or `following` is of another day."""
    if not rows:
        return False
    other_day = rows[0].columns["PartitionKey"] != following.columns["PartitionKey"]
    return other_day or len(rows) > MAX_TRANSACTION_ENTITIES - MAX_ROWS


def _chunks(seen: Seen) -> Iterator[dict[Key, Sequence[DeadLetter]]]:
    items = iter(seen.items())
    while chunk := dict(islice(items, MAX_LETTERS)):
        yield chunk


def _slices(keys: Sequence[Key], most: int) -> Iterator[Sequence[Key]]:
    return (keys[start : start + most] for start in range(0, len(keys), most))


def _packed(letters: Iterable[tuple[list[Write], int]]) -> Iterator[list[Write]]:
    """Transactions of whole letters, given as their writes and bytes, no larger than the service takes."""
    packed: list[Write] = []
    size = 0
    for writes, bytes_of in letters:
        if packed and (size + bytes_of > MAX_BYTES or len(packed) + len(writes) > MAX_TRANSACTION_ENTITIES):
            yield packed
            packed, size = [], 0
        packed += writes
        size += bytes_of
    if packed:
        yield packed
