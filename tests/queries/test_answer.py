"""queries.answer: rows are grouped and summed, whatever order they are read in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.store import Entity
from models.errors import QueryError
from prices.book import PriceBook
from prices.entry import read_entry
from queries.answer import Answer, Fold
from queries.question import UsageQuery

QUERY = UsageQuery(
    start=datetime(2026, 11, 1, tzinfo=UTC),
    end=datetime(2026, 12, 1, tzinfo=UTC),
    granularity="day",
    group_by=("app", "model"),
    filters={},
)

UNPRICED = PriceBook({}, None)
APPS = ("a", "b")
MODELS = (None, "m1", "m2")


def row(day: int = 1, model: str | None = "m1", **counters: int) -> Entity:
    """A day row as the store gives it."""
    calls = {"calls": 1} | counters
    columns: dict[str, Any] = {"PartitionKey": "a|202611", "RowKey": f"d|202611{day:02}|x|hub-0", **calls}
    return columns if model is None else {**columns, "model": model}


def answered(
    query: UsageQuery, rows: list[tuple[str, Entity]], max_rows: int = 1000, book: PriceBook = UNPRICED
) -> Answer:
    fold = Fold(query, max_rows, book)
    for app, columns in rows:
        fold.take(app, columns)
    return fold.answer()


some_rows = st.lists(
    st.tuples(
        st.sampled_from(APPS),
        st.builds(
            row,
            day=st.integers(1, 4),
            model=st.sampled_from(MODELS),
            calls=st.integers(0, 9),
            usage_reported=st.integers(0, 9),
            prompt_tokens=st.integers(0, 2**60),
        ),
    ),
    max_size=12,
)


@given(some_rows, st.data())
def test_the_order_in_which_rows_are_read_changes_nothing(rows: list[tuple[str, Entity]], data: st.DataObject) -> None:
    assert answered(QUERY, rows) == answered(QUERY, data.draw(st.permutations(rows)))


@given(some_rows, st.sampled_from([("app", "model"), ("model",), ("app",), ()]))
def test_totals_are_the_sum_of_the_rows_and_every_row_is_summed_once(
    rows: list[tuple[str, Entity]], group_by: tuple[str, ...]
) -> None:
    answer = answered(replace(QUERY, group_by=group_by), rows)
    for name in ("calls", "usage_reported", "prompt_tokens"):
        total = sum(columns[name] for _, columns in rows)
        assert answer.totals[name] == total == sum(answered_row[name] for answered_row in answer.rows)


def test_rows_come_by_start_then_by_group_with_the_unnamed_first() -> None:
    rows = [("b", row(1)), ("a", row(2)), ("a", row(1, "m2")), ("a", row(1, None)), ("a", row(1, "m1"))]
    shown = [(found["start"][8:10], found["app"], found["model"]) for found in answered(QUERY, rows).rows]
    assert shown == [("01", "a", None), ("01", "a", "m1"), ("01", "a", "m2"), ("01", "b", "m1"), ("02", "a", "m1")]


def test_groups_that_all_calls_have_left_are_no_rows() -> None:
    """A call is corrected under another model by another writer, which has rows of its own."""
    counted, taken_back = row(1, None, calls=1, usage_missing=1), row(1, None, calls=-1, usage_missing=-1)
    corrected = row(1, "m1", calls=1, usage_reported=1, total_tokens=15)
    answer = answered(QUERY, [("a", counted), ("a", corrected), ("a", taken_back)])
    assert [(each["model"], each["calls"]) for each in answer.rows] == [("m1", 1)]
    assert answer.totals["calls"] == 1


def test_a_filter_leaves_out_what_it_does_not_name_nulls_included() -> None:
    query = replace(QUERY, filters={"model": frozenset({"m1", "None"}), "app": frozenset({"a"})})
    rows = [("a", row(1, "m1", calls=1)), ("a", row(1, "m2", calls=2)), ("a", row(1, None, calls=4))]
    assert answered(query, rows).totals["calls"] == 1


def test_coverage_is_the_share_of_calls_that_reported_usage() -> None:
    rows = [("a", row(1, calls=3, usage_reported=2, usage_missing=1)), ("b", row(2, calls=1, usage_estimated=1))]
    assert answered(QUERY, rows).coverage == 0.5
    assert answered(QUERY, [("a", row(1, calls=2, usage_missing=2))]).coverage == 0


def test_an_answer_says_how_much_of_it_is_estimated() -> None:
    reported = row(1, calls=3, usage_reported=2, usage_missing=1, total_tokens=75)
    estimated = row(2, calls=1, usage_estimated=1, total_tokens=0, estimated_total_tokens=25)
    assert answered(QUERY, [("a", reported), ("b", estimated)]).estimated_share == {"calls": 0.25, "tokens": 0.25}
    assert answered(QUERY, [("b", estimated)]).estimated_share == {"calls": 1, "tokens": 1}
    assert answered(QUERY, [("a", reported)]).estimated_share == {"calls": 0, "tokens": 0}
    assert answered(QUERY, []).estimated_share == {"calls": None, "tokens": None}


def test_without_calls_there_is_no_coverage_rather_than_a_zero() -> None:
    answer = answered(QUERY, [])
    assert (answer.rows, answer.coverage, answer.totals["calls"]) == ([], None, 0)
    assert answer.totals["latency_ms"] == {"p50": None, "p95": None, "p99": None}


def test_percentiles_of_the_totals_are_those_of_all_calls_not_a_mean_of_rows() -> None:
    rows = [("a", row(1, calls=98, latency_le_10_ms=98)), ("b", row(1, calls=2, latency_le_81920_ms=2))]
    answer = answered(QUERY, rows)
    assert answer.totals["latency_ms"]["p50"] <= 10
    assert answer.totals["latency_ms"]["p95"] <= 10
    assert answer.totals["latency_ms"]["p99"] > 40_960


def test_an_answer_may_have_as_many_rows_as_the_bound_and_no_more() -> None:
    rows = [("a", row(day)) for day in range(1, 6)]
    assert len(answered(QUERY, rows * 2, max_rows=5).rows) == 5
    with pytest.raises(QueryError) as caught:
        answered(QUERY, rows, max_rows=4)
    assert caught.value.code == "too_many_rows"
    assert "more than 4 rows" in str(caught.value)


def test_calls_summed_up_before_a_dimension_was_told_apart_are_counted_and_named() -> None:
    """They stand under null, or are not found by a filter: the answer says how many."""
    rows = [
        ("a", {**row(calls=3), "dimensions": "deployment"}),
        ("a", {**row(calls=5), "dimensions": "deployment,region", "region": "west"}),
        ("a", {**row(calls=7), "dimensions": "deployment,region"}),
    ]
    grouped = answered(replace(QUERY, group_by=("region", "deployment")), rows)
    assert grouped.not_aggregated == {"region": 3}
    assert grouped.totals["calls"] == 15
    filtered = answered(replace(QUERY, filters={"region": frozenset({"west"})}), rows)
    assert filtered.not_aggregated == {"region": 3}
    assert filtered.totals["calls"] == 5
    assert answered(QUERY, rows).not_aggregated == {}


def test_each_price_is_charged_in_its_time_and_what_has_none_is_named() -> None:
    entries = {
        "before": {"model": "m1", "valid_to": "2026-11-02T00:00:00Z", "per_million": {"prompt_tokens": "2"}},
        "after": {"model": "m1", "valid_from": "2026-11-02T00:00:00Z", "per_million": {"prompt_tokens": "3"}},
    }
    book = PriceBook({name: read_entry(entry) for name, entry in entries.items()}, None)
    million: dict[str, Any] = {"prompt_tokens": 1_000_000, "total_tokens": 1_000_000}
    rows = [("a", row(1, **million)), ("a", row(2, **million)), ("a", row(2, "m2", **million))]
    answer = answered(replace(QUERY, group_by=("model",), granularity="total"), rows, book=book)
    money = [(found["model"], found["cost"], found["unpriced_tokens"]) for found in answer.rows]
    assert money == [("m1", "5", 0), ("m2", None, 1_000_000)]
    assert (answer.totals["cost"], answer.totals["unpriced_tokens"]) == ("5", 1_000_000)
