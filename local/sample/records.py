"""The recorded provider responses in samples/recorded.jsonl (where they come from: samples/NOTES.md)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parents[2] / "samples" / "recorded.jsonl"

_MODEL = re.compile(r'"model":\s*"([^"]+)"')
_VERSION = re.compile(r"(:.*|-\d{4}-\d\d-\d\d|-\d{8}|-\d{4}|-v\d|-latest)$")


@dataclass(frozen=True)
class Record:
    """One exchange with a provider. `expected` holds the provider's own numbers; None: it reported none."""

    source: str
    license: str
    commit: str
    provider: str
    operation: str
    request: Mapping[str, Any]
    status: int
    body: str
    streaming: bool
    expected: Mapping[str, Any] | None
    tags: tuple[str, ...]

    @property
    def failed(self) -> bool:
        return self.status >= 400

    @cached_property
    def model(self) -> str:
        """What answered, else what was asked for."""
        named = _MODEL.findall(self.body)
        return named[-1] if named else str(self.request["model"])

    @cached_property
    def deployment(self) -> str:
        """The model's name without its version, as teams name their deployments: `gpt-4o-2024-08-06` → `gpt-4o`."""
        name = self.model
        while (shorter := _VERSION.sub("", name)) != name:
            name = shorter
        return name


def load_records(path: Path = RECORDED) -> list[Record]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [_record(json.loads(line)) for line in lines]


def _record(line: dict[str, Any]) -> Record:
    response = line.pop("response")
    return Record(**{**line, "tags": tuple(line["tags"])}, status=response["status"], body=response["body"])
