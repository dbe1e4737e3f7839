"""ledger.dead_letters: each record set aside is one dead letter, whatever fails, however often it comes."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.dead_letters
import ledger.letter_census
import ledger.letter_rows
from ledger.dead_letters import DeadLetters, LetterPurgeReport, Wanted
from ledger.letter_rows import is_part, key_of
from ledger.store import Refused, Row, Store, TableStore
from local.azurite import Azurite
from models.dead_letter import DeadLetter, Kept, Payload, letter_id, parse_letter_id
from models.errors import StoreUnavailable
from models.origin import Origin, RawEvent, Redriven
from tests.support.events import NOON
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import fresh_table, no_wait

LATER = NOON + timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ALL = Wanted(frozenset(), datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def letter(number: int = 0, **changes: Any) -> DeadLetter:
    origin = Origin("usage-events", "0", number, NOON + timedelta(milliseconds=number))
    return DeadLetter(origin, 0, "missing_field", "timestamp", "a value", "nothing")._replace(**changes)


def payload(size: int, *, whole: bool = False, faithful: bool = True) -> Payload:
    """Text that does not compress."""
    return Payload(os.urandom(size).hex().encode(), whole, faithful)


def id_of(each: DeadLetter) -> str:
    return letter_id(each.origin, each.position)


def again(each: DeadLetter, attempt: int = 1) -> RawEvent:
    """The dead letter, sent again and delivered."""
    redriven = Redriven(each.origin, each.position, attempt, None, None, whole=False)
    return RawEvent(b"{}", Origin("usage-events", "3", 99, LATER), redriven)


@pytest.fixture
async def store(azurite: Azurite) -> AsyncIterator[TableStore]:
    async with fresh_table(azurite.connection_string) as table:
        yield table


def letters_in(store: Store) -> DeadLetters:
    return DeadLetters(store, no_wait)


async def kept(store: Store) -> list[Kept]:
    return (await letters_in(store).page(ALL, 10_000)).letters


async def row_count(store: Store) -> int:
    return len([row async for row in store.scan("0", "~")])


# -------------------------------------------------------------------------------------------------------- kept as it is


@given(
    hub=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}|file:[A-Za-z0-9._-]{1,20}", fullmatch=True),
    partition=st.integers(0, 2000).map(str),
    sequence_number=st.integers(0, 10**18 - 1),
    time=st.integers(0, 2**52).map(lambda number: EPOCH + timedelta(microseconds=number)),
    position=st.integers(0, 10**7 - 1),
)
def test_an_id_says_the_delivery(hub: str, partition: str, sequence_number: int, time: datetime, position: int) -> None:
    origin = Origin(hub, partition, sequence_number, time)
    assert parse_letter_id(letter_id(origin, position)) == (origin, position)
    partition_key, row_key = key_of(origin, position)
    assert partition_key == f"{time:%Y%m%d}"
    assert len(row_key) <= 512
    assert not is_part(row_key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:b:c:d:e",
        "h:0:1:2",
        "h:0:-1:2:3",
        "h:0:1:2:x",
        ":0:1:2:3",
        "h:0:1:2:3:",
        "h:0:1:" + "9" * 18 + ":3",
        *(f"{256 * sign}:0:1:2:3" for sign in "é日%|/"),
        "h:%:1:2:3",
    ],
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        parse_letter_id(text)


@pytest.mark.parametrize("size", [None, 0, 10, 40_000, 100_000, 800_000, 1_200_000])
@pytest.mark.parametrize("whole", [False, True])
async def test_it_is_read_as_it_was_set_aside(store: TableStore, size: int | None, whole: bool) -> None:
    first = letter(7, records=3, request_id="r", dialect="d", call_id="cloudevent:1", sent=LATER, size_bytes=9)
    first = first._replace(payload=None if size is None else payload(size, whole=whole))
    letters = letters_in(store)
    await letters.set_aside([first], LATER)
    assert await letters.get(id_of(first)) == Kept(first, 1, 0, LATER, LATER)
    bare = first._replace(payload=first.payload and first.payload._replace(text=b""))
    assert await kept(store) == [Kept(bare, 1, 0, LATER, LATER)]
    await letters.remove_counted([again(first)], [])
    assert await letters.get(id_of(first)) is None
    assert await row_count(store) == 0


async def test_a_payload_that_grows_and_shrinks_leaves_nothing_behind(store: TableStore) -> None:
    letters = letters_in(store)
    for size in (10, 1_200_000, 500_000, 1_200_000, None, 10):
        each = letter(payload=None if size is None else payload(size))
        await letters.set_aside([each], LATER)
        found = await letters.get(id_of(each))
        assert found is not None
        assert found.letter.payload == each.payload
        assert await row_count(store) == (1 if size in (None, 10, 500_000) else 2)


async def test_hundreds_at_once_large_and_small_on_several_days(store: TableStore) -> None:
    many = [
        letter(number, payload=payload(400_000 if number % 50 == 0 else 5), position=number % 3)
        for number in range(330)
    ]
    many += [each._replace(origin=each.origin._replace(enqueued_time=NOON + timedelta(days=3))) for each in many[:5]]
    await letters_in(store).set_aside(many, LATER)
    assert sorted(id_of(each.letter) for each in await kept(store)) == sorted(map(id_of, many))
    assert await letters_in(store).remove_counted(list(map(again, many)), []) == len(many)
    assert await row_count(store) == 0


# --------------------------------------------------------------------------------------------------------- seen again


async def test_the_same_delivery_is_the_same_letter_seen_once_more(store: TableStore) -> None:
    letters = letters_in(store)
    await letters.set_aside([letter(1), letter(2), letter(1)], NOON)
    await letters.set_aside([letter(2), letter(3)], LATER)
    found = {each.letter.origin.sequence_number: each for each in await kept(store)}
    assert {number: each.times_seen for number, each in found.items()} == {1: 2, 2: 2, 3: 1}
    assert (found[2].first_seen, found[2].last_seen) == (NOON, LATER)
    assert (found[1].last_seen, found[3].first_seen) == (NOON, LATER)


async def test_a_delivery_says_anew_what_is_wrong_and_what_is_kept(store: TableStore) -> None:
    letters = letters_in(store)
    await letters.set_aside([letter(payload=payload(5, whole=True))], NOON)
    now = letter(reason="not_json", field=None, expected="x", payload=payload(5))
    await letters.set_aside([now], LATER)
    assert await letters.get(id_of(now)) == Kept(now, 2, 0, NOON, LATER)


async def test_a_redrive_that_fails_is_the_same_letter_with_one_more_try(store: TableStore) -> None:
    letters = letters_in(store)
    first = letter(payload=payload(900_000, faithful=True), size_bytes=77)
    await letters.set_aside([first], NOON)
    failed = first._replace(attempt=1, reason="too_old", field=None, payload=payload(3), size_bytes=5)
    for time in (NOON, LATER):  # delivered twice: it is one try all the same
        await letters.set_aside([failed], time)
    found = await letters.get(id_of(first))
    expected = first._replace(reason="too_old", field=None)
    assert found == Kept(expected, 3, 1, NOON, LATER)
    await letters.set_aside([failed._replace(attempt=2)], LATER)
    found = await letters.get(id_of(first))
    assert found is not None
    assert (found.tries, found.letter.payload) == (2, first.payload)


async def test_a_redrive_that_fails_for_what_was_removed_cannot_succeed(store: TableStore) -> None:
    letters = letters_in(store)
    await letters.set_aside([letter(payload=payload(5))], NOON)
    assert (await kept(store))[0].obstacle is None
    await letters.set_aside([letter(reason="content_removed", attempt=1)], NOON)
    assert (await kept(store))[0].obstacle == "content_removed"


async def test_a_redrive_that_fails_after_its_letter_was_removed_is_a_letter_again(store: TableStore) -> None:
    letters = letters_in(store)
    failed = letter(attempt=3, payload=payload(5))
    await letters.set_aside([failed], NOON)
    assert await letters.get(id_of(failed)) == Kept(failed._replace(attempt=0), 1, 3, NOON, NOON)


def test_what_cannot_be_sent_again_says_why() -> None:
    def obstacle(**changes: Any) -> str | None:
        return Kept(letter(**changes), 1, 0, NOON, NOON).obstacle

    assert obstacle() == "no_payload"
    assert obstacle(payload=payload(5)) is None
    assert obstacle(payload=payload(5), records=2) == "several_records"
    assert obstacle(payload=payload(5, faithful=False)) == "content_removed"


# ------------------------------------------------------------------------------------------------------------- faults


async def test_an_answer_that_is_lost_counts_nothing_twice(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each request in turn: it was not done, or it was done and the answer lost. Each letter is a transaction."""
    monkeypatch.setattr(ledger.dead_letters, "MAX_BYTES", 100)
    monkeypatch.setattr(ledger.letter_rows, "COLUMN_BYTES", 50)
    large = [letter(number, payload=payload(600)) for number in range(3)]
    letters = letters_in(store)
    await letters.set_aside(large[:2], NOON)
    for number in range(1, 9):
        for before, after in ((at(number), never), (never, at(number))):
            seen = (await kept(store))[0].times_seen
            await letters_in(FaultyStore(store, before, after)).set_aside(large, NOON)
            assert [each.times_seen - seen for each in await kept(store)][:2] == [1, 1]
    assert await row_count(store) == 6


async def test_a_table_that_stays_away_is_not_waited_for_forever(store: TableStore) -> None:
    faulty = FaultyStore(store, at(*range(1, 1000)))
    with pytest.raises(StoreUnavailable):
        await letters_in(faulty).set_aside([letter()], NOON)
    with pytest.raises(StoreUnavailable):
        await letters_in(faulty).remove_counted([again(letter())], [])


async def test_writers_at_once_count_each_delivery(store: TableStore) -> None:
    many = [letter(number) for number in range(40)]
    await asyncio.gather(*(letters_in(store).set_aside(many, NOON) for _ in range(6)))
    assert [each.times_seen for each in await kept(store)] == [6] * 40


async def test_a_letter_that_the_service_refuses_does_not_hold_up_the_others(
    store: TableStore, caplog: pytest.LogCaptureFixture
) -> None:
    refused = letter(1, expected="x" * 40_000)
    await letters_in(store).set_aside([letter(0), refused, letter(2)], NOON)
    assert [(each.letter.origin.sequence_number, each.times_seen) for each in await kept(store)] == [(0, 1), (2, 1)]
    assert "is refused" in caplog.text


# ------------------------------------------------------------------------------------------------------------ removed


async def test_what_is_counted_is_removed_and_what_failed_again_stays(store: TableStore) -> None:
    letters = letters_in(store)
    await letters.set_aside([letter(1), letter(2), letter(3)], NOON)
    events = [again(letter(1)), again(letter(2)), RawEvent(b"{}", letter(3).origin), again(letter(8))]
    assert await letters.remove_counted(events, [letter(2, attempt=1)]) == 1
    assert [each.letter.origin.sequence_number for each in await kept(store)] == [2, 3]
    assert await letters.remove_counted(events, [letter(2)]) == 0


async def test_what_is_read_again_takes_out_the_letters_of_its_deliveries(store: TableStore) -> None:
    other = [
        letter(5)._replace(origin=letter(5).origin._replace(partition="1")),
        letter(5)._replace(origin=letter(5).origin._replace(hub="usage-events-2")),
        letter(5)._replace(origin=letter(5).origin._replace(enqueued_time=NOON)),  # of a hub since made anew
        letter(8),
    ]
    large = letter(5, payload=payload(900_000), position=2)
    letters = letters_in(store)
    await letters.set_aside([letter(4), letter(5), large, letter(6), *other], NOON)
    replayed = [RawEvent(b"{}", letter(number).origin) for number in (4, 5, 6, 7)]
    still = [letter(6)]
    assert await letters.remove_counted(replayed, still) == 0
    assert await letters.remove_counted(replayed, still, replayed=True) == 3
    assert {id_of(each.letter) for each in await kept(store)} == {id_of(each) for each in [letter(6), *other]}
    assert await letters.remove_counted(replayed, still, replayed=True) == 0


async def test_a_letter_that_is_seen_while_it_is_removed_goes(store: TableStore) -> None:
    """Each says that it was counted: the one who still fails is of an older version."""

    class Busy(FaultyStore):
        async def submit(self, writes: Any) -> list[str]:
            if writes[0].delete and self.requests < 3:
                await letters_in(store).set_aside([letter()], LATER)
            return await super().submit(writes)

    await letters_in(store).set_aside([letter()], NOON)
    assert await letters_in(Busy(store, never)).remove_counted([again(letter())], []) == 1
    assert await kept(store) == []


async def test_no_event_no_request(store: TableStore) -> None:
    counting = FaultyStore(store, never)
    await letters_in(counting).set_aside([], NOON)
    await letters_in(counting).remove_counted([RawEvent(b"{}", letter().origin)], [])
    assert counting.requests == 0


# ------------------------------------------------------------------------------------------------------ listed, purged


async def test_pages_have_each_letter_once_in_order(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = letters_in(store)
    many = [
        letter(number, payload=payload(800_000) if number == 4 else None, reason=("too_old", "not_json")[number % 2])
        for number in range(9)
    ]
    many = [
        each._replace(origin=each.origin._replace(enqueued_time=NOON + timedelta(days=number // 3)))
        for number, each in enumerate(many)
    ]
    await letters.set_aside(many, NOON)
    monkeypatch.setattr(ledger.dead_letters, "MAX_EXAMINED", 4)

    async def numbers(wanted: Wanted, limit: int) -> list[int]:
        found: list[int] = []
        following = None
        while True:
            page = await letters.page(wanted, limit, following)
            assert len(page.letters) <= limit
            found += [each.letter.origin.sequence_number for each in page.letters]
            if page.next is None:
                return found
            following = page.next

    for limit in range(1, 11):
        assert await numbers(ALL, limit) == list(range(9))
        assert await numbers(ALL._replace(reasons=frozenset({"too_old"})), limit) == [0, 2, 4, 6, 8]
        some = ALL._replace(start=NOON + timedelta(days=1), end=NOON + timedelta(days=2))
        assert await numbers(some, limit) == [3, 4, 5]
    assert await numbers(ALL._replace(reasons=frozenset({"unreadable"})), 3) == []


async def test_letters_of_long_ago_are_purged_in_bounded_runs(
    store: TableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = letters_in(store)
    many = [letter(number, payload=payload(800_000) if number % 10 == 0 else None) for number in range(60)]
    many = [
        each._replace(origin=each.origin._replace(enqueued_time=NOON - timedelta(days=number // 20)))
        for number, each in enumerate(many)
    ]
    await letters.set_aside(many, NOON)
    monkeypatch.setattr(ledger.dead_letters, "MAX_PURGED", 20)
    before = await row_count(store)
    runs: list[LetterPurgeReport] = []
    while not runs or runs[-1].left_over:
        runs.append(await letters.purge(NOON + timedelta(days=1)))
    assert [(report.deleted, report.left_over) for report in runs] == [(22, True), (22, False)]
    assert before - await row_count(store) == 44
    assert {each.letter.origin.enqueued_time for each in await kept(store)} == {NOON}
    assert (await letters.purge(NOON + timedelta(days=1))).deleted == 0


async def test_purges_at_once_do_not_fail(store: TableStore) -> None:
    await letters_in(store).set_aside([letter(number) for number in range(150)], NOON)
    late = NOON + timedelta(days=5)
    reports = await asyncio.gather(*(letters_in(store).purge(late) for _ in range(3)))
    assert sum(report.deleted for report in reports) >= 100
    await letters_in(store).purge(late)
    assert await row_count(store) == 0


# ------------------------------------------------------------------------------------------- refused, counted, deleted


async def test_a_read_that_the_service_refuses_holds_up_nothing(
    store: TableStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(FaultyStore):
        async def get(self, partition_key: str, row_key: str, select: Sequence[str] = ()) -> Row | None:
            if "|00000000000000000001|" in row_key:
                raise Refused("400 KeyValueTooLarge")
            return await super().get(partition_key, row_key, select)

    await letters_in(store).set_aside([letter(0), letter(2)], NOON)
    refusing = letters_in(Refusing(store, never))
    assert await refusing.remove_counted([again(letter(number)) for number in range(3)], []) == 2
    assert await row_count(store) == 0
    assert "KeyValueTooLarge" in caplog.text


async def test_a_census_counts_records_and_begins_with_the_newest(
    store: TableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.letter_census, "MAX_EXAMINED", 5)
    letters = letters_in(store)
    old = Origin("usage-events", "0", 1, NOON - timedelta(days=40))
    await letters.set_aside([letter(number)._replace(origin=old, position=number) for number in range(9)], NOON)
    assert (await letters.census(NOON)).records.total() == 5
    later = NOON + timedelta(hours=1)
    await letters.set_aside([letter(3, reason="not_json", records=7)], later)
    census = await letters.census(NOON)
    assert census.records["not_json"] == 7
    assert census.newest["not_json"] == later
    assert (await letters.census(NOON + timedelta(days=91))).records.total() == 0


async def test_a_letter_can_be_deleted(store: TableStore) -> None:
    letters = letters_in(store)
    await letters.set_aside([letter(0, payload=payload(2_000_000)), letter(1)], NOON)
    assert await letters.remove(id_of(letter(0)))
    assert not await letters.remove(id_of(letter(0)))
    assert await row_count(store) == 1
    with pytest.raises(ValueError, match="id of a dead letter"):
        await letters.remove("none")
