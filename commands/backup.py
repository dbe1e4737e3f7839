"""The files of an export.

FOLDER/files.ndjson     what the export is of; then a line for each file that is whole
FOLDER/manifest.json    written at the end: without it the export is not finished; it vouches for files.ndjson
FOLDER/{table}/*.ndjson.gz    one partition each, a row a line (ledger/odata.py), in the order of their keys
FOLDER/.gitignore       of everything; .funcignore names the files, so that they are not deployed
FOLDER/.lock            empty; whoever writes the export holds it (commands/lock.py)
"""

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from commands.lock import Locked, lock
from ledger import directory
from ledger.odata import dump_row, load_row
from ledger.snapshot import measures_in
from ledger.store import Entity
from models.measures import Measures, add

FORMAT: Final = "usage-export/1"
FILES: Final = "files.ndjson"
MANIFEST: Final = "manifest.json"
LOCK: Final = ".lock"
OWN: Final = (".gitignore", LOCK, f"{FILES}.part")
"""What may lie in the folder before an export begins: it was stopped there."""


class Damaged(ValueError):
    """A file is not what was written."""


@dataclass(frozen=True, slots=True)
class Header:
    """`tables` in the order in which they are read; times are RFC 3339 in UTC. `oldest` and `newest` are the schema
    versions of the rows. `replay_from_utc`: for each hub, from when its events may not be in the files; None: any.
    `reached`: for each hub and partition the enqueued time and the number of the last event that was counted.
    `account` (where its tables answer, without the scheme) and `table_prefix` say whose tables these are; None in
    exports of the time before they did."""

    begun_utc: str
    tables: tuple[str, ...]
    oldest: int
    newest: int
    format: str = FORMAT
    replay_from_utc: dict[str, str | None] = field(default_factory=dict)
    account: str | None = None
    table_prefix: str | None = None
    reached: dict[str, dict[str, tuple[str, int]]] = field(default_factory=dict)

    @property
    def told(self) -> list[str]:
        """In words what must be the same when the export is gone on with."""
        tables = f"tables {', '.join(self.tables)}"
        version = f"schema version {self.newest}"
        return [f"account {self.account!r}", f"TABLE_PREFIX {self.table_prefix!r}", tables, version]


@dataclass(slots=True)
class Content:
    """What a partition's rows come to: `kinds` counts them by the first letter of their keys where that tells them
    apart (table `usage`: c, d, h, m), `sums` are those of its month rows, `sha256` is of the lines."""

    rows: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    sums: Measures = field(default_factory=dict)
    sha256: str = ""

    def take(self, table: str, entity: Entity) -> None:
        self.rows += 1
        if table == "usage":
            kind = entity["RowKey"][0]
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if kind == "m":
                add(self.sums, measures_in(entity))


@dataclass(frozen=True, slots=True)
class Part:
    """One file, which is one partition."""

    table: str
    partition: str
    file: str
    content: Content


class Backup:
    """The folder of an export. Raises OSError, and ValueError for files that are no export."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def is_finished(self) -> bool:
        return (self.folder / MANIFEST).exists()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While this process writes the export: two would spoil its list of files. Raises ValueError if another one
        does, or the folder holds something else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / FILES).exists() and any(path.name not in OWN for path in self.folder.iterdir()):
            raise ValueError(f"{self.folder} is not empty: expected a new folder, or an export that was not finished")
        try:
            with lock(self.folder / LOCK):
                yield
        except Locked as held:
            raise ValueError(f"another export is being written to {self.folder}: wait until it ends") from held

    def begun(self, header: Header) -> tuple[Header, list[Part]]:
        """The header, and the files that are whole: those of an export that was not finished, which is gone on with. Of
        table `directory` none is: apps came to it since, and it has to name those of the files that are still to be
        written. Raises ValueError if it is finished."""
        if self.is_finished:  # perhaps just now, by another process
            raise ValueError(f"{self.folder} holds a finished export: expected a new folder")
        path = self.folder / FILES
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]  # the last line has no end if the process ended in it
        if not whole:
            return header, []
        header, parts = _parsed(path, whole)
        return header, [part for part in parts if part.table != directory.TABLE]

    def go_on(self, header: Header, parts: list[Part]) -> None:
        """Begin the list of files with these."""
        (self.folder / ".gitignore").write_text("*\n")  # whoever has the files has the data
        _put(self.folder / FILES, b"".join([_line(asdict(header)), *(_line(asdict(part)) for part in parts)]))

    def read(self) -> tuple[Header, list[Part]]:
        """What a finished export is of. Nothing of the folder is changed. Raises ValueError if the list of its files is
        not the one that the manifest was written of: then files are not known of, or those of another export are."""
        path, vouching = self.folder / FILES, self.folder / MANIFEST
        try:
            manifest = json.loads(vouching.read_bytes())
            ended, _, _ = (manifest[name] for name in ("ended_utc", "files", "tables"))
        except (ValueError, KeyError, TypeError) as fault:
            raise ValueError(f"{vouching} is damaged, take it from a copy of the export: {fault!r}") from fault
        content = path.read_bytes()
        header, parts = _parsed(path, content)
        own = _manifest(header, parts, ended, content)
        if "sha256" not in manifest:  # of the time before it: the counts have to do
            own = {name: value for name, value in own.items() if name in manifest}
        if manifest != own:
            raise ValueError(
                f"{path} is not the list that {vouching.name} was written of: one of the two is damaged, or of another "
                "export; take both from a copy of the export"
            )
        return header, parts

    async def write(self, table: str, partition: str, rows: AsyncIterator[Entity]) -> Part:
        """A partition as a file, which is there whole or not at all."""
        name = f"{table}/{_file_name(partition)}"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        content, digest = Content(), hashlib.sha256()
        with unfinished.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=6) as lines:
            async for entity in rows:
                line = dump_row(entity).encode() + b"\n"
                lines.write(line)
                digest.update(line)
                content.take(table, entity)
        content.sha256 = digest.hexdigest()
        _keep(unfinished)
        unfinished.replace(path)
        part = Part(table, partition, name, content)
        with (self.folder / FILES).open("ab") as lines:
            lines.write(_line(asdict(part)))
            lines.flush()
            os.fsync(lines.fileno())
        return part

    def finish(self, header: Header, parts: list[Part], ended_utc: str) -> None:
        manifest = _manifest(header, parts, ended_utc, (self.folder / FILES).read_bytes())
        _put(self.folder / MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")

    def rows(self, part: Part) -> Iterator[Entity]:
        """The rows of a file. Raises Damaged where it is not what was written."""
        content, digest = Content(), hashlib.sha256()
        path = self.folder / part.file
        last = ""
        try:
            with gzip.open(path, "rb") as lines:
                for line in lines:
                    entity = load_row(line)
                    if entity["PartitionKey"] != part.partition or entity["RowKey"] <= last:
                        raise ValueError("a row is in another partition, or not in order")
                    last = entity["RowKey"]
                    digest.update(line)
                    content.take(part.table, entity)
                    yield entity
        except (EOFError, OSError, zlib.error, ValueError) as fault:
            raise Damaged(f"{path} is damaged: {fault}") from fault
        content.sha256 = digest.hexdigest()
        if content != part.content:
            raise Damaged(f"{path} is damaged: its rows, sums or SHA-256 are not those that {FILES} has of it")


def _parsed(path: Path, content: bytes) -> tuple[Header, list[Part]]:
    """The lines of FILES."""
    lines = content.splitlines()
    try:
        first, *others = [json.loads(line) for line in lines] or [{}]
        if first.get("format") != FORMAT:
            raise ValueError(f"expected an export of the format {FORMAT}, not {first.get('format')!r}")
        header = Header(**{**first, "tables": tuple(first["tables"])})
        parts = [Part(**{**each, "content": Content(**each["content"])}) for each in others]
        if unknown := {part.table for part in parts} - set(header.tables):
            raise ValueError(f"its first line does not name {', '.join(unknown)}")
        return header, parts
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"{path} is damaged, or not of this version's exports: {fault}") from fault


def _manifest(header: Header, parts: list[Part], ended_utc: str, files: bytes) -> dict[str, Any]:
    """`files` is the content of FILES: with its digest those in it are vouched for."""
    told: dict[str, Any] = json.loads(json.dumps(asdict(header)))
    told |= {"ended_utc": ended_utc, "files": len(parts), "tables": _by_table(header, parts)}
    return told | {"sha256": hashlib.sha256(files).hexdigest()}


def _by_table(header: Header, parts: list[Part]) -> dict[str, Any]:
    tables: dict[str, Any] = {table: {"partitions": 0, "rows": 0} for table in header.tables}
    for part in parts:
        tables[part.table]["partitions"] += 1
        tables[part.table]["rows"] += part.content.rows
    return tables


def _file_name(partition: str) -> str:
    """Readable, and another one for every partition, also where file names have no case."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", partition)[:60]
    return f"{readable}-{hashlib.sha256(partition.encode()).hexdigest()[:16]}.ndjson.gz"


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def _put(path: Path, content: bytes) -> None:
    """A file that is there whole, or as it was before."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(content)
    _keep(unfinished)
    unfinished.replace(path)


def _keep(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
