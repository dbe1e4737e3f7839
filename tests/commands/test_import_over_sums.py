"""An import into tables that have something of it already: what its sums come to, over all writers, decides."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty
from hypothesis import given
from hypothesis import strategies as st

from commands.backup import Backup, Part
from commands.compare import Compared
from commands.export import rows_of
from commands.import_tables import bring
from ledger.snapshot import snapshot
from ledger.store import Entity, WholeStore
from local.azurite import Azurite
from models.errors import StoreUnavailable
from pipeline import ingest
from services import Services
from tests.support.disturbed import Disturbed
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyWholeStore
from tests.support.tables import app, everything

NAME = "app-1|202611"
CALLS = 30


async def count(found: Services, *names: str, partition: str = "0") -> None:
    records = [usage_event(request_id=name, timestamp=(NOON - timedelta(days=1)).isoformat()) for name in names]
    events = [raw_event(each, partition=partition, sequence_number=n) for n, each in enumerate(records)]
    await ingest(events, found, now=lambda: NOON)


async def counted(found: Services) -> None:
    """CALLS calls of one hour, by two writers."""
    for number in range(CALLS):
        await count(found, f"m-{number:03}", partition=str(number % 2))


async def quiet(found: Services, folder: Path) -> tuple[Backup, Part]:
    """The partition in a backup."""
    backup = Backup(folder)
    return backup, await backup.write("usage", NAME, rows_of(found.stores["usage"], "usage", NAME))


async def under_traffic(found: Services, folder: Path, ahead: bool = True) -> tuple[Backup, Part]:
    """The same while four calls are counted: ahead of the place that is read, or behind it."""
    names = iter(f"{number}-while" for number in range(4))

    async def more() -> None:
        if more_names := list(names):
            await count(found, *more_names, partition="1")

    backup = Backup(folder)
    part = await backup.write("usage", NAME, snapshot(Disturbed(found.stores["usage"], more, first=ahead), NAME))
    assert next(names, None) is None
    assert any(entity["RowKey"].endswith("|export") for entity in backup.rows(part))
    return backup, part


async def told(found: Services) -> dict[str, Any]:
    """Calls by rows, and by the sums of each level."""
    rows = (await everything(found, "usage")).values()
    by_level = {level: [row["calls"].value for row in rows if row["RowKey"].startswith(level)] for level in "hdm"}
    return {level: sum(each) for level, each in by_level.items()} | {
        "c": len([row for row in rows if row["RowKey"].startswith("c")])
    }


@pytest.mark.parametrize("ahead", [True, False])
async def test_an_export_under_traffic_does_not_double_the_tables_it_is_of(
    azurite: Azurite, tmp_path: Path, ahead: bool
) -> None:
    """Calls that were counted ahead of the place that is read are in the file, under the writer `export`; those that
    were counted behind it are not."""
    async with app(azurite) as found:
        await counted(found)
        backup, part = await under_traffic(found, tmp_path / "e", ahead)
        before = await everything(found, "usage")
        compared = await bring(backup, part, found.stores["usage"], found.stores["directory"])
        assert compared.is_refused != ahead
        assert await everything(found, "usage") == before
        assert set((await told(found)).values()) == {CALLS + 4}


@pytest.mark.parametrize("first", ["quiet", "under traffic"])
async def test_of_two_backups_in_turn_the_second_adds_nothing(azurite: Azurite, tmp_path: Path, first: str) -> None:
    async with app(azurite) as source, app(azurite) as target:
        await counted(source)
        busy = await under_traffic(source, tmp_path / "busy")
        still = await quiet(source, tmp_path / "still")
        await count(source, "one-more")
        later = await quiet(source, tmp_path / "later")
        await target.schema.note(NOON)
        stores = target.stores["usage"], target.stores["directory"]
        one, other = (still, busy) if first == "quiet" else (busy, still)
        assert not (await bring(*one, *stores)).is_refused
        before = await everything(target, "usage")
        assert not (await bring(*other, *stores)).is_refused  # the same calls and sums, by other writers
        assert (await bring(*later, *stores)).is_refused
        assert await everything(target, "usage") == before
        assert set((await told(target)).values()) == {CALLS + 4}


async def test_killed_at_any_request_it_is_gone_on_with_unless_another_call_came(
    azurite: Azurite, tmp_path: Path
) -> None:
    """Also where its sums are those of the writer `export`."""
    async with app(azurite) as source:
        records = [usage_event(request_id=f"m-{n:03}", timestamp=NOON.isoformat()) for n in range(210)]
        await ingest([raw_event(each, sequence_number=n) for n, each in enumerate(records)], source, now=lambda: NOON)
        busy = await under_traffic(source, tmp_path / "busy")
        still = await quiet(source, tmp_path / "still")
        for place in (4, 5, 6):  # in the first of three transactions, in the last, after it
            async with app(azurite) as target, app(azurite) as counting:
                for each in (target, counting):
                    await each.schema.note(NOON)

                    def die(number: int, at: int = place) -> None:
                        if number == at:
                            raise KeyboardInterrupt

                    with pytest.raises(KeyboardInterrupt):
                        await bring(*busy, FaultyWholeStore(each.stores["usage"], die), each.stores["directory"])
                await count(counting, "one-more")
                before = await everything(counting, "usage")
                assert (await bring(*busy, counting.stores["usage"], counting.stores["directory"])).is_refused
                assert await everything(counting, "usage") == before
                if place % 2:  # what came in are calls that both have, so the other may go on with it
                    assert not (await bring(*still, target.stores["usage"], target.stores["directory"])).is_refused
                    assert set((await told(target)).values()) == {214}
                assert not (await bring(*busy, target.stores["usage"], target.stores["directory"])).is_refused
                assert set((await told(target)).values()) == {214}


async def test_what_comes_between_is_found(azurite: Azurite, tmp_path: Path) -> None:
    async with app(azurite) as source, app(azurite) as target:
        await counted(source)
        part = await quiet(source, tmp_path / "e")
        await target.schema.note(NOON)

        async def more() -> None:
            await count(target, "between")

        with pytest.raises(StoreUnavailable, match="is being written"):
            await bring(*part, BeforeWrites(target.stores["usage"], more), target.stores["directory"])


class BeforeWrites(FaultyWholeStore):
    """Before the first write something happens."""

    def __init__(self, store: WholeStore, happens: Callable[[], Any]):
        super().__init__(store, lambda number: None)
        self._happens: Callable[[], Any] | None = happens

    async def submit(self, writes: Any) -> list[str]:
        if self._happens:
            happens, self._happens = self._happens, None
            await happens()
        return await super().submit(writes)


# Rows as small as can be: a call of hour 1 or 2 adds 1 to the cell of its hour and to the day's, by some writer.

Counted = dict[int, tuple[int, str]]
"""The hour and the writer of each call, by its number."""
counts = st.dictionaries(st.integers(0, 5), st.tuples(st.integers(1, 2), st.sampled_from("01e")), max_size=5)


def table_of(calls: Counted) -> dict[str, Entity]:
    rows: dict[str, Entity] = {}
    for number, (hour, writer) in calls.items():
        rows[f"c|20261101|{number}"] = {"RowKey": f"c|20261101|{number}", "hour": hour}
        for cell in (f"d|20261101|x|{writer}", f"h|202611010{hour}|x|{writer}"):
            before = rows[cell]["calls"].value if cell in rows else 0
            rows[cell] = {"RowKey": cell, "calls": EntityProperty(before + 1, EdmType.INT64)}
    return dict(sorted(rows.items()))


def amounts(rows: dict[str, Entity]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for key, row in rows.items():
        if not key.startswith("c"):
            cell = key.rpartition("|")[0]
            sums[cell] = sums.get(cell, 0) + row["calls"].value
    return sums


@given(counts, counts, st.integers(0, 12))
def test_what_may_come_in_makes_the_table_what_the_file_is(file: Counted, other: Counted, cut: int) -> None:
    """Whatever is in the table: another's calls, some of the file's own rows, or the file's calls by other writers."""
    wanted = table_of(file)
    same_calls = {number: (hour, "2") for number, (hour, _) in file.items()}
    for there in (table_of(other), table_of(same_calls), dict(list(wanted.items())[:cut])):
        compared = Compared("usage")
        for key in sorted(wanted.keys() | there.keys()):
            compared.take(wanted.get(key), there.get(key))
        if compared.is_refused:
            assert there != wanted
            continue
        after = there | ({key: row for key, row in wanted.items() if key not in there} if compared.comes_in else {})
        assert amounts(after) == amounts(wanted)
        calls = [{key for key in rows if key.startswith("c")} for rows in (after, wanted)]
        assert calls[0] >= calls[1]
