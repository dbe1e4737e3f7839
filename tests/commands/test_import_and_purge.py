"""Calls that were purged, and come back with an export, are purged again."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from commands import export, import_tables
from ledger.store import Entity, WholeStore
from pipeline import purge
from services import Services, build
from tests.commands.test_export_and_import import Run, all_tables, fill, run, with_app
from tests.support.events import NOON

assert run  # the fixture
LATER = NOON + timedelta(days=30 + 3650)
"""When all calls of `fill` are past their retention, which is that of the tests' settings."""


async def purge_all(found: Services) -> int:
    return (await purge(found, now=lambda: LATER)).deleted


def calls(found: dict[str, dict[tuple[str, str], Any]]) -> int:
    return sum(row_key.startswith("c|") for _, row_key in found["usage"])


def test_into_tables_whose_purge_ran_since(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The export is older than any purge, and has no row of it."""
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    assert with_app(purge_all) == 24
    assert calls(with_app(all_tables)) == 0
    capsys.readouterr()
    assert run("import", "--from", str(tmp_path / "e")) == 0
    told = "the export has calls of 4 days that are purged here, 2026-11-17 to 2026-11-20: the next purge deletes them"
    assert told in capsys.readouterr().out
    assert calls(with_app(all_tables)) == 24
    assert with_app(purge_all) == 24
    assert calls(with_app(all_tables)) == 0
    assert with_app(purge_all) == 0


def test_of_an_export_during_which_the_purge_ran(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls were read before, and how far the purge is after it."""
    run()
    with_app(fill)
    real = export.partitions

    async def partitions(store: WholeStore, table: str) -> list[str]:
        if table == "directory":
            await _purged_by_another()
        return await real(store, table)

    monkeypatch.setattr(export, "partitions", partitions)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    run(prefix="second")
    for _ in range(2):
        assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
        assert calls(with_app(all_tables)) == 24
        assert with_app(purge_all) == 24
        assert calls(with_app(all_tables)) == 0


def test_while_the_purge_runs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    real = import_tables._insert

    async def insert(store: WholeStore, entities: list[Entity]) -> None:
        await _purged_by_another()
        await real(store, entities)

    monkeypatch.setattr(import_tables, "_insert", insert)
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
    with_app(purge_all)
    assert calls(with_app(all_tables)) == 0


async def _purged_by_another() -> None:
    found = build(os.environ)
    await purge_all(found)
    await found.close()
