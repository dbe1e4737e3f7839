"""An answer as JSON or CSV. Pure."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from queries.answer import Answer, figures

CSV_TYPE = "text/csv; charset=utf-8"
JSON_TYPE = "application/json"


def as_json(answer: Answer) -> str:
    """The answer as one JSON object (DESIGN: the query API)."""
    query = answer.query
    return json.dumps(
        {
            "from": query.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "to": query.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "granularity": query.granularity,
            "group_by": list(query.group_by),
            "tz": "UTC",
            "rows": list(answer.rows),
            "totals": answer.totals,
            "coverage": None if answer.coverage is None else round(answer.coverage, 6),
            "next_cursor": None,
        },
        ensure_ascii=False,
    )


def as_csv(answer: Answer) -> str:
    """The rows as CSV (RFC 4180) with one header line; nested values become columns such as `latency_ms_p50`."""
    text = io.StringIO()
    header = ["start", *answer.query.group_by, *_flat(figures({}))]
    writer = csv.DictWriter(text, header, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in _flat(row).items()} for row in answer.rows)
    return text.getvalue()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}_{part}": inner for part, inner in value.items()})
        else:
            flat[name] = value
    return flat


def _cell(value: Any) -> Any:
    """A spreadsheet would run text that begins like a formula; an apostrophe keeps it text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
