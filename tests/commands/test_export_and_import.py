"""`export` and `import`: what comes back is what was there, and calls and sums agree, also while the app counts."""

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from commands import export
from commands.__main__ import main
from commands.backup import Backup
from commands.import_tables import bring
from ledger.odata import load_row
from ledger.retry import insist
from ledger.snapshot import snapshot
from ledger.store import Row, WholeStore, Write
from ledger.verify import verify
from local.azurite import Azurite
from pipeline import ingest
from services import Services, build
from tests.queries.filled import environment
from tests.support.disturbed import Disturbed
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyWholeStore
from tests.support.tables import app, everything

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
Run = Callable[..., int]


async def fill(found: Services, calls: int = 12) -> None:
    """Calls of three apps and two hub partitions, halves that wait, dead letters, and what operators enter."""
    for partition in ("0", "1"):
        records: list[dict[str, Any]] = [
            usage_event(
                request_id=f"{partition}-{number}",
                app_id=f"app {number % 3}/é",
                timestamp=(NOON - timedelta(hours=7 * number)).isoformat(),
                deployment=f"d{number % 2}",
                usage=None if number % 7 == 3 else {"prompt_tokens": 3_000_000_000, "completion_tokens": number},
            )
            for number in range(calls)
        ]
        records += [usage_event(usage=None, usage_source="gateway_log", app_id="waits"), {"status": "no call"}]
        events = [raw_event(each, partition=partition, sequence_number=n) for n, each in enumerate(records)]
        await ingest(events, found, now=lambda: NOON)
    await found.apps.put("app 1/é", {"display_name": "Search", "owner": None}, None)
    await found.prices.edit("p-1", lambda _: {"model": "gpt-4o"}, NOON)


@pytest.fixture
def run(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command on tables of this test, which `prefix` names."""
    own = uuid4().hex[:12]

    def of(*words: str, prefix: str = "first") -> int:
        for name, value in environment(azurite, GATEWAY_LOGS_HUB="gateway-logs").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TABLE_PREFIX", f"x{own}{prefix}")
        return main(list(words)) if words else 0

    return of


def with_app(do: Callable[[Services], Any]) -> Any:
    async def all_of_it() -> Any:
        found = build(os.environ)
        try:
            return await do(found)
        finally:
            await found.close()

    return asyncio.run(all_of_it())


def kept(rows: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Without what belongs to the running app."""
    return {key: row for key, row in rows.items() if key[0] not in ("cursors", "progress", "schema", "traffic")}


async def all_tables(found: Services) -> dict[str, dict[tuple[str, str], dict[str, Any]]]:
    return {name: kept(await everything(found, name)) for name in found.stores}


def test_what_comes_back_is_what_was_there_with_its_types(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    with_app(fill)
    before = with_app(all_tables)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert ": 24 calls, " in told
    run(prefix="second")
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{told}; all of it is in the tables",
        "to add what was not counted when the export began:",
        "    python -m commands replay --hub usage-events",
        "    python -m commands replay --hub gateway-logs",
    ]
    after = with_app(all_tables)
    assert after == before
    assert {"apps", "deadletters", "directory", "pending", "prices", "usage"} == {n for n, r in before.items() if r}
    assert run("verify", "--month", "202611", prefix="second") == 0
    assert "0 differences" in capsys.readouterr().out
    # again: every row is there; then one is not as it was
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
    manifest = json.loads((tmp_path / "e/manifest.json").read_text())
    assert sum(table["rows"] for table in manifest["tables"].values()) == sum(map(len, before.values()))

    async def count_one_more(found: Services) -> None:
        more = usage_event(app_id="app 0/é", deployment="d0")
        await ingest([raw_event(more, sequence_number=99)], found, now=lambda: NOON)

    with_app(count_one_more)
    changed = with_app(all_tables)
    capsys.readouterr()
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 1
    told = capsys.readouterr().out
    assert "usage app~200~2F~C3~A9|202611: refused" in told
    assert " 1 refused, 0 not brought in" in told
    assert with_app(all_tables) == changed


def test_an_export_that_was_killed_is_gone_on_with(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time it dies one partition later, in the middle of a file; whole files are not written again."""
    run()
    with_app(fill)
    expected = with_app(all_tables)
    real = export.rows_of
    monkeypatch.setattr(export, "AT_ONCE", 1)
    written: list[str] = []
    kills = 0

    def dying(at: int) -> Callable[[WholeStore, str, str], AsyncIterator[dict[str, Any]]]:
        begun = 0

        async def rows(store: WholeStore, table: str, partition: str) -> AsyncIterator[dict[str, Any]]:
            nonlocal begun
            begun += 1
            async for entity in real(store, table, partition):
                yield entity
                if begun == at:
                    raise KeyboardInterrupt
            written.append(f"{table} {partition}")

        return rows

    while True:
        monkeypatch.setattr(export, "rows_of", dying(kills % 3 + 1))
        code = run("export", "--to", str(tmp_path / "e"), "--table", "usage", "--table", "directory")
        assert not code or not (tmp_path / "e/manifest.json").exists()
        if code == 0:
            break
        kills += 1
        if kills == 2:  # also in the middle of a line of the list
            with (tmp_path / "e/files.ndjson").open("ab") as lines:
                lines.write(b'{"table": "us')
            assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 2
    assert kills > 3
    assert len(written) == len(set(written))
    assert run("export", "--to", str(tmp_path / "e")) == 2
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
    after = with_app(all_tables)
    assert {name: after[name] for name in ("usage", "directory")} == {
        name: expected[name] for name in ("usage", "directory")
    }


@pytest.mark.parametrize("harm", ["cut", "other", "gone", "changed", "garbled"])
def test_of_a_damaged_file_nothing_is_written_and_the_others_come_in(
    run: Run, tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "e"), "--table", "usage") == 0
    [file, *_] = sorted((tmp_path / "e/usage").iterdir())
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    elif harm == "garbled":
        file.write_bytes(file.read_bytes()[:20] + b"\xff" * 60 + file.read_bytes()[80:])
    elif harm == "gone":
        file.unlink()
    else:
        lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
        told = lines[:-1] if harm == "changed" else [*lines[:-1], lines[-1].replace(b'"calls":"', b'"calls":"9')]
        file.write_bytes(gzip.compress(b"".join(told)))
    part = next(part for part in Backup(tmp_path / "e").read()[1] if part.file.endswith(file.name))
    capsys.readouterr()
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 1
    printed = capsys.readouterr().out
    assert f"usage {part.partition}: not brought in" in printed
    assert " 0 refused, 1 not brought in" in printed

    async def of_the_partition(found: Services) -> list[Row]:
        return [row async for row in found.stores["usage"].typed(part.partition, "", "~~")]

    assert with_app(of_the_partition) == []
    others = {each.partition for each in Backup(tmp_path / "e").read()[1] if each.table == "usage"} - {part.partition}
    assert others
    after = with_app(all_tables)["usage"]
    assert {partition for partition, _ in after} == others


async def test_an_import_that_was_killed_at_any_request_is_gone_on_with(azurite: Azurite, tmp_path: Path) -> None:
    async with app(azurite) as first, app(azurite) as second:
        events = [raw_event(usage_event(request_id=f"r{n}"), sequence_number=n) for n in range(250)]
        await ingest(events, first, now=lambda: NOON)
        backup = Backup(tmp_path)
        name = "app-1|202611"
        part = await backup.write("usage", name, export.rows_of(first.stores["usage"], "usage", name))
        assert part.content.kinds == {"c": 250, "d": 1, "h": 1, "m": 1}
        assert part.content.sums["total_tokens"] == 250 * 15
        await second.schema.note(NOON)
        place, done = 0, False
        while not done:
            place += 1

            def die(number: int, at: int = place) -> None:
                if number == at:
                    raise KeyboardInterrupt

            try:
                compared = await bring(backup, part, FaultyWholeStore(second.stores["usage"], die))
                done = True
                assert compared.different == []
            except KeyboardInterrupt:
                continue
        assert place >= 5
        assert await everything(second, "usage") == await everything(first, "usage")


async def test_calls_that_are_counted_while_they_are_read_are_in_calls_and_sums_or_in_neither(
    azurite: Azurite, tmp_path: Path
) -> None:
    """New ones before and behind the place that is being read, in old hours and in new ones, and corrections."""
    async with app(azurite) as first, app(azurite) as second:
        old = [
            usage_event(
                request_id=f"m-{n:03}",
                timestamp=(NOON - timedelta(hours=n)).isoformat(),
                usage=None if n % 3 == 0 else {"prompt_tokens": n, "completion_tokens": 1, "total_tokens": n + 1},
            )
            for n in range(40)
        ]
        await ingest([raw_event(each, sequence_number=n) for n, each in enumerate(old)], first, now=lambda: NOON)
        others = 0

        async def count() -> None:
            nonlocal others
            others += 1
            more = [
                usage_event(request_id=f"{letter}-{others}", timestamp=(NOON - timedelta(hours=others)).isoformat())
                for letter in "az"
            ]
            late = old[(3 * others) % 39] | {"usage": {"prompt_tokens": 500, "completion_tokens": 1}}
            events = [raw_event(e, partition="1", sequence_number=1000 + others) for e in (*more, late)]
            await ingest(events, first, now=lambda: NOON)

        backup = Backup(tmp_path)
        name = "app-1|202611"
        part = await backup.write("usage", name, snapshot(Disturbed(first.stores["usage"], count), name))
        assert others > 5
        await second.schema.note(NOON)
        await bring(backup, part, second.stores["usage"])
        found = await verify(second.usage, "app-1", "202611", LONG_AGO)
        assert found.differences == []
        assert 40 <= found.calls < 40 + 2 * others
        rows = [load_row(line) for line in gzip.decompress((tmp_path / part.file).read_bytes()).splitlines()]
        assert [row["RowKey"] for row in rows] == sorted(row["RowKey"] for row in rows)
        assert any(row["RowKey"].endswith("|export") for row in rows)
        # what was counted meanwhile comes again from the hub: it is added, and nothing twice
        whole = await everything(first, "usage")
        calls = {key for key in whole if key[1].startswith("c|")}
        assert {(name, row["RowKey"]) for row in rows if row["RowKey"].startswith("c|")} <= calls


@pytest.mark.parametrize(
    ("own", "joined"),
    [
        ({"begun": "2026-08-22", "through": "2026-08-22"}, {"begun": "2026-08-22", "through": "2026-08-01"}),
        ({"begun": "2026-07-01", "through": "2026-07-01"}, {"begun": "2026-08-02", "through": "2026-07-01"}),
        ({"begun": "2026-08-22"}, {"begun": "2026-08-22"}),
        ({"through": "2026-08-22"}, {"begun": "2026-08-22", "through": "2026-08-01"}),
        ({"begun": "2026-08-02", "through": "2026-08-01"}, {"begun": "2026-08-02", "through": "2026-08-01"}),
        ({}, {"begun": "2026-08-02", "through": "2026-08-01"}),
    ],
)
def test_tables_in_which_the_purge_ran_take_an_export(
    run: Run, tmp_path: Path, own: dict[str, str], joined: dict[str, str]
) -> None:
    """What either deleted is not counted again, and what either may have is purged."""
    keys = {"PartitionKey": "purge", "RowKey": "calls"}

    def noted(**days: str) -> Callable[[Services], Any]:
        async def note(found: Services) -> None:
            if days:
                late = {"PartitionKey": "purge", "RowKey": f"late|{len(days)}"}
                rows = [Write(keys | days), Write(late)]
                await insist(lambda: found.stores["directory"].submit(rows))

        return note

    run()
    with_app(fill)
    with_app(noted(begun="2026-08-02", through="2026-08-01"))
    assert run("export", "--to", str(tmp_path / "e")) == 0
    run(prefix="second")
    with_app(noted(**own))
    for _ in range(2):
        assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
        after = with_app(all_tables)["directory"]
        assert {name: day for name, day in after["purge", "calls"].items() if name not in keys} == joined
        assert ("purge", "late|2") in after
