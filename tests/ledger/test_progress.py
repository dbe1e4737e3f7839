"""How far a partition is counted: the newest event that any writer knows of, whoever writes last."""

import asyncio
import logging
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.progress import Progress, Reached
from ledger.store import StoreBusy
from local.azurite import Azurite
from models.origin import Origin
from tests.support.events import NOON
from tests.support.faulty import FaultyStore, at
from tests.support.ledger import fresh_table


def event(number: int, second: int | None = None, partition: str = "0") -> Origin:
    return Origin("usage-events", partition, number, NOON + timedelta(seconds=number if second is None else second))


def reached(origin: Origin) -> Reached:
    return Reached(origin.enqueued_time, origin.sequence_number)


KEY = ("usage-events", "0")


async def test_each_partition_has_its_newest_event(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        progress = Progress(store)
        assert await progress.reached() == {}
        for origin in (event(5), event(9), event(2**40, 1, "a/b"), event(9)):
            await progress.note(origin)
        assert await progress.reached() == {
            KEY: reached(event(9)),
            ("usage-events", "a/b"): reached(event(2**40, 1, "a/b")),
        }


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 50)), min_size=1, max_size=12))
async def test_two_owners_in_any_order_come_to_the_newest(azurite: Azurite, steps: list[tuple[int, int]]) -> None:
    async with fresh_table(azurite.connection_string) as store:
        owners = Progress(store), Progress(store)
        for owner, number in steps:
            await owners[owner].note(event(number))
        assert await owners[0].reached() == {KEY: reached(event(max(number for _, number in steps)))}


async def test_many_at_once_come_to_the_newest(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        numbers = random.Random(1).sample(range(100), 5)
        await asyncio.gather(*(Progress(store).note(event(number)) for number in numbers))
        assert await Progress(store).reached() == {KEY: reached(event(max(numbers)))}


async def test_a_hub_made_anew_goes_on_though_its_numbers_are_smaller(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        await Progress(store).note(event(1_000_000, second=0))
        await Progress(store).note(event(3, second=60))
        assert await Progress(store).reached() == {KEY: reached(event(3, second=60))}


async def test_a_passing_fault_and_a_lost_answer_change_nothing(azurite: Azurite) -> None:
    def lost(number: int) -> None:
        if number == 2:
            raise StoreBusy("made up")

    async with fresh_table(azurite.connection_string) as store:
        await Progress(FaultyStore(store, at(1), lost)).note(event(5))
        assert await Progress(store).reached() == {KEY: reached(event(5))}


async def test_tables_that_do_not_answer_are_logged_and_hold_up_nothing(
    azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    async with fresh_table(azurite.connection_string) as store:
        with caplog.at_level(logging.WARNING):
            async with asyncio.timeout(20):
                await Progress(FaultyStore(store, at(*range(1, 100)))).note(event(5))
    assert "progress of usage-events 0 is not noted" in caplog.text


async def test_what_the_reader_counts_behind_a_gap_hides_no_gap(azurite: Azurite) -> None:
    """Restored tables reach to 9, the app's checkpoint lies at 30: until a replay has read 10 to 29 they are lag."""
    async with fresh_table(azurite.connection_string) as store:
        reader = Progress(store)
        await reader.note_restored(*KEY, reached(event(9)))
        await reader.note(event(8), event(5))
        await reader.note(event(34), event(30))
        await Progress(store).note(event(39), event(35))
        assert await reader.reached() == {KEY: reached(event(9))}
        await reader.note_replayed(event(20))
        await reader.note(event(44), event(40))
        assert await reader.reached() == {KEY: reached(event(20))}
        await reader.note_replayed(event(29))
        assert await reader.reached() == {KEY: reached(event(44))}
        await reader.note(event(50), event(45))
        assert await reader.reached() == {KEY: reached(event(50))}
        await reader.note_replayed(event(60))
        assert await reader.reached() == {KEY: reached(event(50))}


async def test_a_reader_that_goes_on_where_the_import_ended_takes_the_row_over(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        reader = Progress(store)
        await reader.note_restored(*KEY, reached(event(9)))
        await reader.note(event(12), event(8))
        assert await reader.reached() == {KEY: reached(event(12))}
        await reader.note(event(20), event(18))  # a batch whose row was not written lies between
        assert await reader.reached() == {KEY: reached(event(20))}
