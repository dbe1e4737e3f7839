"""What is deployed is what production needs and no more, and it runs from the zip."""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from azure.eventhub import EventData, EventHubProducerClient

from commands.backup import Backup, Header
from local.azurite import Azurite
from local.eventhubs.server import EventHubsEndpoint
from local.package import ROOT, deployed, write
from local.parts import app_settings
from local.ports import find_free
from local.processes import Part
from tests.support.events import usage_event
from tests.test_imports import MAY_IMPORT

NOT_DEPLOYED = {"commands", "usage_cli"}
"""Beside the app, from a checkout."""
BESIDES = {"host.json", "requirements.txt", "LICENSE"}
PAGES = {"dashboard"} & {path.name for path in ROOT.iterdir()}
"""Files that the API hands out."""


def test_the_package_holds_the_app_and_what_the_platform_reads() -> None:
    top = {path.split("/")[0].removesuffix(".py") for path in deployed()}
    assert top == set(MAY_IMPORT) - NOT_DEPLOYED | BESIDES | PAGES
    others = {path for path in deployed() if not path.endswith(".py")} - BESIDES
    assert {path for path in others if path.split("/")[0] not in PAGES} == set()


def test_what_is_of_this_machine_alone_stays_here(tmp_path: Path) -> None:
    (tmp_path / ".funcignore").write_bytes((ROOT / ".funcignore").read_bytes())
    for path in ("local.settings.json", ".env", ".azure/prod/.env", "api/.secret", "api/__pycache__/a.pyc", "x.md"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("secret")
    (tmp_path / "api/kept.py").write_text("")
    assert deployed(tmp_path) == ["api/kept.py"]


async def test_an_export_in_the_folder_of_the_app_is_neither_deployed_nor_committed(tmp_path: Path) -> None:
    for name in (".funcignore", ".gitignore"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "kept.py").write_text("")

    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield {"PartitionKey": "p", "RowKey": "r", "user": "ann@example.com"}

    for finished in (False, True):
        backup = Backup(tmp_path / "any" / f"name-{finished}")
        with backup.held():
            header, parts = backup.begun(Header("2026-11-21T12:00:00Z", ("apps",), 1, 2))
        backup.go_on(header, parts)
        parts.append(await backup.write("apps", "p", rows()))
        (backup.folder / "apps/p.ndjson.part").write_text("ann@example.com")
        if finished:
            backup.finish(header, parts, "2026-11-21T12:00:00Z")
    assert deployed(tmp_path) == ["kept.py"]
    git = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    git(["git", "init", "-q"])
    git(["git", "add", "-A"])
    assert git(["git", "ls-files"]).stdout.split() == [".funcignore", ".gitignore", "kept.py"]


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for path in deployed():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes((ROOT / path).read_bytes())
            os.utime(tmp_path / name / path, (0, 10**9 * (name == "two")))
        (tmp_path / name / ".funcignore").write_bytes((ROOT / ".funcignore").read_bytes())
    assert write(tmp_path / "1.zip", tmp_path / "one") == write(tmp_path / "2.zip", tmp_path / "two")
    (tmp_path / "two/host.json").write_text("{}")
    assert write(tmp_path / "1.zip", tmp_path / "one") != write(tmp_path / "2.zip", tmp_path / "two")


@pytest.fixture
def app(tmp_path: Path, azurite: Azurite, event_hubs: EventHubsEndpoint) -> Iterator[str]:
    """The app from the unpacked zip, and its address. Of this repository it can import the host alone."""
    write(tmp_path / "package.zip")
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        package.extractall(tmp_path / "app")
    (tmp_path / "host").mkdir()
    (tmp_path / "host/local").symlink_to(ROOT / "local")
    (port,) = find_free(1)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("UsageStorage", "PYTHON"))}
    env |= app_settings(azurite.connection_string, event_hubs.connection_string())
    env |= {"TABLE_PREFIX": f"p{uuid4().hex[:12]}", "PYTHONPATH": str(tmp_path / "host"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "local.functions_host", "--app", str(tmp_path / "app"), "--port", str(port)]
    host = Part("The packaged app", command, tmp_path / "log", cwd=tmp_path / "app", env=env)
    host.start()
    try:
        host.wait_for("^ready$", 60)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        host.stop()


def test_the_app_runs_from_the_unpacked_zip(app: str, event_hubs: EventHubsEndpoint) -> None:
    name = f"packaged-{uuid4().hex[:8]}"
    event = usage_event(app_id=name, timestamp=datetime.now(UTC).isoformat())
    connection = event_hubs.connection_string()
    with EventHubProducerClient.from_connection_string(connection, eventhub_name="usage-events") as producer:
        producer.send_batch([EventData(json.dumps(event).encode())])
    deadline = time.monotonic() + 60
    calls = 0
    while not calls and time.monotonic() < deadline:
        calls = _asked(f"{app}/usage?granularity=total&app={name}").get("totals", {}).get("calls", 0)
        time.sleep(0.2)
    assert calls == 1
    assert _asked(f"{app}/openapi.json")["openapi"].startswith("3.1")
    with urlopen(f"{app}/docs") as page:
        assert page.status == 200


def _asked(url: str) -> dict:  # type: ignore[type-arg]
    try:
        with urlopen(url) as answer:
            return json.load(answer)  # type: ignore[no-any-return]
    except HTTPError as error:
        with error:  # a name that no call had yet is refused
            return {}
