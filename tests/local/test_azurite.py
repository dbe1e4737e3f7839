"""Azurite as a child process: what it keeps, and what it says when it cannot start."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from local.azurite import Azurite
from local.processes import PartError


def test_tables_and_blobs_survive_a_restart_with_a_data_dir(tmp_path: Path) -> None:
    with (
        Azurite(tmp_path / "data") as azurite,
        TableServiceClient.from_connection_string(azurite.connection_string) as tables,
        BlobServiceClient.from_connection_string(azurite.connection_string) as blobs,
    ):
        tables.create_table("kept").create_entity({"PartitionKey": "p", "RowKey": "r", "tokens": 7})
        blobs.create_container("kept").upload_blob("note", b"still here")

        azurite.restart()

        assert tables.get_table_client("kept").get_entity("p", "r")["tokens"] == 7
        assert blobs.get_blob_client("kept", "note").download_blob().readall() == b"still here"


def test_memory_forgets_at_a_restart_and_keeps_its_ports() -> None:
    with (
        Azurite() as azurite,
        TableServiceClient.from_connection_string(azurite.connection_string) as tables,
    ):
        tables.create_table("forgotten").create_entity({"PartitionKey": "p", "RowKey": "r"})
        ports = azurite.table_port, azurite.blob_port

        azurite.restart()

        assert (azurite.table_port, azurite.blob_port) == ports
        with pytest.raises(ResourceNotFoundError):
            tables.get_table_client("forgotten").get_entity("p", "r")


@pytest.mark.parametrize("service", ["table", "blob"])
def test_a_taken_port_is_one_line_and_leaves_nothing_running(service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        azurite = Azurite(table_port=port) if service == "table" else Azurite(blob_port=port)
        with pytest.raises(PartError, match=rf"^port {port} is already in use, Azurite cannot listen on it$"):
            azurite.start()
        assert azurite.part is None


def test_a_missing_node_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PartError, match=r"^node was not found: Azurite needs Node\.js 20 or later on the PATH$"):
        Azurite().start()


def test_an_old_node_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v16.3.0\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{Path(str(shutil.which('sh'))).parent}")
    with pytest.raises(PartError, match=r"is Node\.js v16\.3\.0: 20 or later is needed$"):
        Azurite().start()


def test_stop_ends_the_process_and_can_be_called_twice(tmp_path: Path) -> None:
    azurite = Azurite(tmp_path)
    azurite.start()
    assert azurite.part is not None
    pid = azurite.part.pid
    assert pid is not None
    azurite.stop()
    azurite.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
