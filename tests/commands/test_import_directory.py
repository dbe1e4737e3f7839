"""Table `directory` and the calls that it names: what is brought in is found, and what nothing names is told."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from commands import import_tables
from commands.backup import Backup, Part
from ledger.store import Write
from local.azurite import Azurite
from pipeline import ingest
from services import Services
from tests.commands.test_export_and_import import Run, all_tables, fill, run, with_app
from tests.commands.test_import_and_purge import purge_all
from tests.support.events import NOON, raw_event, usage_event
from tests.support.tables import app, everything

assert run  # the fixture
APPS = [f"app {number}/é" for number in range(3)]
KEYS = [f"app~20{number}~2F~C3~A9" for number in range(3)]


async def count_one(found: Services) -> None:
    more = usage_event(app_id=APPS[1], request_id="one", deployment="d9")
    await ingest([raw_event(more, sequence_number=99)], found, now=lambda: NOON)


async def apps(found: Services) -> dict[str, int]:
    return await found.directory.apps("202611")


async def unlist(found: Services) -> None:
    """As an import of table `usage` alone once left it."""
    for partition, row_key in await everything(found, "directory"):
        if partition != "schema":
            keys = {"PartitionKey": partition, "RowKey": row_key}
            await found.stores["directory"].submit([Write(keys, "*", delete=True)])


def test_calls_come_with_the_directory_that_names_them(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "all")) == 0
    assert run("export", "--to", str(tmp_path / "some"), "--table", "usage") == 0
    assert Backup(tmp_path / "some").read()[0].tables == ("usage", "directory")
    for number, folder in enumerate(("all", "some")):
        prefix = f"n{number}"
        assert run("import", "--from", str(tmp_path / folder), "--table", "usage", prefix=prefix) == 0
        assert set(with_app(apps)) >= set(APPS)
        assert {name for name, rows in with_app(all_tables).items() if rows} == {"usage", "directory"}
        capsys.readouterr()
        assert run("verify", "--month", "202611", prefix=prefix) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("24 calls, ")
        assert run("forget", "--app", APPS[0], "--yes", prefix=prefix) == 0
        assert "forgotten: 8 calls" in capsys.readouterr().out


def test_an_app_is_named_before_its_calls_come_in(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    real = import_tables.bring

    async def dies(backup: Backup, part: Part, *stores: Any) -> Any:
        done = await real(backup, part, *stores)
        if part.table == "usage":
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(import_tables, "bring", dies)
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 130
    assert len({partition for partition, _ in with_app(all_tables)["usage"]}) == 1
    assert run("verify", "--month", "202611", prefix="second") == 0
    assert not capsys.readouterr().out.splitlines()[-1].startswith("0 calls")


def test_calls_without_a_directory_are_refused(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In exports of the time when `--table usage` was only that table; and where the directory's file is damaged."""
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "e"), "--table", "usage") == 0
    header, parts = Backup(tmp_path / "e").read()
    [listed] = [part for part in parts if part.partition == "apps|202611"]
    (tmp_path / "e" / listed.file).write_bytes(b"")
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 1
    told = capsys.readouterr().out
    assert "directory apps|202611: not brought in, " in told
    assert f"usage {KEYS[0]}|202611: not brought in, table directory of the export does not name it" in told
    assert not with_app(all_tables)["usage"]

    (tmp_path / "e/manifest.json").unlink()
    only = dataclasses.replace(header, tables=("usage",))
    lines = [dataclasses.asdict(only)] + [dataclasses.asdict(part) for part in parts if part.table == "usage"]
    (tmp_path / "e/files.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    backup = Backup(tmp_path / "e")
    backup.finish(only, [part for part in parts if part.table == "usage"], "2026-11-21T12:00:00Z")
    assert run("import", "--from", str(tmp_path / "e"), prefix="third") == 2
    assert "table usage without table directory" in capsys.readouterr().err
    assert not any(with_app(all_tables).values())


def test_an_app_that_is_spread_otherwise_is_refused_and_the_others_are_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its calls would be looked for in another partition when they come again, and so be counted twice."""
    run()
    with_app(fill)
    source = with_app(all_tables)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    run(prefix="second")
    with monkeypatch.context() as patch:
        patch.setenv("APP_PARTITIONS", f"{APPS[1]}=4")
        with_app(count_one)
    before = with_app(all_tables)
    capsys.readouterr()
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 1
    told = capsys.readouterr().out
    assert f"directory apps|202611: 1 rows are there and different, and stay: {KEYS[1]}" in told
    assert f"usage {KEYS[1]}|202611: refused, table directory says otherwise over how many partitions" in told
    assert " 1 refused, 0 not brought in" in told
    assert "TABLE_PREFIX" in told
    assert {app: with_app(apps)[app] for app in APPS} == {APPS[0]: 1, APPS[1]: 4, APPS[2]: 1}
    after = with_app(all_tables)

    def of(tables: dict[str, Any], *keys: str) -> dict[Any, Any]:
        return {key: row for key, row in tables["usage"].items() if key[0].split("|")[0] in keys}

    assert of(after, KEYS[1]) == of(before, KEYS[1])
    assert of(after, KEYS[0], KEYS[2]) == of(source, KEYS[0], KEYS[2])
    assert after["directory"].keys() >= source["directory"].keys() | before["directory"].keys()
    assert run("verify", "--month", "202611", prefix="second") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("17 calls, ")


def test_verify_and_forget_tell_of_calls_that_no_directory_names(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    with_app(fill)
    with_app(unlist)
    assert run("verify", "--month", "202611") == 1
    told = capsys.readouterr().out.splitlines()
    assert f"202611  {APPS[0]}: NOT IN TABLE directory, so no question finds it: partition {KEYS[0]}|202611" in told
    assert len(told) == 4
    assert told[-1] == "0 calls, 0 aggregates compared, 0 differences, 3 partitions that no question finds"
    assert run("verify", "--month", "202610", "--month", "202612") == 0
    capsys.readouterr()
    assert run("forget", "--app", APPS[0]) == 0
    assert capsys.readouterr().out.startswith("to forget: 8 calls, ")
    assert run("forget", "--app", APPS[0], "--yes") == 0
    assert capsys.readouterr().out.startswith("forgotten: 8 calls, ")
    assert run("forget", "--app", APPS[0]) == 0
    assert capsys.readouterr().out.startswith("to forget: 0 calls, ")


def test_what_the_directory_lacks_is_mended_as_it_was(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    monkeypatch.setenv("APP_PARTITIONS", "wide=3")
    with_app(fill)
    with_app(spread)
    before = with_app(all_tables)
    with_app(unlist)
    assert run("verify", "--month", "202611", "--app", APPS[0]) == 1
    assert capsys.readouterr().out.splitlines()[0].startswith(f"202611  {APPS[0]}: NOT IN TABLE directory")
    monkeypatch.delenv("APP_PARTITIONS")  # the calls tell it
    assert run("verify", "--month", "202611", "--app", APPS[0], "--mend") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"202611  {APPS[0]}: entered in table directory (1 partitions)"
    assert told[1].startswith(f"202611  {APPS[0]}: agrees (8 calls, ")
    assert list(with_app(apps)) == [APPS[0]]
    assert run("verify", "--month", "202611", "--mend") == 0
    told = capsys.readouterr().out.splitlines()
    assert "202611  wide: entered in table directory (3 partitions)" in told
    assert told[-1].startswith("44 calls, ")
    after = with_app(all_tables)
    assert after == before
    assert run("verify", "--month", "202611", "--mend") == 0
    assert "entered" not in capsys.readouterr().out
    assert run("verify", "--month", "202611", "--app", "typo", "--mend") == 2


def test_sums_of_a_month_whose_calls_are_purged_are_named_again(run: Run) -> None:
    run()
    with_app(fill)
    before = with_app(all_tables)["directory"]
    assert with_app(purge_all) == 24

    async def unlist_all(found: Services) -> None:
        for partition, row_key in before:
            keys = {"PartitionKey": partition, "RowKey": row_key}
            await found.stores["directory"].submit([Write(keys, "*", delete=True)])

    with_app(unlist_all)
    assert run("verify", "--month", "202611", "--mend") == 0
    after = with_app(all_tables)["directory"]
    assert {key: row for key, row in after.items() if key[0] != "purge"} == before


@pytest.mark.parametrize("mended", ["before the purge", "after it"])
def test_what_is_mended_is_purged(run: Run, mended: str) -> None:
    """Also by a purge that was past these days when nothing named their calls."""
    run()
    with_app(fill)
    with_app(unlist)
    if mended == "after it":
        assert with_app(purge_all) == 0
    assert run("verify", "--month", "202611", "--mend") == 0
    assert with_app(purge_all) == 24


def test_what_is_forgotten_is_purged_also_if_nothing_named_it(run: Run) -> None:
    run()
    with_app(fill)
    with_app(unlist)
    assert run("forget", "--app", APPS[0], "--yes") == 0
    assert with_app(purge_all) == 8
    assert not [key for key in with_app(all_tables)["usage"] if key[0].startswith(KEYS[0])]
    assert run("forget", "--app", APPS[0], "--yes") == 0
    assert not with_app(apps)


def test_calls_that_are_in_no_order_are_not_guessed_at(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an app counts that was told less partitions than there are: what comes again would be counted again."""
    run()
    monkeypatch.setenv("APP_PARTITIONS", "wide=3")
    with_app(spread)
    with_app(unlist)
    monkeypatch.delenv("APP_PARTITIONS")

    async def more(found: Services) -> None:
        records = [usage_event(request_id=f"more{n}", app_id="wide") for n in range(100)]
        await ingest([raw_event(each, sequence_number=n) for n, each in enumerate(records)], found, now=lambda: NOON)

    with_app(more)
    before = with_app(all_tables)
    assert run("verify", "--month", "202611", "--mend") == 1
    told = capsys.readouterr().out
    assert "202611  wide: not mended" in told
    assert "partition wide|202611|2\n" in told
    assert with_app(all_tables) == before
    assert run("forget", "--app", "wide", "--yes") == 1
    assert "keys of calls stay: over how many partitions it is spread is not known of 202611" in capsys.readouterr().out


async def test_a_spread_that_the_app_entered_meanwhile_is_not_narrowed(azurite: Azurite) -> None:
    async with app(azurite, APP_PARTITIONS="wide=3") as found:
        await spread(found)
        await found.directory.enter_found("wide", "202611", 2, [])
        assert (await found.directory.apps("202611"))["wide"] == 3


async def spread(found: Services) -> None:
    records = [usage_event(request_id=f"r{n}", app_id="wide") for n in range(20)]
    await ingest([raw_event(each, sequence_number=n) for n, each in enumerate(records)], found, now=lambda: NOON)


def test_verify_tells_of_partitions_beyond_those_that_the_directory_counts(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    monkeypatch.setenv("APP_PARTITIONS", "wide=3")
    with_app(spread)
    assert run("verify", "--month", "202611") == 0

    async def shrink(found: Services) -> None:
        row = {"PartitionKey": "apps|202611", "RowKey": "wide", "app": "wide"}
        await found.stores["directory"].submit([Write(row, "*")])

    with_app(shrink)
    capsys.readouterr()
    assert run("verify", "--month", "202611") == 1
    told = capsys.readouterr().out
    assert "partition wide|202611|1\n" in told
    assert "partition wide|202611|2\n" in told
    assert "partition wide|202611\n" not in told
