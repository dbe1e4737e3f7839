"""A file of events -> the bodies of the events in it, for `replay --file`.

    one JSON object or array of objects on each line, each line an event
    one JSON document: an object is an event, of an array each item

also compressed with gzip, which its first bytes tell.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from pydantic_core import from_json, to_json

MAX_DOCUMENT_BYTES: Final = 256 * 1024 * 1024
"""Of a file that is one document. One of lines is read line by line, however long it is."""
LOOKED_AT: Final = 1000
"""Lines, of which one must be a JSON object."""
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_CONTROL: Final = re.compile(rb"[\x00-\x08]")


class Body(NamedTuple):
    """Of one event, and where it stands: the number of its line, or of its item in the document, from 1."""

    place: int
    text: bytes


class EventFile(NamedTuple):
    """`unit` says what the places of the bodies count."""

    unit: str
    bodies: Iterator[Body]


@contextmanager
def open_events(path: Path) -> Iterator[EventFile]:
    """Raises OSError or ValueError if it cannot be read or holds no events, before any is read; while it is read,
    ValueError for an archive that is broken."""
    try:
        with closing(_opened(path)) as file:
            start = list(islice(file, LOOKED_AT))
        if (document := None if _are_lines(start) else _document(path)) is not None:
            yield EventFile("item", (Body(place, to_json(item)) for place, item in enumerate(document, start=1)))
        elif _have_an_object(start):
            with closing(_opened(path)) as file:
                yield EventFile("line", (Body(at, line) for at, line in enumerate(file, start=1) if line.strip()))
        else:
            raise ValueError(
                f"{path} holds no events: expected a JSON object on each line, or one JSON object or array of objects, "
                "in UTF-8, also compressed with gzip"
            )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is a broken archive: {error}") from error


def _are_lines(start: list[bytes]) -> bool:
    """By the first that is not blank."""
    written = next((line for line in start if line.strip()), b"")
    return _objects(written.removeprefix(_BOM)) is not None


def _have_an_object(start: list[bytes]) -> bool:
    is_text = not any(_CONTROL.search(line) for line in start)
    return is_text and any(_objects(line.removeprefix(_BOM)) is not None for line in start)


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_compressed = file.read(2) == _GZIP
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_compressed else path.open("rb")


def _objects(text: bytes) -> list[object] | None:
    """The object, or the items of an array of which one is an object; None for anything else."""
    try:
        value = from_json(text)
    except ValueError:
        return None
    items = value if isinstance(value, list) else [value]
    return items if any(isinstance(item, dict) for item in items) else None


def _document(path: Path) -> list[object] | None:
    with closing(_opened(path)) as file:
        text = file.read(MAX_DOCUMENT_BYTES + 1)
    return _objects(text.removeprefix(_BOM)) if len(text) <= MAX_DOCUMENT_BYTES else None
