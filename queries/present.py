"""An answer as JSON or CSV. Pure."""

import csv
import io
import json
from typing import Any

from queries.answer import FIGURES, Answer, flat
from queries.buckets import zone_text
from queries.compare import change
from queries.spans import source_of

CSV_TYPE = "text/csv; charset=utf-8"
JSON_TYPE = "application/json"


def as_json(answer: Answer, next_cursor: str | None = None) -> str:
    """The answer as one JSON object."""
    query = answer.query
    return json.dumps(
        {
            "from": zone_text(query.start, query.zone),
            "to": zone_text(query.end, query.zone),
            "granularity": query.granularity,
            "group_by": list(query.group_by),
            "tz": query.zone.key,
            "currency": "USD",
            "source": source_of(query),
            "rows": list(answer.rows),
            "totals": answer.totals,
            "coverage": _share(answer.coverage),
            "estimated_share": {of: _share(share) for of, share in answer.estimated_share.items()},
            "not_aggregated": answer.not_aggregated,
            "next_cursor": next_cursor,
            **_previous(answer),
        },
        ensure_ascii=False,
    )


def _previous(answer: Answer) -> dict[str, Any]:
    """The range before, and by how much the totals grew since, if that was asked for."""
    before = answer.previous
    if before is None:
        return {}
    query = before.query
    previous = {
        "from": zone_text(query.start, query.zone),
        "to": zone_text(query.end, query.zone),
        "totals": before.totals,
        "coverage": _share(before.coverage),
        "not_aggregated": before.not_aggregated,
    }
    return {"previous": previous, "change": change(answer.totals, before.totals)}


def as_csv(answer: Answer) -> str:
    """The rows as CSV (RFC 4180) with one header line; nested values become columns such as `latency_ms_p50`."""
    text = io.StringIO()
    beside = ("previous", "change") if answer.previous is not None else ()
    header = ["start", *answer.query.group_by, *FIGURES, *(f"{of}_{name}" for of in beside for name in FIGURES)]
    writer = csv.DictWriter(text, header, lineterminator="\r\n")
    writer.writeheader()
    names = answer.query.group_by  # all else is figures: an amount that fell begins with a minus, and is no formula
    for row in answer.rows:
        writer.writerow({name: _cell(value) if name in names else value for name, value in flat(row).items()})
    return text.getvalue()


def _share(share: float | None) -> float | None:
    """Six places are enough, but only all is 1 and only none is 0."""
    return share if share in (None, 0, 1) else min(max(round(share, 6), 0.000_001), 0.999_999)


_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
"""OWASP, "CSV Injection"."""


def _cell(value: Any) -> Any:
    """A spreadsheet would run text that begins like a formula; an apostrophe keeps it text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA_STARTS else value
