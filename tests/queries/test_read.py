"""queries.read: a query reads what its answer needs, and nothing else. On the real tables."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

import services
from ledger.rows import partition_key
from ledger.store import Row, Store, StoreBusy, Write
from local.azurite import Azurite
from models.errors import QueryError
from prices.book import PriceBook
from queries.answer import FIGURES, Answer, Fold
from queries.question import Terms, UsageQuery, usage_query
from queries.read import Bounds, UsageReader
from services import Services
from tests.queries.filled import EXTRA_DIMENSIONS, environment, fill
from tests.support.events import usage_event


class CountingStore:
    """A store that tells what was read through it."""

    def __init__(self, store: Store):
        self._store = store
        self.row_keys: list[str] = []
        self.partitions: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def submit(self, writes: Sequence[Write]) -> list[str]:
        raise AssertionError("a query writes nothing")

    async def upsert(self, entities: Sequence[dict[str, object]]) -> None:
        raise AssertionError("a query writes nothing")

    async def get(self, partition_key: str, row_key: str, select: Sequence[str] = ()) -> Row | None:
        raise AssertionError("a query reads ranges")

    def scan(self, first: str, end: str, select: Sequence[str] = ()) -> AsyncIterator[Row]:
        raise AssertionError("a query never scans")

    async def range(
        self,
        partition_key: str,
        start: str,
        end: str,
        select: Sequence[str] = (),
        times: tuple[str, str] | None = None,
    ) -> AsyncIterator[Row]:
        self.partitions.append(partition_key)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            async for row in self._store.range(partition_key, start, end, select, times):
                self.row_keys.append(str(row.columns["RowKey"]))
                yield row
        finally:
            self.at_once -= 1

    def levels(self) -> dict[str, int]:
        return {level: sum(key.startswith(f"{level}|") for key in self.row_keys) for level in "hdmc"}


@pytest.fixture(scope="module")
async def filled(azurite: Azurite) -> AsyncIterator[Services]:
    """Two apps. `steady` calls once in each of 8 hours on the days 1, 2 and 28 of September and October; `new` once."""
    found = services.build(environment(azurite))
    times = [
        f"2026-{month}-{day}T{hour:02}:15:00Z"
        for month in ("09", "10")
        for day in ("01", "02", "28")
        for hour in range(8)
    ]
    events = [(usage_event(app_id="steady", timestamp=time), "0") for time in times]
    await fill(found, [*events, (usage_event(app_id="new", timestamp="2026-10-02T03:00:00Z"), "1")])
    yield found
    await found.close()


class Reading:
    """What a question read, and its answer."""

    def __init__(self, store: CountingStore, rows: int, answer: Answer):
        self.store, self.rows, self.answer = store, rows, answer


NOW = datetime(2026, 11, 1, tzinfo=UTC)
BOUNDS = Bounds(
    max_entities=10_000,
    max_calls=1_000,
    max_call_days=31,
    max_requests=1_000,
    max_seconds=30,
    call_retention_days=90,
)


def query_of(question: str) -> UsageQuery:
    return usage_query(parse_qs(question), NOW, Terms(EXTRA_DIMENSIONS, FIGURES, 800, 10_000))


async def read(filled: Services, question: str, *, concurrency: int = 8, **changes: int) -> Reading:
    query = query_of(question)
    store, fold = CountingStore(filled.usage), Fold(query, 10_000, PriceBook({}, None))
    reader = UsageReader(store, filled.directory, concurrency=concurrency, bounds=replace(BOUNDS, **changes))
    rows = (await reader.read(query, fold.take, NOW)).rows
    return Reading(store, rows, fold.answer())


TWO_MONTHS = "from=2026-09-01T00:00:00Z&to=2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("granularity", "levels"),
    [
        ("month", {"h": 0, "d": 0, "m": 3, "c": 0}),
        ("total", {"h": 0, "d": 0, "m": 3, "c": 0}),
        ("day", {"h": 0, "d": 7, "m": 0, "c": 0}),
        ("hour", {"h": 49, "d": 0, "m": 0, "c": 0}),
    ],
)
async def test_a_report_over_months_reads_the_rows_of_its_granularity(
    filled: Services, granularity: str, levels: dict[str, int]
) -> None:
    """Two months and 49 calls: a month report reads one row per app and month, never the hours, never the calls."""
    reading = await read(filled, f"{TWO_MONTHS}&granularity={granularity}")
    assert reading.store.levels() == levels
    assert reading.rows == sum(levels.values())
    assert reading.answer.totals["calls"] == 49


async def test_the_edges_of_a_range_are_read_from_hour_rows_its_middle_from_days_and_months(filled: Services) -> None:
    """From 05:30 on 1 September to 03:00 on 28 October: 3 hours, 2 days; 2 days, 3 hours."""
    reading = await read(filled, "from=2026-09-01T05:30:00Z&to=2026-10-28T03:00:00Z&granularity=total&app=steady")
    assert reading.store.levels() == {"h": 6, "d": 4, "m": 0, "c": 0}
    assert reading.answer.totals["calls"] == 3 + 8 + 8 + 8 + 8 + 3


async def test_a_filter_for_an_app_reads_that_apps_partitions_only(filled: Services) -> None:
    reading = await read(filled, f"{TWO_MONTHS}&granularity=month&app=new")
    assert reading.store.partitions == [partition_key("new", "202610")]
    assert reading.rows == 1


async def test_without_a_filter_an_app_is_asked_only_for_the_months_in_which_it_had_calls(filled: Services) -> None:
    reading = await read(filled, f"{TWO_MONTHS}&granularity=month")
    assert sorted(reading.store.partitions) == sorted(
        [partition_key("steady", "202609"), partition_key("steady", "202610"), partition_key("new", "202610")]
    )


async def test_at_most_the_set_number_of_requests_runs_at_once(filled: Services) -> None:
    for concurrency in (1, 2, 3):
        reading = await read(filled, f"{TWO_MONTHS}&granularity=day", concurrency=concurrency)
        assert reading.store.most_at_once == concurrency


async def test_a_question_that_needs_more_rows_than_the_bound_is_refused_and_one_that_needs_as_many_is_not(
    filled: Services,
) -> None:
    assert (await read(filled, f"{TWO_MONTHS}&granularity=hour", max_entities=49)).rows == 49
    with pytest.raises(QueryError) as caught:
        await read(filled, f"{TWO_MONTHS}&granularity=hour", max_entities=48)
    assert caught.value.code == "too_much_to_read"
    assert "48" in str(caught.value)


async def test_the_first_failure_ends_the_whole_reading_as_itself(filled: Services) -> None:
    """No group of errors comes out, and no request is left running."""

    class Failing(CountingStore):
        async def range(
            self,
            partition_key: str,
            start: str,
            end: str,
            select: Sequence[str] = (),
            times: tuple[str, str] | None = None,
        ) -> AsyncIterator[Row]:
            async for row in super().range(partition_key, start, end, select, times):
                yield row
            if "new" in partition_key:
                raise StoreBusy("503 ServerBusy")

    query = query_of(TWO_MONTHS)
    store = Failing(filled.usage)
    tasks_before = asyncio.all_tasks()
    with pytest.raises(StoreBusy):
        reader = UsageReader(store, filled.directory, concurrency=2, bounds=BOUNDS)
        await reader.read(query, lambda app, row: None, NOW)
    assert asyncio.all_tasks() <= tasks_before


async def test_tables_that_are_not_there_yet_hold_no_rows(azurite: Azurite) -> None:
    fresh = services.build(environment(azurite))
    try:
        for question in (TWO_MONTHS, f"{TWO_MONTHS}&app=anyone"):
            reading = await read(fresh, question)
            assert (reading.rows, reading.answer.rows) == (0, [])
    finally:
        await fresh.close()
