"""Rows read and requests made for the questions that people ask, against the fewest that could answer them.

A year of 200 apps with 5 models each, every hour: 8.8 million hour rows. They are made as they are asked for, in the
form that the ledger writes, so that the counts are those of a full table on any machine; no time is measured.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

import services
from api.usage import answered
from benchmarks.figures import Figure
from ledger.directory import Directory
from ledger.registry import Entries
from ledger.rows import Cell, aggregate_entity, aggregate_row_keys
from ledger.store import Entity, Row, Store
from ledger.versions import Versions
from models.keys import escape_key
from models.measures import measures_of
from queries.question import UsageQuery
from tests.support.ledger import call

APPS = tuple(f"app-{number:03}" for number in range(200))
MODELS = (
    "gpt-4o-2024-08-06",
    "gpt-4o-mini-2024-07-18",
    "gpt-4.1-2025-04-14",
    "o3-mini-2025-01-31",
    "a-model-of-our-own",
)
START, END = datetime(2025, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WRITER = "usage-events-0"


class Asked(NamedTuple):
    """A question with the calls that it is about, and the fewest rows and ranges of rows that hold its answer."""

    name: str
    query: UsageQuery
    calls: int
    rows: int
    ranges: int


QUESTIONS = (
    Asked(
        "12 months over all apps by month",
        UsageQuery(START, END, "month", ("app", "model"), {}),
        365 * 24 * len(APPS) * len(MODELS),
        12 * len(APPS) * len(MODELS),
        12 * len(APPS),
    ),
    Asked(
        "one app's 90 days by day",
        UsageQuery(END - 90 * DAY, END, "day", ("app", "model"), {"app": frozenset(APPS[:1])}),
        90 * 24 * len(MODELS),
        90 * len(MODELS),
        3,
    ),
    Asked(
        "one day's hours over all apps",
        UsageQuery(END - DAY, END, "hour", ("app", "model"), {}),
        24 * len(APPS) * len(MODELS),
        24 * len(APPS) * len(MODELS),
        len(APPS),
    ),
)


class Counting:
    """A store that only answers, and counts what it is asked for. `keys` gives the rows of a partition in a range."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def rows(self, partition: str, start: str, end: str) -> Iterator[Entity]:
        """None: an empty table."""
        return iter(())

    async def get(self, partition: str, key: str, select: Sequence[str] = ()) -> Row | None:
        self.count["requests"] += 1
        row = next(self.rows(partition, key, f"{key}\x01"), None)
        self.count["rows"] += row is not None
        return None if row is None else Row(row, "")

    async def range(
        self,
        partition_key: str,
        start: str,
        end: str,
        select: Sequence[str] = (),
        times: tuple[str, str] | None = None,
    ) -> AsyncIterator[Row]:
        read = 0
        for row in self.rows(partition_key, start, end):
            read += 1
            yield Row(row, "")
        self.count["rows"] += read
        self.count["requests"] += max(1, -(-read // 1000))  # the service gives 1,000 a page


class Year(Counting):
    """Table `usage`: a call in each hour, of each model of each app."""

    def rows(self, partition: str, start: str, end: str) -> Iterator[Entity]:
        app, month = partition.split("|")
        first = datetime.strptime(month, "%Y%m").replace(tzinfo=UTC)
        level = start[0]
        length = {"m": 31 * DAY, "d": DAY, "h": HOUR}[level]
        moment = first
        while moment.strftime("%Y%m") == month and START <= moment < END:
            for row_key, row in self._at(level, app, partition, f"{moment:%Y%m%d%H}"):
                if start <= row_key < end:
                    yield row
            moment += length

    def _at(self, level: str, app: str, partition: str, hour: str) -> Iterator[tuple[str, Entity]]:
        hours = {"h": 1, "d": 24, "m": 24 * _days(hour)}[level]
        for model in MODELS:
            cell = Cell(hour, model, ())
            row_key = dict(zip("hdm", aggregate_row_keys(cell, WRITER), strict=True))[level]
            sums = {name: amount * hours for name, amount in ONE.items()}
            stored = aggregate_entity(app, cell, partition, row_key, sums)
            yield row_key, {name: getattr(value, "value", value) for name, value in stored.items()}


class Names(Counting):
    """Table `directory`: every app and model in every month."""

    def rows(self, partition: str, start: str, end: str) -> Iterator[Entity]:
        kind, _, _ = partition.partition("|")
        if kind == "apps":
            found = {escape_key(app): {"app": app} for app in APPS}
        elif kind == "models":
            found = {hashlib.sha256(model.encode()).hexdigest(): {"model": model} for model in MODELS}
        else:
            return
        for key, columns in sorted(found.items()):
            if start <= key < end:
                yield {"PartitionKey": partition, "RowKey": key, **columns}


ONE = measures_of(call())


def _days(hour: str) -> int:
    first = datetime.strptime(hour[:6], "%Y%m").replace(tzinfo=UTC)
    return ((first + 32 * DAY).replace(day=1) - first).days


def figures() -> Iterable[Figure]:
    """Each question through `api.usage.answered`, as a caller asks it: with names, prices and their price changes."""
    for asked in QUESTIONS:
        usage, other = asyncio.run(_asked(asked))
        rows, requests = usage["rows"] + other["rows"], usage["requests"] + other["requests"]
        note = f"{rows:,} rows in {requests:,} requests; the fewest are {asked.rows:,} rows in {asked.ranges:,} ranges"
        yield Figure(f"question: {asked.name}: rows / fewest", rows / asked.rows, "ratio", 1.5, note=note)
        if asked.query.granularity == "month":
            yield Figure("question: … against reading hour rows", asked.calls / rows, "times fewer rows", 50, False)


async def _asked(asked: Asked) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """What was read of table `usage`, and of the others."""
    environment = {"UsageStorage": "UseDevelopmentStorage=true", "USAGE_EVENTS_HUB": "usage-events"}
    found = services.build(environment | {"AGGREGATE_DIMENSIONS": ""})
    usage, names, empty = Year(), Names(), Counting()
    found.usage = cast("Store", usage)
    found.directory = Directory(cast("Store", names))
    found.prices = Versions(cast("Store", empty), "prices")
    found.apps = found.models = Entries(cast("Store", empty))
    services._services[asyncio.get_running_loop()] = found
    answer = await answered(asked.query, END, None)
    assert answer.totals["calls"] == asked.calls, answer.totals
    await found.close()
    return usage.count, names.count + empty.count
