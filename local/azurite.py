"""Azurite, the emulator of Table and Blob Storage, as a child process on 127.0.0.1.

    with Azurite() as azurite:                       # in memory, on free ports
        TableServiceClient.from_connection_string(azurite.connection_string)

It comes from npm (`npm ci`; package.json pins the version). One node process serves tables, blobs and queues; the
queue service cannot be left out of it, so it gets a free port and is not mentioned again.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from local.processes import Part, PartError

ACCOUNT = "devstoreaccount1"
# The one key every emulator of Azure Storage has; Microsoft documents it. It opens nothing but a local emulator.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
OLDEST_NODE = 20

_SCRIPT = Path(__file__).resolve().parents[1] / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_START_SECONDS = 60.0
_PORT_TAKEN = re.compile(r"EADDRINUSE: address already in use \S*?:(\d+)$", re.MULTILINE)


class Azurite:
    """A running Azurite between `start` and `stop`; also a context manager.

    Args:
        data_dir: where tables and blobs are kept; None keeps them in memory, and they end with the process.
        table_port: 0 takes a free port, which `restart` keeps.
        blob_port: as table_port.
        log_path: default: `azurite.log` in data_dir, or in a temporary folder.
    """

    def __init__(
        self, data_dir: Path | None = None, table_port: int = 0, blob_port: int = 0, *, log_path: Path | None = None
    ) -> None:
        self.table_port = table_port
        self.blob_port = blob_port
        self._data_dir = Path(data_dir).resolve() if data_dir is not None else None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._log_path = log_path
        self.part: Part | None = None

    @property
    def connection_string(self) -> str:
        """For azure-data-tables and azure-storage-blob. The ports are known once it has started."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self.blob_port}/{ACCOUNT};"
            f"TableEndpoint=http://127.0.0.1:{self.table_port}/{ACCOUNT};"
        )

    def start(self) -> None:
        """Returns when tables and blobs answer.

        Raises:
            PartError: node or Azurite is not installed, a port is taken, or Azurite ended.
        """
        node = find_node()
        if not _SCRIPT.is_file():
            raise PartError("Azurite is not installed: run `npm ci` in the project's folder")
        home = self._home()
        where = ["--location", str(self._data_dir)] if self._data_dir else ["--inMemoryPersistence"]
        ports = {"blob": self.blob_port, "queue": 0, "table": self.table_port}
        self.part = Part(
            "Azurite",
            [node, str(_SCRIPT), "--silent", "--skipApiVersionCheck", "--disableTelemetry", *where]
            + [word for kind, port in ports.items() for word in _listen_on(kind, port)],
            self._log_path or home / "azurite.log",
            cwd=home,  # in memory, it still looks for files in its working directory
            env={name: value for name, value in os.environ.items() if not name.startswith("AZURITE_")},
        )
        self.part.start()
        try:
            self.blob_port = self._port_of("Blob")
            self.table_port = self._port_of("Table")  # the last of the three to start
        except PartError as exc:
            taken = _PORT_TAKEN.search(self.part.log_text())
            self.stop()
            if taken:
                raise PartError(f"port {taken[1]} is already in use, Azurite cannot listen on it") from exc
            raise

    def stop(self) -> None:
        """Ends the process. What a data_dir holds is written out first."""
        if self.part is not None:
            self.part.stop()
            self.part = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def restart(self) -> None:
        """Stops and starts it on the same ports. In memory, everything stored is lost."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _home(self) -> Path:
        if self._data_dir is not None:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            return self._data_dir
        self._scratch = tempfile.TemporaryDirectory(prefix="azurite-")
        return Path(self._scratch.name)

    def _port_of(self, service: str) -> int:
        assert self.part is not None
        line = rf"^Azurite {service} service is successfully listening at http://\S+:(\d+)$"
        return int(self.part.wait_for(line, _START_SECONDS)[1])


def find_node() -> str:
    """The path of node. Raises PartError when there is none, or only one that is too old."""
    node = shutil.which("node")
    if node is None:
        raise PartError(f"node was not found: Azurite needs Node.js {OLDEST_NODE} or later on the PATH")
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = re.match(r"v(\d+)\.", shown)
    if major is None or int(major[1]) < OLDEST_NODE:
        raise PartError(f"{node} is Node.js {shown or 'of unknown version'}: {OLDEST_NODE} or later is needed")
    return node


def _listen_on(service: str, port: int) -> list[str]:
    return [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
