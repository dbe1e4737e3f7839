"""The fixtures: per dialect a file `fixtures/<module>.json` of cases, each a record and what must become of it.

A case is `{"record": ..., "call": {...}}`, or instead of `call`

    "half": {...}         a half of a call: its `kind`, and members of the call
    "dead_letter": {...}
    "ignored": true

each naming the members that are of interest. In the place of `record`, `"like": <name>, "but": {...}` takes the record
of a case before it with other members, also in its `properties`. What must never be kept contains MARK.
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
    half: dict[str, Any] | None
    dead_letter: dict[str, Any] | None
    ignored: bool


def cases(*, only: str | None = None) -> list[Case]:
    return [
        case
        for file in sorted((Path(__file__).parent / "fixtures").glob("*.json"))
        if only in (None, file.stem)
        for case in _cases(file)
    ]


def _cases(file: Path) -> list[Case]:
    stated: dict[str, dict[str, Any]] = json.loads(file.read_text())
    for case in stated.values():
        if "like" in case:
            case["record"] = _changed(stated[case["like"]]["record"], case.get("but", {}))
    return [
        Case(
            file.stem,
            name,
            case["record"],
            case.get("call"),
            case.get("half"),
            case.get("dead_letter"),
            case.get("ignored", False),
        )
        for name, case in stated.items()
    ]


def _changed(record: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    changed = record | changes
    if isinstance(changes.get("properties"), dict):
        changed["properties"] = record["properties"] | changes["properties"]
    return changed


def record_of(module: str, name: str) -> dict[str, Any]:
    """A fresh copy of one case's record."""
    return next(case.record for case in cases(only=module) if case.name == name)
