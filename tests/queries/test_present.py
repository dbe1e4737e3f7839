"""queries.present: one answer as JSON and as CSV, with the same figures."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.answer import Answer, figures
from queries.present import as_csv, as_json, as_ndjson
from queries.question import UsageQuery

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"
"""OWASP, "CSV Injection": with these a cell may be run as a formula, by one spreadsheet or another."""


def answer(*apps: str | None, coverage: float | None = 1.0, **sums: int) -> Answer:
    query = UsageQuery(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), "day", ("app",), {})
    rows: list[dict[str, Any]] = [{"start": "2026-11-01T00:00:00Z", "app": app, **figures(sums)} for app in apps]
    return Answer(query, rows, figures(sums), coverage, {"calls": 0.0, "tokens": 0.0}, {})


def csv_of(shown: Answer) -> str:
    return as_csv(shown.query, shown.rows)


def read_csv(text: str) -> list[list[str]]:
    """A CSV as a strict reader takes it."""
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_json_names_the_question_it_answers() -> None:
    shown = json.loads(as_json(answer("a", calls=1)))
    assert {
        name: shown[name] for name in ("from", "to", "granularity", "group_by", "tz", "coverage", "next_cursor")
    } == {
        "from": "2026-11-01T00:00:00Z",
        "to": "2026-11-02T00:00:00Z",
        "granularity": "day",
        "group_by": ["app"],
        "tz": "UTC",
        "coverage": 1.0,
        "next_cursor": None,
    }
    assert shown["rows"][0]["calls"] == shown["totals"]["calls"] == 1


@pytest.mark.parametrize("coverage", [2_999_999 / 3_000_000, 1 / 10_000_000])
def test_coverage_is_1_only_if_all_calls_reported_and_0_only_if_none_did(coverage: float) -> None:
    """One call of three million without usage is not full coverage: no rounding may say so."""
    assert 0 < json.loads(as_json(answer("a", coverage=coverage)))["coverage"] < 1


def test_no_coverage_is_null() -> None:
    assert json.loads(as_json(answer(coverage=None)))["coverage"] is None


@given(
    st.lists(
        st.none() | st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(list('",\r\n;\t\x00')),
        max_size=4,
    )
)
def test_any_name_survives_csv_json_and_ndjson(apps: list[str | None]) -> None:
    """CSV as RFC 4180 has it: lines end with CRLF, and commas, quotes and line breaks stand inside quotes."""
    text = csv_of(answer(*apps, calls=7))
    header, *rows = read_csv(text)
    assert text.endswith("\r\n")
    assert [row[1].removeprefix("'") for row in rows] == [(app or "").removeprefix("'") for app in apps]
    assert {len(row) for row in rows} <= {len(header)}
    assert {row[header.index("calls")] for row in rows} <= {"7"}
    shown = answer(*apps, calls=7)
    assert [row["app"] for row in json.loads(as_json(shown))["rows"]] == apps
    lines = as_ndjson(shown.rows)
    assert lines.count("\n") == len(apps)
    assert [json.loads(line) for line in lines.split("\n")[:-1]] == json.loads(as_json(shown))["rows"]


def test_csv_has_a_header_even_without_rows_and_flat_columns() -> None:
    (header,) = read_csv(csv_of(answer()))
    assert header[:3] == ["start", "app", "calls"]
    assert header[-3:] == ["latency_ms_p50", "latency_ms_p95", "latency_ms_p99"]
    assert len(set(header)) == len(header)


@pytest.mark.parametrize("first", FORMULA_STARTS, ids=lambda first: f"U+{ord(first):04X}")
def test_no_csv_cell_is_a_formula(first: str) -> None:
    _, (_, app, *_) = read_csv(csv_of(answer(f"{first}cmd|' /C calc'!A0")))
    assert app == f"'{first}cmd|' /C calc'!A0"


def test_figures_name_every_count_so_that_no_answer_lacks_a_column() -> None:
    shown = figures({"prompt_tokens": 3, "audio_microseconds": 1_500_000})
    assert shown["prompt_tokens"] == 3
    assert shown["calls"] == shown["total_tokens"] == shown["missing_truncated"] == 0
    assert shown["audio_seconds"] == 1.5


@pytest.mark.parametrize(
    ("figures", "shown"),
    [
        (["calls"], {"calls": 3}),
        (["cost", "latency_ms_p95"], {"cost": "0", "latency_ms": {"p95": None}}),
        (["latency_ms_p50", "latency_ms_p99"], {"latency_ms": {"p50": None, "p99": None}}),
    ],
)
def test_only_the_figures_that_were_asked_for(figures: list[str], shown: dict[str, Any]) -> None:
    whole = answer("a", calls=3)
    asked = replace(whole, query=replace(whole.query, figures=frozenset(figures)))
    told = json.loads(as_json(asked))
    assert told["rows"] == [{"start": "2026-11-01T00:00:00Z", "app": "a", **shown}]
    assert told["totals"] == shown
    assert read_csv(csv_of(asked))[0] == ["start", "app", *figures]
