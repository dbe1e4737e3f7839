"""A file that one process at a time can hold. The operating system gives it free when that process ends, however."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class Locked(Exception):
    """Another process holds it."""


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the file, which is made and left there: were it deleted, two could each hold one of its name. Raises Locked,
    and OSError where files cannot be held."""
    with path.open("ab") as file:
        try:
            _take(file)
        except (BlockingIOError, PermissionError) as held:
            raise Locked(str(path)) from held
        yield


if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
