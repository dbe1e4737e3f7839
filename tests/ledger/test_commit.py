"""Each call is counted exactly once, whatever is delivered again, reordered, cut or lost on the way to the table."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.store import MAX_TRANSACTION_ENTITIES, Store
from local.azurite import Azurite
from models.call import Call
from models.errors import StoreUnavailable
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import (
    WRITER,
    assert_counted_once,
    call,
    fresh_table,
    ledger,
    rows_of,
)


async def test_a_call_is_a_row_and_in_the_sums_of_its_hour_day_and_month(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        counted = call(request_id="one", usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
        report = await ledger(store).commit([counted], WRITER)
        rows = {row.columns["RowKey"].split("|")[0]: row.columns for row in await rows_of(store, "app-1|202611")}
        assert (len(report.counted), len(report.duplicates), report.entities) == (1, 0, 4)
        assert rows["c"]["request_id"] == "one"
        assert rows["c"]["prompt_tokens"] == 7
        assert rows["h"]["RowKey"].startswith("h|2026112012|")
        assert rows["d"]["RowKey"].startswith("d|20261120|")
        assert rows["m"]["RowKey"].startswith("m|202611|")
        for level in "hdm":
            assert rows[level]["model"] == "gpt-4o-2024-08-06"
            assert rows[level]["total_tokens"] == 10
            assert rows[level]["calls"] == 1


async def test_sums_of_more_than_32_bits_stay_exact(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        huge = [call(usage={"prompt_tokens": 999_999_999_999, "completion_tokens": 1}) for _ in range(3)]
        book = ledger(store)
        for each in huge:
            await book.commit([each], WRITER)
        await assert_counted_once(store, huge)


@given(data=st.data())
@settings(max_examples=20)
async def test_any_order_cut_or_replay_of_batches_gives_the_same_totals(azurite: Azurite, data: st.DataObject) -> None:
    """By one process or several, one after the other."""
    calls = _various_calls(data.draw(st.integers(1, 25), "calls"), seed=data.draw(st.integers(0, 10_000), "seed"))
    async with fresh_table(azurite.connection_string) as store:
        book = ledger(store)
        counted = 0
        for delivery in range(data.draw(st.integers(1, 3), "deliveries")):
            order = data.draw(st.permutations(calls), f"order {delivery}")
            cuts = sorted(data.draw(st.lists(st.integers(0, len(calls)), max_size=4), f"cuts {delivery}"))
            for start, end in zip([0, *cuts], [*cuts, len(calls)], strict=True):
                if data.draw(st.booleans(), "new process"):
                    book = ledger(store)
                writer = data.draw(st.sampled_from(["usage-events-0", "usage-events-1"]), "writer")
                report = await book.commit(order[start:end], writer)
                assert len(report.counted) + len(report.duplicates) == end - start
                counted += len(report.counted)
        assert counted == len(calls)
        await assert_counted_once(store, calls)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8)
async def test_two_owners_of_one_partition_at_the_same_time_count_once(azurite: Azurite, seed: int) -> None:
    calls = _various_calls(60, seed)
    shuffled = random.Random(seed).sample(calls, len(calls))
    async with fresh_table(azurite.connection_string) as store:
        reports = await asyncio.gather(
            *(ledger(store).commit(batch, WRITER) for batch in (calls, shuffled, calls[::-1]))
        )
        assert sum(len(report.counted) for report in reports) == len(calls)
        assert sum(len(report.duplicates) for report in reports) == 2 * len(calls)
        await assert_counted_once(store, calls)


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("cold", [True, False])
async def test_a_fault_at_any_request_changes_no_total(azurite: Azurite, lost: str, cold: bool) -> None:
    """A request that never arrives, or an answer that never comes back: for every request of two batches."""
    number = 0
    while True:
        number += 1
        calls = _various_calls(9, seed=number)
        async with fresh_table(azurite.connection_string) as store:
            faulty = FaultyStore(store, at(number)) if lost == "request" else FaultyStore(store, never, at(number))
            book = ledger(faulty)
            first = await book.commit(calls[:6], WRITER)
            if cold:
                book = ledger(faulty)
            second = await book.commit(calls[3:], WRITER)
            assert (len(first.counted), len(first.duplicates)) == (6, 0)
            assert (len(second.counted), len(second.duplicates)) == (3, 3)
            await assert_counted_once(store, calls)
            if faulty.requests < number:
                assert number > 4
                return


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_process_that_dies_at_any_request_is_made_good_by_the_redelivery(azurite: Azurite, lost: str) -> None:
    class Killed(BaseException):
        """Not an error that anything handles."""

    number = 0
    while True:
        number += 1

        def kill(request: int, number: int = number) -> None:
            if request == number:
                raise Killed

        calls = _various_calls(10, seed=number)
        async with fresh_table(azurite.connection_string) as store:
            faulty = FaultyStore(store, kill) if lost == "request" else FaultyStore(store, never, kill)
            try:
                await ledger(faulty).commit(calls, WRITER)
            except Killed:
                again = await ledger(store).commit(calls, WRITER)
                assert len(again.counted) + len(again.duplicates) == len(calls)
                await assert_counted_once(store, calls)
            else:
                assert number > 3
                return


async def test_a_fault_that_lasts_is_raised_and_the_repetition_counts_what_was_left(azurite: Azurite) -> None:
    calls = [call(app_id=app) for app in ("a", "b", "c") for _ in range(5)]

    async with fresh_table(azurite.connection_string) as store:

        class OneAppDown(FaultyStore):
            async def submit(self, writes: Any) -> list[str]:
                if writes[0].entity["PartitionKey"].startswith("b|"):
                    at(1)(1)
                return await super().submit(writes)

        book = ledger(OneAppDown(store, never))
        with pytest.raises(StoreUnavailable):
            await book.commit(calls, WRITER)
        await assert_counted_once(store, [each for each in calls if each.app != "b"])
        report = await ledger(store).commit(calls, WRITER)
        assert (len(report.counted), len(report.duplicates)) == (5, 10)
        await assert_counted_once(store, calls)


async def test_the_steady_state_reads_nothing(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        watched = FaultyStore(store, never)
        book = ledger(watched)
        calls = [_various_calls(50, seed=seed) for seed in range(4)]
        later = [each._replace(timestamp=each.timestamp + timedelta(hours=1)) for each in _various_calls(50, seed=4)]
        await book.commit(calls[0], WRITER)
        reads = watched.reads
        for batch in (*calls[1:], later):
            report = await book.commit(batch, WRITER)
            assert (report.conflicts, report.retries) == (0, 0)
        assert watched.reads == reads
        calls.append(later)


async def test_a_new_process_reads_what_is_there_instead_of_failing_on_it(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        calls = [_various_calls(50, seed=seed) for seed in range(2)]
        await ledger(store).commit(calls[0], WRITER)
        report = await ledger(store).commit(calls[1], WRITER)
        assert (report.conflicts, report.retries) == (0, 0)
        await assert_counted_once(store, [each for batch in calls for each in batch])


async def test_a_cache_of_few_rows_costs_reads_but_no_total(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        book = ledger(store, cache_rows=1)
        batches = [_various_calls(40, seed=seed) for seed in range(3)]
        for batch in batches:
            await book.commit(batch, WRITER)
        await assert_counted_once(store, [each for batch in batches for each in batch])


async def test_1000_calls_of_one_app_and_100_apps_in_one_batch_keep_to_the_limits(azurite: Azurite) -> None:
    one_app = [call(request_id=f"r{number}") for number in range(1000)]
    many_apps = [call(app_id=f"app-{number}") for number in range(100)]
    for calls, transactions in ((one_app, 11), (many_apps, 100)):
        async with fresh_table(azurite.connection_string) as store:
            watched = _Sizes(store)
            report = await ledger(watched).commit(calls, WRITER)
            assert len(report.counted) == len(calls)
            assert report.transactions == transactions
            assert max(watched.sizes) <= MAX_TRANSACTION_ENTITIES
            await assert_counted_once(store, calls)


async def test_calls_with_the_longest_texts_fit_in_transactions(azurite: Azurite) -> None:
    """Every text as long as it may be, and of the characters that take most bytes: 4 MiB a transaction still hold."""
    long = "\N{GRINNING FACE}" * 1024
    names = ("user_id", "api_id", "operation_id", "product_id", "deployment", "response_model", "region", "backend_id")
    calls = [call(**dict.fromkeys(names, long)) for _ in range(120)]
    async with fresh_table(azurite.connection_string) as store:
        report = await ledger(store).commit(calls, WRITER)
        assert (len(report.counted), report.refused) == (120, [])
        await assert_counted_once(store, calls)


async def test_a_call_that_the_service_refuses_takes_no_other_with_it(azurite: Azurite) -> None:
    calls = [call(request_id=f"r{number}") for number in range(5)]
    refused = calls[2]._replace(deployment="x" * 40_000)  # longer than a property may be; collectors let none through
    async with fresh_table(azurite.connection_string) as store:
        report = await ledger(store, dimensions=()).commit([*calls[:2], refused, *calls[3:]], WRITER)
        assert len(report.counted) == 4
        assert [each.request_id for each, _ in report.refused] == ["r2"]
        await assert_counted_once(store, [each for each in calls if each.request_id != "r2"])


async def test_a_table_that_is_not_there_is_made(azurite: Azurite) -> None:
    from azure.data.tables.aio import TableServiceClient

    from ledger.store import TableStore

    async with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        store = TableStore(service, f"new{random.getrandbits(64):x}")
        counted = call()
        assert (await ledger(store).commit([counted], WRITER)).counted == [counted]
        await assert_counted_once(store, [counted])


async def test_a_call_sent_twice_by_the_gateway_counts_once_also_on_another_partition_and_in_another_spelling(
    azurite: Azurite,
) -> None:
    first = call(request_id="0f8fad5b-d9cb-469f-a165-70867728950e")
    again = call(request_id="{0F8FAD5B-D9CB-469F-A165-70867728950E}", timestamp="2026-11-20T12:00:01Z")
    async with fresh_table(azurite.connection_string) as store:
        await ledger(store).commit([first], "usage-events-0")
        report = await ledger(store).commit([again], "usage-events-1")
        assert (len(report.counted), len(report.duplicates)) == (0, 1)
        await assert_counted_once(store, [first])


def _various_calls(number: int, seed: int) -> list[Call]:
    """Calls over a few apps, models, hours, days and months, some without usage."""
    draw = random.Random(seed)
    start = datetime(2026, 10, 31, 20, tzinfo=UTC)
    calls = []
    for _ in range(number):
        moment = start + timedelta(minutes=draw.choice([0, 59, 60, 239, 240, 600, 1700]))
        usage = {"prompt_tokens": draw.randrange(1000), "completion_tokens": draw.randrange(1000)}
        calls.append(
            call(
                request_id=f"{seed}-{draw.getrandbits(60):x}",
                timestamp=moment.isoformat(),
                app_id=draw.choice(["a", "b"]),
                response_model=draw.choice(["gpt-4o", "gpt-4o-mini", None]),
                usage=draw.choice([usage, usage, None]),
                status=draw.choice([200, 200, 429]),
            )
        )
    return calls


class _Sizes(FaultyStore):
    """Remembers how many entities each transaction had."""

    def __init__(self, store: Store):
        super().__init__(store, never)
        self.sizes: list[int] = []

    async def submit(self, writes: Any) -> list[str]:
        self.sizes.append(len(writes))
        return await super().submit(writes)
