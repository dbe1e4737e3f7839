"""Rows as the first version's own code wrote them (version_1.ndjson): read as they are, and brought up to this version.

The file was written by the code of the commit that first had a ledger, from eleven calls and two bad records.
"""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from commands.__main__ import main
from ledger.dead_letters import Wanted
from ledger.migrate import STEPS, Step, migrate
from ledger.odata import load_row
from ledger.schema import GRACE, VERSION, Schema, SchemaVersions
from ledger.store import WholeStore, Write
from ledger.verify import verify
from local.azurite import Azurite
from models.dead_letter import letter_id
from models.errors import StoreUnavailable
from pipeline import ingest
from services import Services, build
from tests.queries.filled import environment
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyWholeStore
from tests.support.tables import app, everything, put

LINES = [json.loads(line) for line in (Path(__file__).parent / "version_1.ndjson").read_text().splitlines()]
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def fill(found: Services) -> None:
    for table in ("usage", "directory", "deadletters"):
        await put(found, table, [load_row(json.dumps(line["row"])) for line in LINES if line["table"] == table])


async def assert_read(found: Services) -> None:
    """What the rows of version 1 say is what today's readers read of them."""
    for name, calls in (("app-1", 6), ("app-2", 5)):
        verified = await verify(found.usage, name, "202611", LONG_AGO)
        assert (verified.calls, verified.differences) == (calls, [])
    letters = [row async for row in found.stores["deadletters"].scan("0", "~")]
    assert len(letters) == 2


async def test_rows_of_the_first_version_are_read_as_they_are(azurite: Azurite) -> None:
    async with app(azurite) as found:
        await fill(found)
        await assert_read(found)
        await found.schema.check()
        # the same calls come again: none is counted twice
        again = [
            usage_event(
                request_id=f"00000000-0000-4000-8000-{n:012}",
                timestamp=f"2026-11-{19 + n % 2}T{10 + n % 3}:0{n % 6}:00Z",
                app_id=f"app-{1 + n % 2}",
            )
            for n in range(9)
        ]
        events = [raw_event(each, sequence_number=n) for n, each in enumerate(again)]
        report = await ingest(events, found, now=lambda: NOON)
        assert report is not None
        assert (report.counted, report.duplicate) == (0, 9)
        await assert_read(found)


async def test_migrate_brings_them_up_to_this_version_and_again_changes_nothing(azurite: Azurite) -> None:
    async with app(azurite) as found:
        await fill(found)
        before = await everything(found, "usage")
        report = await migrate(found.schema, found.stores, STEPS, NOON)
        assert report.rows == 11 + 2
        assert await found.schema.found() == SchemaVersions(VERSION, VERSION)
        after = await everything(found, "usage")
        added = {"dimensions": "deployment,operation,product", "position": 0}
        assert after == {key: row | (added if key[1].startswith("c|") else {}) for key, row in before.items()}
        await assert_read(found)
        page = await found.dead_letters.page(Wanted(frozenset(), LONG_AGO, NOON + timedelta(days=1)), 10)
        assert [kept.times_seen for kept in page.letters] == [1, 1]
        for kept in page.letters:
            assert await found.dead_letters.get(letter_id(kept.letter.origin, kept.letter.position)) == kept
        assert (await migrate(found.schema, found.stores, STEPS, NOON)).rows == 0


async def test_calls_summed_by_other_dimensions_say_so_afterwards(azurite: Azurite) -> None:
    async with app(azurite, AGGREGATE_DIMENSIONS="user,status") as found:
        await ingest([raw_event(usage_event(user_id="u"))], found, now=lambda: NOON)
        [(key, row)] = [(key, row) for key, row in (await everything(found, "usage")).items() if key[1][0] == "c"]
        without = {name: value for name, value in row.items() if name != "dimensions"}
        await found.stores["usage"].submit([Write(without, "*")])
        assert (await verify(found.usage, "app-1", "202611", LONG_AGO)).differences  # a reader can only guess
        await found.schema.note(NOON, oldest=1)
        await migrate(found.schema, found.stores, STEPS, NOON)
        assert (await everything(found, "usage"))[key] == row
        assert (await verify(found.usage, "app-1", "202611", LONG_AGO)).differences == []


class Killed(Exception):
    """The process ends."""


async def test_killed_at_any_request_it_is_gone_on_with(azurite: Azurite) -> None:
    """Each run is killed one request later than the one before; the rows are written once, whatever had happened."""
    async with app(azurite) as whole:
        await fill(whole)
        await migrate(whole.schema, whole.stores, STEPS, NOON)
        expected = {table: await everything(whole, table) for table in ("usage", "deadletters")}
    async with app(azurite) as found:
        await fill(found)
        place, done = 0, False
        while not done:
            place += 1
            left = itertools.count(place, -1)

            def die(_: int, left: Iterator[int] = left) -> None:
                if next(left) == 1:
                    raise Killed

            stores = {name: FaultyWholeStore(store, die) for name, store in found.stores.items()}
            with contextlib.suppress(Killed):
                await migrate(Schema(stores["directory"]), stores, STEPS, NOON)
                done = True
        assert place > 10
        for table, rows in expected.items():
            found_rows = await everything(found, table)
            for row in (*rows.values(), *found_rows.values()):
                row.pop("written_by", None)
            assert found_rows == rows


async def test_a_made_up_step_runs_while_the_app_counts(azurite: Azurite) -> None:
    """A row that is written between reading and rewriting is read again."""

    async def left(store: WholeStore, partition: str) -> AsyncIterator[list[Write]]:
        async for row in store.typed(partition, "m|", "m|~"):
            if "made_up" not in row.columns:
                if not disturbed:
                    disturbed.append(partition)
                    await ingest([raw_event(usage_event(), sequence_number=9)], found, now=lambda: NOON + GRACE)
                yield [Write(dict(row.columns) | {"made_up": 1}, row.etag)]

    disturbed: list[str] = []
    async with app(azurite) as found:
        await ingest([raw_event(usage_event())], found, now=lambda: NOON)
        await found.schema.note(NOON)
        later = Schema(found.stores["directory"], VERSION + 1)
        found.schema = later
        steps = {VERSION + 1: [Step("usage", left)]}
        with pytest.raises(StoreUnavailable, match="is written from"):
            await migrate(later, found.stores, steps, NOON)
        report = await migrate(later, found.stores, steps, NOON + GRACE)
        assert (report.rows, disturbed) == (1, ["app-1|202611"])
        [month] = [row for key, row in (await everything(found, "usage")).items() if key[1].startswith("m|")]
        assert (month["calls"].value, month["made_up"]) == (2, 1)
        assert await later.found() == SchemaVersions(VERSION + 1, VERSION + 1)


def test_the_command_says_that_nothing_has_to_be_rewritten(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(azurite).items():
        monkeypatch.setenv(name, value)
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out == f"schema version {VERSION}: nothing has to be rewritten\n"

    async def old() -> None:
        found = build(os.environ)
        await fill(found)
        await found.schema.note(NOON, oldest=1)
        await found.close()

    asyncio.run(old())
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"schema version {VERSION}: 13 rows rewritten in 3 partitions"
