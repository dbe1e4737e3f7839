"""Rows -> an answer: grouped, summed, with totals and coverage. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.rows import sums_of
from ledger.store import Entity
from models.call import DIMENSIONS
from models.errors import QueryError
from models.measures import (
    AUDIO_MICROSECONDS,
    CLAMPED,
    DISAGREEING_TOTALS,
    EXCEEDING_PARTS,
    Measures,
    add,
    latency_percentile,
    total,
)
from models.usage import ESTIMATED_KINDS, MISSING_REASONS, TOKEN_KINDS, USAGE_STATES
from prices.book import PriceBook
from prices.price import Cost, Price, cost, decimal_text
from queries.question import UsageQuery
from queries.spans import bucket_start, row_hour

NOTHING = Cost()
COUNTS: tuple[str, ...] = (
    "calls",
    "failed_calls",
    *(f"usage_{state}" for state in USAGE_STATES),
    *(f"missing_{reason}" for reason in MISSING_REASONS),
    *TOKEN_KINDS,
    *ESTIMATED_KINDS,
    DISAGREEING_TOTALS,
    EXCEEDING_PARTS,
    CLAMPED,
)
Sums = dict[Price | None, Measures]
"""Sums, apart by the price that applies to them."""

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` are ordered by start and group. Token counts are sums over the calls that reported them: `coverage` says
    how large a share of the calls reported usage (None without calls). `estimated_share` is how much was estimated:
    of the `calls`, and of the `tokens` reported and estimated together. `not_aggregated` counts, for each dimension
    that the question names, the calls that were summed up before it was told apart: grouped, they stand under null, and
    no filter finds them."""

    query: UsageQuery
    rows: Sequence[Mapping[str, Any]]
    totals: Mapping[str, Any]
    coverage: float | None
    estimated_share: Mapping[str, float | None]
    not_aggregated: Mapping[str, int]


class Fold:
    """Takes rows one by one and holds one sum per bucket, group and price that applies by `book`."""

    def __init__(self, query: UsageQuery, max_rows: int, book: PriceBook):
        self._query = query
        self._max_rows = max_rows
        self._book = book
        self._filters = {name: values for name, values in query.filters.items() if name != "app"}
        self._named = [name for name in dict.fromkeys((*query.group_by, *query.filters)) if name in DIMENSIONS]
        self._not_aggregated: dict[str, int] = {}
        self._groups: dict[tuple[str, tuple[str | None, ...]], Sums] = {}

    def take(self, app: str, columns: Entity) -> None:
        """Add one aggregate row, if it passes the filters. Raises QueryError when the answer gets too many rows."""
        for name in self._named:
            if name not in str(columns.get("dimensions", "")).split(","):
                self._not_aggregated[name] = self._not_aggregated.get(name, 0) + columns.get("calls", 0)
        for name, allowed in self._filters.items():
            if columns.get(name) not in allowed:
                return
        group = tuple(app if name == "app" else columns.get(name) for name in self._query.group_by)
        start = bucket_start(columns["RowKey"], self._query.granularity, self._query.start)
        sums = self._groups.get((start, group))
        if sums is None:
            if len(self._groups) >= self._max_rows:
                raise QueryError(
                    "too_many_rows",
                    f"the answer has more than {self._max_rows} rows: ask for a shorter range, a coarser granularity "
                    "or fewer groups",
                    "granularity",
                )
            sums = self._groups[start, group] = {}
        price = self._book.find(app, columns.get("model"), columns, row_hour(columns["RowKey"]))
        add(sums.setdefault(price, {}), sums_of(columns))

    def answer(self) -> Answer:
        """The answer over all rows taken."""
        all_sums: Sums = {}
        rows = []
        ordered = sorted(
            self._groups.items(), key=lambda item: (item[0][0], [(name is not None, name or "") for name in item[0][1]])
        )
        for (start, group), sums in ordered:
            for price, part in sums.items():
                add(all_sums.setdefault(price, {}), part)
            rows.append({"start": start, **dict(zip(self._query.group_by, group, strict=True)), **priced_figures(sums)})
        totals = total(all_sums.values())
        calls, estimated = totals.get("calls", 0), totals.get("estimated_total_tokens", 0)
        coverage = _share(totals.get("usage_reported", 0), calls)
        estimated_share = {
            "calls": _share(totals.get("usage_estimated", 0), calls),
            "tokens": _share(estimated, estimated + totals.get("total_tokens", 0)),
        }
        return Answer(self._query, rows, priced_figures(all_sums), coverage, estimated_share, self._not_aggregated)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def priced_figures(sums: Sums) -> dict[str, Any]:
    """Sums and what they cost, as an answer shows them."""
    return figures(total(sums.values()), cost(sums))


def figures(sums: Mapping[str, int], costs: Cost = NOTHING) -> dict[str, Any]:
    """Sums as an answer shows them: every name, latency as percentiles in milliseconds, durations in seconds. Amounts
    are text, since a number would lose digits."""
    return {
        **{name: sums.get(name, 0) for name in COUNTS},
        "audio_seconds": sums.get(AUDIO_MICROSECONDS, 0) / 1_000_000,
        "cost": None if costs.amount is None else decimal_text(costs.amount),
        "approximate_cost": decimal_text(costs.approximate),
        "unpriced_tokens": costs.unpriced_tokens,
        "unpriced_audio_seconds": costs.unpriced_audio_microseconds / 1_000_000,
        "latency_ms": {name: latency_percentile(sums, share) for name, share in PERCENTILES.items()},
    }
