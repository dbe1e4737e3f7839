"""The folder of an export: what is not as it was finished is refused as a whole, before any table is touched."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from commands import export
from commands.backup import Backup
from pipeline import ingest
from services import Services
from tests.commands.test_export_and_import import Run, all_tables, fill, run, with_app
from tests.support.events import NOON, raw_event, usage_event

assert run  # the fixture

Harm = Callable[[Path, Path], object]


def _lines(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = folder / "files.ndjson"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def _manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


HARMS: dict[str, Harm] = {
    "the list is cut at a line": lambda here, other: _lines(here, lambda lines: lines[: len(lines) * 2 // 3]),
    "the list is cut in a line": lambda here, other: _lines(here, lambda lines: [*lines[:-3], lines[-3][:-9]]),
    "only the list's last end is cut": lambda here, other: _lines(here, lambda lines: [*lines[:-1], lines[-1][:-1]]),
    "a line of the list is twice there": lambda here, other: _lines(here, lambda lines: [*lines, lines[-1]]),
    "the list has only its header": lambda here, other: _lines(here, lambda lines: lines[:1]),
    "the list is empty": lambda here, other: _lines(here, lambda lines: []),
    "the list is gone": lambda here, other: (here / "files.ndjson").unlink(),
    "the list is another's": lambda here, other: (here / "files.ndjson").write_bytes(
        (other / "files.ndjson").read_bytes()
    ),
    "the list is no JSON": lambda here, other: _lines(here, lambda lines: [*lines[:2], b"\xff\n", *lines[2:]]),
    "the manifest is cut": lambda here, other: (here / "manifest.json").write_bytes(
        (here / "manifest.json").read_bytes()[:-60]
    ),
    "the manifest is empty": lambda here, other: (here / "manifest.json").write_bytes(b""),
    "the manifest is a list": lambda here, other: (here / "manifest.json").write_bytes(b"[1]"),
    "the manifest is another's": lambda here, other: (here / "manifest.json").write_bytes(
        (other / "manifest.json").read_bytes()
    ),
    "the manifest says other counts": lambda here, other: _manifest(here, files=1),
    "the manifest says other tables": lambda here, other: _manifest(here, tables={}),
    "the manifest is gone": lambda here, other: (here / "manifest.json").unlink(),
}


def test_a_list_or_a_manifest_that_is_not_whole_is_refused_and_left_as_it_is(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "other"), "--table", "usage") == 0
    assert run("export", "--to", str(tmp_path / "whole")) == 0
    for name, harm in HARMS.items():
        here = tmp_path / name
        shutil.copytree(tmp_path / "whole", here)
        harm(here, tmp_path / "other")
        before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
        capsys.readouterr()
        assert run("import", "--from", str(here), prefix="second") == 2, name
        told = capsys.readouterr()
        assert told.out == "", name
        assert "files.ndjson" in told.err or "manifest.json" in told.err or "no finished export" in told.err, name
        assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before, name
    assert not any(with_app(all_tables).values())
    assert run("import", "--from", str(tmp_path / "whole"), prefix="second") == 0


def test_an_export_of_the_time_before_the_digest_is_held_to_its_counts(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    with_app(fill)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    path = tmp_path / "e/manifest.json"
    older = json.loads(path.read_text())
    for name in ("sha256", "account", "table_prefix"):
        del older[name]
    path.write_text(json.dumps(older))
    header, *parts = (tmp_path / "e/files.ndjson").read_bytes().splitlines()
    columns = {name: value for name, value in json.loads(header).items() if name in older}
    (tmp_path / "e/files.ndjson").write_bytes(b"\n".join([json.dumps(columns).encode(), *parts, b""]))
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
    (tmp_path / "e/files.ndjson").write_bytes(b"\n".join([json.dumps(columns).encode(), *parts[1:], b""]))
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 2


def test_an_export_is_gone_on_with_only_of_the_same_tables(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another account, of other tables of this one, or of a later schema it would be two exports in one."""
    run()
    with_app(fill)
    run(prefix="second")
    with_app(fill)

    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "_all", dies)
        assert run("export", "--to", str(tmp_path / "e"), prefix="first") == 130
    before = (tmp_path / "e/files.ndjson").read_bytes()
    header = json.loads(before.splitlines()[0])
    assert "devstoreaccount1" in header["account"]
    assert header["table_prefix"].endswith("first")
    assert run("export", "--to", str(tmp_path / "e"), prefix="second") == 2
    assert f"of TABLE_PREFIX {header['table_prefix']!r}: expected the same, not " in capsys.readouterr().err
    for changes, told in (
        ({"account": "other.table.core.windows.net"}, "of account 'other.table.core.windows.net'"),
        ({"newest": 1}, "of schema version 1"),
        ({"account": None}, "of account None"),
        ({"tables": ["usage", "directory"]}, "of tables usage, directory"),
    ):
        (tmp_path / "e/files.ndjson").write_text(json.dumps(header | changes) + "\n")
        assert run("export", "--to", str(tmp_path / "e"), prefix="first") == 2
        assert told in capsys.readouterr().err
    (tmp_path / "e/files.ndjson").write_bytes(before)
    assert run("export", "--to", str(tmp_path / "e"), prefix="first") == 0
    manifest = json.loads((tmp_path / "e/manifest.json").read_text())
    assert (manifest["account"], manifest["table_prefix"]) == (header["account"], header["table_prefix"])


COMMAND = [sys.executable, "-m", "commands"]


def test_one_export_at_a_time_writes_to_a_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second one, of a schedule for instance, would spoil the list of files: it ends, and the first one goes on."""
    run()
    with_app(fill)
    real = export.rows_of
    others: list[subprocess.CompletedProcess[bytes]] = []

    def another() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*COMMAND, "export", "--to", str(tmp_path / "e")], capture_output=True, check=False)

    async def rows(store: Any, table: str, partition: str) -> AsyncIterator[dict[str, Any]]:
        async for entity in real(store, table, partition):
            if not others:
                others.append(another())
            yield entity

    monkeypatch.setattr(export, "rows_of", rows)
    assert run("export", "--to", str(tmp_path / "e")) == 0
    [other] = others
    assert (other.returncode, other.stdout) == (2, b"")
    assert b"another export is being written to " in other.stderr
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
    assert run("export", "--to", str(tmp_path / "e")) == 2
    assert "a finished export" in capsys.readouterr().err


def test_an_export_that_was_killed_holds_nothing(run: Run, tmp_path: Path) -> None:
    run()
    with_app(fill)
    holds = "import sys, time, pathlib; from commands.backup import Backup\n"
    holds += "with Backup(pathlib.Path(sys.argv[1])).held(): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holds, str(tmp_path / "e")], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert run("export", "--to", str(tmp_path / "e")) == 2
        other.send_signal(signal.SIGKILL)
    assert run("export", "--to", str(tmp_path / "e")) == 0


def test_apps_that_came_since_are_in_an_export_that_is_gone_on_with(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table `directory` was written before they were there."""
    run()
    with_app(fill)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Backup, "finish", dies)
        assert run("export", "--to", str(tmp_path / "e")) == 130

    async def come(found: Services) -> None:
        records = [usage_event(app_id="brand-new", request_id=f"new-{n}", deployment="new") for n in range(3)]
        await ingest(
            [raw_event(each, sequence_number=100 + n) for n, each in enumerate(records)], found, now=lambda: NOON
        )

    with_app(come)
    capsys.readouterr()
    assert run("export", "--to", str(tmp_path / "e")) == 0
    assert ": 27 calls, " in capsys.readouterr().out
    _, parts = Backup(tmp_path / "e").read()
    assert len({(part.table, part.partition) for part in parts}) == len(parts)
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0
    after = with_app(all_tables)
    run()
    before = with_app(all_tables)
    assert (after["usage"], after["directory"]) == (before["usage"], before["directory"])


@pytest.mark.parametrize("left", ["files.ndjson", "files.ndjson.part"])
def test_an_export_that_was_killed_in_its_first_line_is_gone_on_with(run: Run, tmp_path: Path, left: str) -> None:
    run()
    with_app(fill)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / left).write_bytes(b'{"begun_utc": "2026-')
    assert run("export", "--to", str(tmp_path / "e")) == 0
    assert run("import", "--from", str(tmp_path / "e"), prefix="second") == 0


def test_a_folder_with_something_else_in_it_is_left_as_it_is(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run("export", "--to", str(tmp_path)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
