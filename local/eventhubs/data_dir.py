"""The data directory: a lock, and per hub a folder with hub.json and one log file per partition."""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .errors import EndpointError
from .hub import Hub, HubSpec, Partition
from .partition_log import PartitionLog

_FORMAT = 1
_METADATA = "hub.json"
_LOGS = "partition-*.log"


def report_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class DataDirectory:
    """Owns the directory until close(): no second endpoint can open it meanwhile."""

    def __init__(self, path: Path, report: Callable[[str], None] = report_to_stderr) -> None:
        self._path = path
        self._report = report
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock_file = (path / "lock").open("a")
        except OSError as error:
            raise EndpointError(f"{path} cannot be used as data directory: {error.strerror}") from None
        try:
            _lock(self._lock_file)
        except OSError:
            self._lock_file.close()
            raise EndpointError(f"{path} is in use by another Event Hubs endpoint") from None

    def close(self) -> None:
        self._lock_file.close()  # which also unlocks it

    def open_hub(self, spec: HubSpec, now_ms: int) -> Hub:
        """Open the hub's logs, creating what is not there; a hub may gain partitions but never lose any."""
        folder = self._folder(spec.name)
        created_ms = self._prepare(folder, spec, now_ms)
        with contextlib.ExitStack() as opened:
            partitions = []
            for number in range(spec.partitions):
                log = PartitionLog(folder / f"partition-{number}.log", self._report)
                opened.callback(log.close)
                partitions.append(Partition(str(number), log))
            opened.pop_all()  # all are open: they are the hub's to close now
        return Hub(spec, created_ms, partitions)

    def delete_hub(self, hub: Hub) -> None:
        """Delete the files of a hub that is closed."""
        folder = self._folder(hub.name)
        for log in folder.glob(_LOGS):
            log.unlink()
        (folder / _METADATA).unlink()

    def _folder(self, hub_name: str) -> Path:
        return self._path / hub_name.lower()

    def _prepare(self, folder: Path, spec: HubSpec, now_ms: int) -> int:
        """Bring hub.json up to date; answers the time the hub was created."""
        metadata_file = folder / _METADATA
        created_ms, partitions = now_ms, 0
        if metadata_file.exists():
            try:
                metadata = json.loads(metadata_file.read_text("utf-8"))
                known_format = metadata["format"] == _FORMAT
                created_ms, partitions = int(metadata["created_at_ms"]), int(metadata["partitions"])
            except (ValueError, KeyError, TypeError):
                raise EndpointError(f"{metadata_file} cannot be read; move the data directory away") from None
            if not known_format:
                raise EndpointError(f"{metadata_file} was written by another version; move the data directory away")
        elif any(folder.glob(_LOGS)):
            raise EndpointError(f"{metadata_file} is missing beside its logs; move the data directory away")
        if spec.partitions < partitions:
            raise EndpointError(
                f"hub {spec.name} has {partitions} partitions in {folder}: it cannot be served with {spec.partitions}"
            )
        if spec.partitions > partitions:
            folder.mkdir(exist_ok=True)
            content = {"format": _FORMAT, "created_at_ms": created_ms, "partitions": spec.partitions}
            scratch = metadata_file.with_suffix(".new")
            scratch.write_text(json.dumps(content) + "\n", "utf-8")
            scratch.replace(metadata_file)
        return created_ms


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: no lock, two endpoints there are told apart by their port only
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
