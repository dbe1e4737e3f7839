"""ledger.versions: edits that meet, and answers that are lost, leave one history without gaps."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from ledger.store import Store, StoreBusy, TableStore, Write
from ledger.versions import Document, Version, Versions
from local.azurite import Azurite
from tests.support.events import NOON
from tests.support.ledger import fresh_table, no_wait


@pytest.fixture
async def table(azurite: Azurite) -> AsyncIterator[TableStore]:
    async with fresh_table(azurite.connection_string) as store:
        yield store


def versions(store: Store) -> Versions:
    return Versions(store, "prices", no_wait)


async def put(found: Versions, name: str, **document: Any) -> Version:
    return await found.edit(name, lambda _: document, NOON)


async def test_each_edit_is_a_version_and_none_is_overwritten(table: TableStore) -> None:
    found = versions(table)
    assert [(await put(found, "a/1|é", rate=rate)).version for rate in ("1", "2", "3")] == [1, 2, 3]
    await put(found, "a", rate="7")
    history = await found.history("a/1|é")
    assert [(one.version, one.document["rate"], one.edited_at) for one in history] == [
        (number, str(number), "2026-11-20T12:00:00.000000Z") for number in (1, 2, 3)
    ]
    assert await found.get("a/1|é") == history[-1]
    assert sorted((one.id, one.version) for one in await found.all()) == [("a", 1), ("a/1|é", 3)]
    assert (await found.get("b"), await found.history("b")) == (None, [])


async def test_an_edit_that_changes_nothing_is_no_version(table: TableStore) -> None:
    found = versions(table)
    await put(found, "a", rate="1")
    assert (await put(found, "a", rate="1")).version == 1
    assert len(await found.history("a")) == 1


async def test_an_edit_may_be_refused_by_what_is_there(table: TableStore) -> None:
    def refuse(before: Version | None) -> Document:
        raise LookupError(before)

    found = versions(table)
    with pytest.raises(LookupError):
        await found.edit("a", refuse, NOON)
    assert await found.all() == []


async def test_edits_at_the_same_time_all_count(table: TableStore) -> None:
    def counted(before: Version | None) -> Document:
        return {"count": before.document["count"] + 1 if before else 1}

    await asyncio.gather(*(versions(table).edit("a", counted, NOON) for _ in range(8)))
    history = await versions(table).history("a")
    assert [(one.version, one.document["count"]) for one in history] == [(number, number) for number in range(1, 9)]


async def test_an_answer_that_is_lost_makes_no_second_version(table: TableStore) -> None:
    """The write came through, and nobody heard of it: done again, it meets itself."""

    class Losing:
        def __init__(self) -> None:
            self.lost = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(table, name)

        async def submit(self, writes: Sequence[Write]) -> list[str]:
            etags = await table.submit(writes)
            self.lost += 1
            if self.lost == 1:
                raise StoreBusy("the answer is lost")
            return etags

    made = await put(versions(Losing()), "a", rate="1")
    assert made.version == 1
    assert len(await versions(table).history("a")) == 1
