"""`make package`: the zip that is deployed, of the files that .funcignore leaves.

The same files give the same bytes, whenever and wherever it is made, so that a package can be told by its hash. It
holds no dependencies: Azure installs them from requirements.txt, each by its hash (remote build).
"""

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "dist/llm-usage-collector.zip"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can name."""


def deployed(root: Path = ROOT) -> list[str]:
    """The files below `root` that are deployed, sorted, with `/` between folders."""
    return sorted(_left(root, GitIgnoreSpec.from_lines((root / ".funcignore").read_text().splitlines())))


def _left(root: Path, ignored: GitIgnoreSpec) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        at = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if not ignored.match_file(f"{(at / name).as_posix()}/")]
        for name in files:
            path = (at / name).as_posix()
            if not ignored.match_file(path):
                yield path


def write(target: Path, root: Path = ROOT) -> str:
    """Writes the zip and returns its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as package:
        for path in deployed(root):
            entry = zipfile.ZipInfo(path, _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            package.writestr(entry, (root / path).read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main() -> int:
    digest = write(TARGET)
    print(f"{TARGET.relative_to(ROOT)}: {len(deployed())} files, {TARGET.stat().st_size // 1024} kB, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
