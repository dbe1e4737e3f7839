"""Rows -> an answer: grouped, summed, ordered, a page of it, with the totals and coverage of the whole. Pure."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.rows import SUMMED_BY, sums_of
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
from queries.buckets import bucket_starts, zone_text
from queries.compare import compared
from queries.names import Names
from queries.question import START, UsageQuery
from queries.spans import row_hour, row_time

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
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

Sums = dict[Price | None, Measures]
"""Sums, apart by the price that applies to them."""
NOTHING = Cost()

NO_NAMES = Names()
Group = tuple[str | None, ...]
Position = list[Any]
"""Of a row in its order, as JSON can hold it: the figure it is ordered by, the number of its bucket, its group."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` are a page in the order that was asked for, `sums` those of each row, and `next_position` is that of its
    last row if there are more; all else is of the whole answer. Token counts are sums over the calls that reported
    them: `coverage` says how large a share of the calls reported usage (None without calls). `estimated_share` is how
    much was estimated: of the `calls`, and of the `tokens` reported and estimated together. `not_aggregated` counts,
    for each dimension that the question names, the calls that were summed up before it was told apart: grouped, they
    stand under null, and no filter finds them. `counted_at` is when the newest of what was read for it was counted."""

    query: UsageQuery
    rows: Sequence[Mapping[str, Any]]
    totals: Mapping[str, Any]
    coverage: float | None
    estimated_share: Mapping[str, float | None]
    not_aggregated: Mapping[str, int]
    next_position: Position | None = None
    sums: Sequence[Sums] = ()
    previous: "Answer | None" = None
    counted_at: datetime | None = None


class Fold:
    """Takes rows one by one and holds one sum per bucket, group and price that applies by `book`. `counted_at` is for
    who reads the rows to tell."""

    def __init__(self, query: UsageQuery, max_rows: int, book: PriceBook, names: Names = NO_NAMES):
        self._query = query
        self._names = names
        self._max_rows = max_rows
        self._book = book
        self.counted_at: datetime | None = None
        self._filters = {name: values for name, values in query.filters.items() if name != "app"}
        named = dict.fromkeys((*query.group_by, *query.filters))
        self._named = [name for name in named if name in DIMENSIONS]
        self._not_aggregated: dict[str, int] = {}
        self._starts = bucket_starts(query.start, query.end, query.granularity, query.zone)
        self._buckets: dict[str, int] = {}
        self._groups: dict[tuple[int, Group], Sums] = {}

    def take(self, app: str, columns: Entity) -> None:
        """Add one aggregate row, if it passes the filters. Raises QueryError when the answer gets too many rows."""
        told: str = columns.get("dimensions", "")
        by: str = columns.get(SUMMED_BY, told)
        summed = columns if by == told else _told_apart(columns, by)
        model = self._names.value("model", app, summed)
        missing = [name for name in self._named if name not in _names(told)]
        missing += [name for name in self._priced_by(columns, model) if name not in _names(by)]
        for name in dict.fromkeys(missing):
            self._not_aggregated[name] = self._not_aggregated.get(name, 0) + columns.get("calls", 0)
        for name, allowed in self._filters.items():
            if (model if name == "model" else self._names.value(name, app, columns)) not in allowed:
                return
        group = tuple(
            [model if name == "model" else self._names.value(name, app, columns) for name in self._query.group_by]
        )
        bucket = self._bucket(columns["RowKey"])
        sums = self._groups.get((bucket, group))
        if sums is None:
            self._refuse_many(len(self._groups) + 1)
            sums = self._groups[bucket, group] = {}
        price = self._book.find(app, model, summed, row_hour(columns["RowKey"]))
        add(sums.setdefault(price, {}), sums_of(columns))

    def _priced_by(self, columns: Entity, model: str | None) -> list[str]:
        """The dimensions that decide which model and which price calls have."""
        by_alias = ["deployment"] if columns.get("model") is None and self._names.aliases else []
        return [*by_alias, *self._book.scopes(model)]

    def _bucket(self, row_key: str) -> int:
        """The number of the bucket that a row falls in."""
        time = row_key.split("|", 2)[1]
        if time not in self._buckets:  # the first bucket can begin before a row of it, and before the range
            self._buckets[time] = max(bisect_right(self._starts, row_time(row_key)) - 1, 0)
        return self._buckets[time]

    def answer(self, previous: "Fold | None" = None) -> Answer:
        """The answer over all rows taken, beside that of the range before, if this is given. Raises QueryError when it
        gets too many rows."""
        groups_left = self._left()
        before = {} if previous is None else previous.aligned(len(self._starts))
        keys = dict.fromkeys((*groups_left, *before))
        if self._query.fill:
            groups = dict.fromkeys(group for _, group in keys) if self._query.group_by else {(): None}
            self._refuse_many(len(groups) * len(self._starts))
            keys = dict.fromkeys((bucket, group) for bucket in range(len(self._starts)) for group in groups)
        self._refuse_many(len(keys))
        found = []
        for bucket, group in keys:
            sums = groups_left.get((bucket, group), {})
            shown = priced(sums)
            if previous is not None:
                shown |= compared(shown, priced(before.get((bucket, group), {})))
            start = {"start": zone_text(self._starts[bucket], self._query.zone)}
            row = start | dict(zip(self._query.group_by, group, strict=True)) | shown
            found.append(Placed(bucket, group, row, sums))
        shown_rows, next_position = page(found, self._query)
        whole: Sums = {}
        for sums in groups_left.values():
            add_priced(whole, sums)
        totals = total(whole.values())
        calls, estimated = totals.get("calls", 0), totals.get("estimated_total_tokens", 0)
        return Answer(
            query=self._query,
            rows=[placed.row for placed in shown_rows],
            totals=priced(whole),
            coverage=_share(totals.get("usage_reported", 0), calls),
            estimated_share={
                "calls": _share(totals.get("usage_estimated", 0), calls),
                "tokens": _share(estimated, estimated + totals.get("total_tokens", 0)),
            },
            not_aggregated=self._not_aggregated,
            next_position=next_position,
            sums=[placed.sums for placed in shown_rows],
            previous=None if previous is None else previous.answer(),
            counted_at=self.counted_at,
        )

    def aligned(self, buckets: int) -> dict[tuple[int, Group], Sums]:
        """The sums by the numbers of so many buckets: where a zone changed its clocks by half an hour, or left a day
        out, a range can have more of them, and the last takes what is left."""
        sums: dict[tuple[int, Group], Sums] = {}
        for (bucket, group), found in self._left().items():
            add_priced(sums.setdefault((min(bucket, buckets - 1), group), {}), found)
        return sums

    def _left(self) -> dict[tuple[int, Group], Sums]:
        """The sums, but for groups that all calls have left: corrected or moved, they are counted in others."""
        return {at: sums for at, sums in self._groups.items() if any(total(sums.values()).values())}

    def _refuse_many(self, rows: int) -> None:
        if rows > self._max_rows:
            raise QueryError(
                "too_many_rows",
                f"the answer has more than {self._max_rows} rows: ask for a shorter range, a coarser granularity "
                "or fewer groups, or page by page, as csv, ndjson or focus with limit",
                "granularity",
            )


def _told_apart(columns: Entity, by: str) -> Entity:
    """A call's columns as its sums tell them apart, which are summed `by` these dimensions: what it costs must not
    depend on whether it is read alone or in them."""
    summed = _names(by)
    return {name: value for name, value in columns.items() if name not in DIMENSIONS or name in summed}


@lru_cache(maxsize=64)
def _names(dimensions: str) -> frozenset[str]:
    return frozenset(dimensions.split(","))


class Placed(NamedTuple):
    """A row with the number of its bucket, its group and its sums."""

    bucket: int
    group: Group
    row: Mapping[str, Any]
    sums: Sums


def page(found: Sequence[Placed], query: UsageQuery) -> tuple[list[Placed], Position | None]:
    """The rows of the page in their order, and the position of its last row if others follow."""

    def position(placed: Placed) -> Position:
        figure = placed.bucket if query.order_by == START else flat(placed.row)[query.order_by]
        return [None if figure is None else str(figure), placed.bucket, placed.group]

    def key(position: Position) -> tuple[Any, ...]:
        figure, bucket, group = position
        number = Decimal(figure or 0)
        ordered = -number if query.descending else number
        return figure is None, ordered, bucket, [(name is not None, name or "") for name in group]

    keyed = sorted(((key(place := position(placed)), place, placed) for placed in found), key=lambda item: item[0])
    first = 0 if query.after is None else bisect_right([each[0] for each in keyed], key(list(query.after)))
    left = keyed[first:]
    shown = left if query.limit is None else left[: query.limit]
    return [placed for _, _, placed in shown], shown[-1][1] if len(shown) < len(left) else None


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without nested values: `latency_ms` becomes `latency_ms_p50` and the like."""
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            plain.update({f"{name}_{part}": inner for part, inner in flat(value).items()})
        else:
            plain[name] = value
    return plain


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def add_priced(into: Sums, more: Sums) -> None:
    """Add `more` to `into`, in place."""
    for price, sums in more.items():
        add(into.setdefault(price, {}), sums)


def priced(sums: Sums) -> dict[str, Any]:
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
        "cache_savings": None if costs.amount is None else decimal_text(costs.cache_savings),
        "unpriced_tokens": costs.unpriced_tokens,
        "unpriced_audio_seconds": costs.unpriced_audio_microseconds / 1_000_000,
        "latency_ms": {name: latency_percentile(sums, share) for name, share in PERCENTILES.items()},
    }


FIGURES: tuple[str, ...] = tuple(flat(figures({})))
"""The figures of a row, in their order."""
