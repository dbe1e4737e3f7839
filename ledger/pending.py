"""Where the halves of calls meet: table `pending`, a row per call, found by its request_id alone.

    PartitionKey   one of 16 buckets, by a hash of the request_id
    r|{request_id}       what is known of the call (join.py; of some calls a digest of app and request_id)
    t|{due}|{uuid}       which calls to look at when their deadline has passed
    f|{due}|{uuid}       which calls can be forgotten when

A list names the calls that its transaction inserted, so that every `r` row is in exactly one list and none is
forgotten. What is to be counted is noted here before the ledger counts it: after a crash the same events, or the timer,
come to the same verdict again, and the ledger says what was done.
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import uuid4

from ledger.join import (
    NOTHING,
    Known,
    Verdict,
    columns_of,
    is_stranger,
    is_superfluous,
    is_waiting,
    judge,
    known_of,
    learn,
    meeting_of,
    teller,
    with_half,
)
from ledger.retry import MAX_ATTEMPTS, MAX_CONFLICTS, Sleep, wait_seconds
from ledger.rows import utc_text
from ledger.store import Entity, Refused, Row, RowChanged, RowExists, Store, StoreBusy, Write
from models.errors import StoreUnavailable
from models.half import Half
from models.keys import escape_key

TABLE: Final = "pending"
BUCKETS: Final = "0123456789abcdef"
WRITTEN_BY: Final = "written_by"
CONCURRENT_READS: Final = 16
MAX_LISTED: Final = 99
"""Calls in one transaction, which has 100 entities: the list is the last."""
MAX_LIST_LENGTH: Final = 24_000
"""Characters of one list: a text column holds 32 Ki."""


class Meeting(NamedTuple):
    """One call of a batch: its `records`, of which `new` told a half that was not known, and what to do now.

    `waits` is True if the call is to be counted later. `refused` is the service's reason not to take the row.
    """

    records: Sequence[Half]
    new: int
    verdict: Verdict
    waits: bool
    refused: str | None = None


class Pending:
    """The meeting rows behind `store`. `deadline` and `retention` are counted from the first half's arrival."""

    def __init__(
        self,
        store: Store,
        *,
        deadline: timedelta,
        retention: timedelta,
        concurrency: int,
        sleep: Sleep = asyncio.sleep,
    ):
        self.store = store
        self.deadline = deadline
        self._retention = retention
        self._concurrency = concurrency
        self._sleep = sleep

    async def meet(self, halves: Iterable[Half], now: datetime) -> list[Meeting]:
        """Note what `halves` tell. Raises StoreUnavailable; the same halves can come again."""
        by_call: dict[str, list[Half]] = defaultdict(list)
        for half in halves:
            by_call[meeting_of(half)].append(half)
        at_once = asyncio.Semaphore(self._concurrency)

        async def one(bucket: str, calls: Mapping[str, Sequence[Half]]) -> list[Meeting]:
            async with at_once:
                return await self._meet(bucket, calls, now)

        outcomes = await asyncio.gather(
            *(one(bucket, calls) for bucket, calls in _chunks(by_call)), return_exceptions=True
        )
        for outcome in outcomes:  # only when none is under way any more
            if isinstance(outcome, BaseException):
                raise outcome
        return [meeting for outcome in outcomes if not isinstance(outcome, BaseException) for meeting in outcome]

    async def _meet(self, bucket: str, calls: Mapping[str, Sequence[Half]], now: datetime) -> list[Meeting]:
        # A policy's event is mostly the first of a call; the gateway's logs come after it, so their rows are there.
        to_read = [call for call, halves in calls.items() if any(half.kind != "policy" for half in halves)]
        rows: dict[str, Row | None] = dict.fromkeys(calls)
        first = dict.fromkeys(calls, NOTHING)
        own = uuid4().hex
        busy = conflicts = 0
        while True:
            try:
                rows.update(await self.read(bucket, to_read))
                to_read = []
                before = {call: known_of(row.columns) if row else NOTHING for call, row in rows.items()}
                after = {call: learn(before[call], halves) for call, halves in calls.items()}
                for call, row in rows.items():
                    if row is None or row.columns[WRITTEN_BY] != own:  # else our own write, whose answer was lost
                        first[call] = before[call]
                writes = _writes(bucket, rows, before, after, own)
                if any(write.etag is None for write in writes):
                    writes.append(Write(self._list_row(bucket, rows, after, now)))
                if writes:
                    await self.store.submit(writes)
                return [each for call in calls for each in _meetings(calls[call], first[call], after[call])]
            except (RowExists, RowChanged) as conflict:
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise StoreUnavailable(f"{conflicts} conflicts in {TABLE} {bucket}") from conflict
                to_read = list(calls)
                if conflicts > 2:
                    await self._sleep(wait_seconds(conflicts - 2))
            except StoreBusy as fault:
                busy += 1
                if busy >= MAX_ATTEMPTS:
                    raise StoreUnavailable(f"table storage: {fault}") from fault
                to_read = list(calls)
                await self._sleep(wait_seconds(busy))
            except Refused as refusal:
                if len(calls) == 1:
                    return [Meeting(halves, 0, Verdict(None, []), False, str(refusal)) for halves in calls.values()]
                return [
                    meeting
                    for call, halves in calls.items()
                    for meeting in await self._meet(bucket, {call: halves}, now)
                ]

    def _list_row(
        self, bucket: str, rows: Mapping[str, Row | None], after: Mapping[str, Known], now: datetime
    ) -> Entity:
        inserted = [call for call, row in rows.items() if row is None]
        forget = now + self._retention
        due = forget
        if any(is_waiting(after[call]) for call in inserted):
            due = now + self.deadline
            forget = max(forget, due + timedelta(days=1))  # what waits is settled before it is forgotten
        return list_row(bucket, due, inserted, forget)

    async def find(self, call: str) -> Row | None:
        """The row of one call. Raises StoreBusy."""
        return await self.store.get(_bucket(call), call_key(call))

    async def read(self, bucket: str, calls: Sequence[str]) -> dict[str, Row | None]:
        """The rows of these calls. Raises StoreBusy."""
        at_once = asyncio.Semaphore(CONCURRENT_READS)

        async def one(call: str) -> Row | None:
            async with at_once:
                return await self.store.get(bucket, call_key(call))

        return dict(zip(calls, await asyncio.gather(*(one(call) for call in calls)), strict=True))


def _bucket(call: str) -> str:
    return hashlib.sha256(call.encode()).hexdigest()[0]


def _chunks(by_call: Mapping[str, Sequence[Half]]) -> Iterator[tuple[str, dict[str, Sequence[Half]]]]:
    """The calls of a bucket, as many as fit a transaction."""
    buckets: dict[str, dict[str, Sequence[Half]]] = defaultdict(dict)
    lengths: dict[str, int] = defaultdict(int)
    for call, halves in by_call.items():
        bucket = _bucket(call)
        length = 6 * len(call) + 4  # as JSON, each character escaped
        if len(buckets[bucket]) == MAX_LISTED or lengths[bucket] + length > MAX_LIST_LENGTH:
            yield bucket, buckets.pop(bucket)
            lengths[bucket] = 0
        buckets[bucket][call] = halves
        lengths[bucket] += length
    yield from buckets.items()


def _writes(
    bucket: str, rows: Mapping[str, Row | None], before: Mapping[str, Known], after: Mapping[str, Known], own: str
) -> list[Write]:
    writes: list[Write] = []
    for call, known in after.items():
        row = rows[call]
        if row is None:
            writes.append(Write(call_row(bucket, call, known, own)))
        elif columns_of(known) != columns_of(before[call]):
            writes.append(Write(call_row(bucket, call, known, own), row.etag))
    return writes


def _meetings(halves: Sequence[Half], before: Known, after: Known) -> list[Meeting]:
    """One meeting, and one more for each call that merely has the same id."""
    strangers = [half for half in halves if is_stranger(after, half)]
    own = [half for half in halves if half not in strangers] if strangers else halves
    meetings = [Meeting([half], 0, Verdict(half.call, []), False) for half in strangers]
    if own:
        new = len({teller(half) for half in own} - before.halves.keys()) + _further_rows(own, before)
        # What changes nothing is not counted either: what it would repeat is repeated by the record that told it.
        telling = any(not is_superfluous(after, half) for half in own)
        verdict = judge(after) if telling else Verdict(None, [])
        meetings.append(Meeting(own, new, verdict, is_waiting(after)))
    return meetings


def _further_rows(halves: Sequence[Half], known: Known) -> int:
    """How many rows of the LLM log said more than those before them."""
    row = known.halves.get("llm_log")
    further = 0
    for half in halves:
        if half.kind == "llm_log":
            after = with_half(row, half)
            further += row is not None and after is not row
            row = after
    return further


def call_key(call: str) -> str:
    """The RowKey under which the halves of a call meet."""
    return f"r|{escape_key(call)}"


def call_row(bucket: str, call: str, known: Known, written_by: str) -> Entity:
    """What is known of a call, as its row. `written_by` tells a writer whose answer was lost that it is its own."""
    return {"PartitionKey": bucket, "RowKey": call_key(call), WRITTEN_BY: written_by} | columns_of(known)


def list_row(bucket: str, due: datetime, calls: Sequence[str], forget: datetime) -> Entity:
    """When to look at these calls again, and when to forget them."""
    kind = "t" if due < forget else "f"
    return {
        "PartitionKey": bucket,
        "RowKey": f"{kind}|{utc_text(due)}|{uuid4().hex}",
        "calls": json.dumps(calls),
        "forget_utc": utc_text(forget),
    }
