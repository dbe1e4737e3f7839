"""The fixtures: per dialect a file `fixtures/<module>.json` of cases, each a record and what must become of it.

A case is `{"record": ..., "call": {...}}` or `{"record": ..., "dead_letter": {...}}`, the latter naming the members
that are of interest. What must never be kept contains MARK.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

MARK = "MARK"


class Case(NamedTuple):
    module: str
    name: str
    record: dict[str, Any]
    call: dict[str, Any] | None
    dead_letter: dict[str, Any] | None


def cases(*, only: str | None = None) -> list[Case]:
    return [
        Case(file.stem, name, case["record"], case.get("call"), case.get("dead_letter"))
        for file in sorted((Path(__file__).parent / "fixtures").glob("*.json"))
        if only in (None, file.stem)
        for name, case in json.loads(file.read_text()).items()
    ]


def record_of(module: str, name: str) -> dict[str, Any]:
    """A fresh copy of one case's record."""
    return next(case.record for case in cases(only=module) if case.name == name)
