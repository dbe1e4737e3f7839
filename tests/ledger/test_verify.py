"""verify: finds exactly what the aggregates hold wrongly."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.rows import sums_of
from ledger.store import Store, Write
from ledger.verify import Difference, verify
from local.azurite import Azurite
from models.call import Call
from tests.support.events import NOON
from tests.support.ledger import WRITER, call, fresh_table, ledger, rows_of

LONG_AGO = NOON - timedelta(days=365)
PARTITION = "app-1|202611"


def some_calls(count: int) -> list[Call]:
    return [
        call(deployment=f"d{number % 3}", timestamp=f"2026-11-{1 + number % 20:02}T0{number % 10}:00:00Z")
        for number in range(count)
    ]


@given(
    wrong=st.sampled_from(["calls", "prompt_tokens", "latency_slower"]), by=st.integers(-5, 5), at=st.integers(0, 50)
)
@settings(max_examples=10)
async def test_it_finds_the_row_and_the_measure_that_is_wrong(azurite: Azurite, wrong: str, by: int, at: int) -> None:
    async with fresh_table(azurite.connection_string) as store:
        book = ledger(store)
        await book.commit(some_calls(12), WRITER)
        await book.commit(some_calls(3), "usage-events-1")
        found = await verify(store, "app-1", "202611", LONG_AGO)
        assert (found.calls, found.differences, found.changing, found.unverifiable) == (15, [], 0, 0)
        was, key = await tamper(store, wrong, by, at)
        found = await verify(store, "app-1", "202611", LONG_AGO)
        row = key.rpartition("|")[0]
        assert [each.row for each in found.differences] == ([row] if by else [])
        assert all(isinstance(each, Difference) and each.measure == wrong for each in found.differences)
        assert all(each.from_aggregates - each.from_calls == by for each in found.differences), was


async def tamper(store: Store, measure: str, by: int, at: int) -> tuple[int, str]:
    rows = [row for row in await rows_of(store, PARTITION) if not row.columns["RowKey"].startswith("c|")]
    row = rows[at % len(rows)]
    was = sums_of(row.columns).get(measure, 0)
    columns = {name: value for name, value in row.columns.items() if name != measure}
    await store.submit([Write(columns | {measure: was + by}, row.etag)])
    return was, str(row.columns["RowKey"])


async def test_a_call_that_is_in_no_sum_and_a_sum_without_calls_are_found(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        await ledger(store).commit(some_calls(1), WRITER)
        rows = await rows_of(store, PARTITION)
        for kind in "ch":
            row = next(row for row in rows if row.columns["RowKey"].startswith(f"{kind}|"))
            await store.submit([Write(row.columns, row.etag, delete=True)])
            found = await verify(store, "app-1", "202611", LONG_AGO)
            assert {each.row[0] for each in found.differences} == set("hdm" if kind == "c" else "dm")


async def test_what_sums_calls_that_are_no_longer_kept_is_not_judged(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        await ledger(store).commit(some_calls(12), WRITER)
        for row in await rows_of(store, PARTITION):
            if row.columns["RowKey"] < "c|20261105":
                await store.submit([Write(row.columns, row.etag, delete=True)])
        kept = await verify(store, "app-1", "202611", NOON.replace(day=5))
        assert kept.differences == []
        assert kept.unverifiable > 0
        assert (await verify(store, "app-1", "202611", LONG_AGO)).differences != []
