"""An answer as JSON or CSV. Pure."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from queries.answer import Answer, figures
from queries.spans import utc_text

CSV_TYPE = "text/csv; charset=utf-8"
JSON_TYPE = "application/json"


def as_json(answer: Answer) -> str:
    """The answer as one JSON object (DESIGN: the query API)."""
    query = answer.query
    return json.dumps(
        {
            "from": utc_text(query.start),
            "to": utc_text(query.end),
            "granularity": query.granularity,
            "group_by": list(query.group_by),
            "tz": "UTC",
            "currency": "USD",
            "rows": list(answer.rows),
            "totals": answer.totals,
            "coverage": _share(answer.coverage),
            "estimated_share": {of: _share(share) for of, share in answer.estimated_share.items()},
            "not_aggregated": answer.not_aggregated,
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


def _share(share: float | None) -> float | None:
    """Six places are enough, but only all is 1 and only none is 0."""
    return share if share in (None, 0, 1) else min(max(round(share, 6), 0.000_001), 0.999_999)


_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
"""OWASP, "CSV Injection"."""


def _cell(value: Any) -> Any:
    """A spreadsheet would run text that begins like a formula; an apostrophe keeps it text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA_STARTS else value
