"""An answer as JSON, and rows as CSV or as lines of JSON. Pure."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from queries.answer import FIGURES, Answer, flat
from queries.buckets import zone_text
from queries.compare import change
from queries.question import RESOLUTION, START, UsageQuery
from queries.spans import source_of

CSV_TYPE: Final = "text/csv; charset=utf-8"
JSON_TYPE: Final = "application/json"
NDJSON_TYPE: Final = "application/x-ndjson"


def attachment(name: str, start: datetime, end: datetime, zone: ZoneInfo) -> dict[str, str]:
    """The header with which a browser keeps CSV as a file: this name, and the first and last day of the range."""
    last = max(start, end - RESOLUTION)
    days = "_".join(dict.fromkeys(f"{edge.astimezone(zone):%Y-%m-%d}" for edge in (start, last)))
    return {"Content-Disposition": f'attachment; filename="{name}_{days}.csv"'}


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
            "rows": shown(query, answer.rows),
            "totals": _chosen(answer.totals, query.figures),
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
        "totals": _chosen(before.totals, answer.query.figures),
        "coverage": _share(before.coverage),
        "not_aggregated": before.not_aggregated,
    }
    return {"previous": previous, "change": _chosen(change(answer.totals, before.totals), answer.query.figures)}


def shown(query: UsageQuery, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows with the figures that were asked for."""
    wanted = query.figures and query.figures | {START, *query.group_by}
    return [_chosen(row, wanted) for row in rows]


def _chosen(values: Mapping[str, Any], wanted: frozenset[str]) -> Mapping[str, Any]:
    """Those that are `wanted`, also of the range before; all, if that is empty."""
    if not wanted:
        return values
    chosen: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("previous", "change"):
            chosen[name] = _chosen(value, wanted)
        elif isinstance(value, Mapping):
            if parts := {part: inner for part, inner in value.items() if f"{name}_{part}" in wanted}:
                chosen[name] = parts
        elif name in wanted:
            chosen[name] = value
    return chosen


def as_ndjson(rows: Iterable[Mapping[str, Any]]) -> str:
    """Each row as a line of JSON, as it stands in `as_json`."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_csv(query: UsageQuery, rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV; nested values become columns such as `latency_ms_p50`."""
    beside = ("previous", "change") if query.compare else ()
    figures = [name for name in FIGURES if name in query.figures or not query.figures]
    header = [START, *query.group_by, *figures, *(f"{of}_{name}" for of in beside for name in figures)]
    # All but names is figures: an amount that fell begins with a minus, and is no formula.
    return csv_text(header, (flat(row) for row in shown(query, rows)), query.group_by)


def csv_text(header: Sequence[str], rows: Iterable[Mapping[str, Any]], texts: Sequence[str]) -> str:
    """CSV (RFC 4180) with one header line; nulls are empty. `texts` are the columns whose text others chose."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, **{name: _cell(row[name]) for name in texts}})
    return text.getvalue()


def _share(share: float | None) -> float | None:
    """Six places are enough, but only all is 1 and only none is 0."""
    return share if share in (None, 0, 1) else min(max(round(share, 6), 0.000_001), 0.999_999)


_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
"""OWASP, "CSV Injection"."""


def _cell(value: Any) -> Any:
    """A spreadsheet would run text that begins like a formula; an apostrophe keeps it text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA_STARTS else value
