"""OpenAI's organisation usage API: its parameters -> questions, and answers -> its pages. Pure.

Shapes as the package `openai` 3.52 sends and parses them (client.admin.organization.usage;
platform.openai.com/docs/api-reference/usage). docs/openai-usage-api.md says what means what.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from models.call import DIMENSIONS
from models.errors import QueryError
from prices.price import AUDIO_SECONDS, EXACT, charges
from queries.answer import Answer, Sums
from queries.buckets import UTC_ZONE, Granularity, bucket_starts, hour_before
from queries.names import UNNAMED_MODEL
from queries.openai_parameters import FILTERS, GROUPS, LINE_ITEM, NOT_KNOWN, PARAMETERS_OF, WIDTHS, Kind
from queries.question import (
    FIRST_YEAR,
    HOUR,
    LAST_YEAR,
    RESOLUTION,
    Parameters,
    UsageQuery,
    filters_of,
    number,
    one_of,
    refuse_unknown,
    single,
)


@dataclass(frozen=True, slots=True)
class BucketsQuery:
    """Buckets of `granularity` over `start` <= time < `end`, full hours of UTC; a page has at most `limit` of them."""

    kind: Kind
    start: datetime
    end: datetime
    granularity: Granularity
    groups: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]
    line_items: frozenset[str] | None
    limit: int

    @property
    def buckets(self) -> list[tuple[datetime, datetime]]:
        """Those of the page: the first and the last end where the range does."""
        inner = bucket_starts(self.start, self.end, self.granularity, UTC_ZONE)[1:]
        return list(pairwise([self.start, *inner, self.end]))[: self.limit]

    def question(self, dimensions: Collection[str]) -> UsageQuery:
        """The question that answers the page, where aggregate rows tell `dimensions` apart."""
        named = [GROUPS[group] for group in self.groups if group != LINE_ITEM]
        if self.kind != "costs":  # what tells embeddings from the rest
            named += ["model", *(["operation"] if "operation" in dimensions else [])]
        elif LINE_ITEM in self.groups or self.line_items:
            named += ["model"]
        asked = {*named, *self.filters}
        return UsageQuery(
            start=self.start,
            end=self.buckets[-1][1],
            granularity=self.granularity,
            group_by=tuple(dict.fromkeys(named)),
            filters=self.filters,
            from_calls=tuple(name for name in DIMENSIONS if name in asked and name not in dimensions),
        )


def plain_parameters(parameters: Parameters) -> Parameters:
    """Without the brackets with which OpenAI's clients write the names of lists (`group_by[]`)."""
    plain: dict[str, list[str]] = {}
    for name, values in parameters.items():
        plain.setdefault(name.removesuffix("[]"), []).extend(values)
    return plain


def buckets_query(kind: Kind, parameters: Parameters, now: datetime, max_days: int) -> BucketsQuery:
    """Read plain parameters, but for `page`. Raises QueryError."""
    known = PARAMETERS_OF[kind]
    for name in NOT_KNOWN:
        if name in parameters:
            raise QueryError(
                "unknown_parameter", f"{name} is not known of calls through the gateway: leave it out", name
            )
    refuse_unknown(parameters, known.names())
    width = one_of(parameters, "bucket_width", known.choices("bucket_width"), known.default("bucket_width"))
    granularity, default, most = WIDTHS[width]
    if kind == "costs":
        most = known.most("limit")
    start, end = _range(parameters, now, max_days)
    given = {FILTERS[name]: parameters[name] for name in FILTERS if name in known.names() and name in parameters}
    line_items = filters_of(parameters, ("line_items",)) if kind == "costs" else {}
    return BucketsQuery(
        kind=kind,
        start=start,
        end=end,
        granularity=granularity,
        groups=_groups(kind, parameters),
        filters=filters_of(given, tuple(given)),
        line_items=line_items.get("line_items"),
        limit=number(parameters, "limit", most) or default,
    )


def _range(parameters: Parameters, now: datetime, max_days: int) -> tuple[datetime, datetime]:
    start, end = _moment(parameters, "start_time"), _moment(parameters, "end_time") or now
    if start is None:
        raise QueryError("missing_parameter", "start_time is missing, expected Unix seconds", "start_time")
    if start >= end:
        raise QueryError("invalid_range", "start_time must lie before end_time", "start_time")
    if end - start > timedelta(days=max_days):
        raise QueryError("range_too_long", f"the range has more than {max_days} days", "start_time")
    return hour_before(start, UTC_ZONE), hour_before(end + HOUR - RESOLUTION, UTC_ZONE)


def _moment(parameters: Parameters, name: str) -> datetime | None:
    value = single(parameters, name)
    if value is None:
        return None
    time = datetime.fromtimestamp(int(value), UTC) if re.fullmatch(r"\d{1,10}", value, re.ASCII) else None
    if time is None or not FIRST_YEAR <= time.year <= LAST_YEAR:
        expected = f"expected Unix seconds in a year from {FIRST_YEAR} to {LAST_YEAR}"
        raise QueryError("invalid_parameter", f"{name} is {value!r:.60}, {expected}", name)
    return time


def _groups(kind: Kind, parameters: Parameters) -> tuple[str, ...]:
    allowed = PARAMETERS_OF[kind].choices("group_by")
    names = [name.strip() for value in parameters.get("group_by", ()) for name in value.split(",")]
    for name in names:
        if name not in allowed:
            why = "is not known of calls through the gateway" if name in NOT_KNOWN else "is nothing to group by"
            message = f"group_by names {name!r:.60}, which {why}; expected any of {', '.join(allowed)}"
            raise QueryError("invalid_parameter", message, "group_by")
    return tuple(dict.fromkeys(names))


def page_shape(query: BucketsQuery, answer: Answer, next_page: str | None) -> dict[str, Any]:
    """The answer as a page of buckets; one without usage has no results."""
    found: dict[int, dict[tuple[str | None, ...], dict[str, Any]]] = {}
    for row, sums in zip(answer.rows, answer.sums, strict=True):
        bucket = int(max(datetime.fromisoformat(row["start"]), query.start).timestamp())
        for group, result in _costs(query, row, sums) if query.kind == "costs" else _usage(query, row):
            _add(found.setdefault(bucket, {}).setdefault(group, {}), result)
    data = [
        {
            "object": "bucket",
            "start_time": int(start.timestamp()),
            "end_time": int(end.timestamp()),
            "results": [_result(query, group, sums) for group, sums in found.get(int(start.timestamp()), {}).items()],
        }
        for start, end in query.buckets
    ]
    return {"object": "page", "data": data, "has_more": next_page is not None, "next_page": next_page}


Result = tuple[tuple[str | None, ...], dict[str, Any]]

COUNTS: Final[Mapping[str, str]] = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_cached_tokens": "cached_prompt_tokens",
    "input_cache_write_tokens": "cache_write_prompt_tokens",
    "input_audio_tokens": "audio_prompt_tokens",
    "input_image_tokens": "image_prompt_tokens",
    "input_cached_audio_tokens": "cached_audio_prompt_tokens",
    "input_cached_image_tokens": "cached_image_prompt_tokens",
    "output_audio_tokens": "audio_completion_tokens",
    "output_image_tokens": "image_completion_tokens",
    "num_model_requests": "calls",
}
OF_EMBEDDINGS: Final = ("input_tokens", "num_model_requests")
WITHOUT_USAGE: Final = "num_model_requests_without_usage"
"""Ours: OpenAI knows the usage of every call."""
UNPRICED: Final = "unpriced_tokens"

_LINE_ITEMS: Final[Mapping[str, str]] = {
    "prompt_tokens": "input_tokens",
    "cached_prompt_tokens": "input_cached_tokens",
    "cache_write_prompt_tokens": "input_cache_write_tokens",
    "audio_prompt_tokens": "input_audio_tokens",
    "image_prompt_tokens": "input_image_tokens",
    "cached_audio_prompt_tokens": "input_cached_audio_tokens",
    "cached_image_prompt_tokens": "input_cached_image_tokens",
    "completion_tokens": "output_tokens",
    "audio_completion_tokens": "output_audio_tokens",
    "image_completion_tokens": "output_image_tokens",
    "total_tokens": "tokens",
    AUDIO_SECONDS: "audio_seconds",
}


def _usage(query: BucketsQuery, row: Mapping[str, Any]) -> Iterator[Result]:
    if _is_embedding(row) != (query.kind == "embeddings"):
        return
    names = OF_EMBEDDINGS if query.kind == "embeddings" else tuple(COUNTS)
    counts = {name: row[COUNTS[name]] for name in names}
    if query.kind == "embeddings":  # which some providers report as a total alone
        counts["input_tokens"] = row["total_tokens"] - row["completion_tokens"]
    counts[WITHOUT_USAGE] = row["calls"] - row["usage_reported"]
    yield tuple(row[GROUPS[group]] for group in query.groups), counts


def _is_embedding(row: Mapping[str, Any]) -> bool:
    """By the names of the model and the operation: nothing else tells, and each call is one or the other."""
    model = (row["model"] or "").lower()
    return "embed" in model or model.startswith("voyage-") or "embed" in (row.get("operation") or "").lower()


def _costs(query: BucketsQuery, row: Mapping[str, Any], sums: Sums) -> Iterator[Result]:
    for price, counted in sums.items():
        for charge in charges(counted, price):
            line_item = f"{row.get('model') or UNNAMED_MODEL}, {_LINE_ITEMS[charge.kind]}"
            if query.line_items is not None and line_item not in query.line_items:
                continue
            group = tuple(line_item if group == LINE_ITEM else row[GROUPS[group]] for group in query.groups)
            audio = charge.kind == AUDIO_SECONDS
            result = {
                "amount": charge.amount,
                "quantity": Decimal(charge.quantity).scaleb(-6 if audio else 0, EXACT),
                "quantity_unit": {"duration_seconds" if audio else "tokens"},
                UNPRICED: 0 if charge.amount is not None or audio else charge.quantity,
            }
            yield group, result


def _add(before: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Numbers are added, units collected; None is what is not known, and adds nothing to what is."""
    for name, value in more.items():
        known = before.get(name)
        if known is None or value is None:
            before[name] = value if known is None else known
        elif isinstance(value, Decimal):
            before[name] = EXACT.add(known, value)
        else:
            before[name] = known | value if isinstance(value, set) else known + value


def _result(query: BucketsQuery, group: Sequence[str | None], sums: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(zip(query.groups, group, strict=True))
    values = {name: known.get(name) for name in PARAMETERS_OF[query.kind].choices("group_by")}
    if query.kind != "costs":
        return {"object": f"organization.usage.{query.kind}.result", **sums, **values}
    units: Iterable[str] = sums["quantity_unit"]
    of_one_item = LINE_ITEM in query.groups
    return {
        "object": "organization.costs.result",
        "amount": None if sums["amount"] is None else {"value": float(sums["amount"]), "currency": "usd"},
        "quantity": float(sums["quantity"]) if of_one_item else None,
        "quantity_unit": next(iter(units)) if of_one_item else None,
        UNPRICED: sums[UNPRICED],
        **values,
    }
