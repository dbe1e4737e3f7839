"""What OpenAI's organisation usage API may be asked, and what each of its names is here. Pure."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from queries.buckets import Granularity
from queries.parameters import MAX_FILTER_VALUES, Parameter, Query, parameter, parameters_of

Kind = Literal["completions", "embeddings", "costs"]

GROUPS: Final[Mapping[str, str]] = {
    "project_id": "app",
    "user_id": "user",
    "api_key_id": "subscription",
    "model": "model",
}
"""What it groups by, and the dimension that is."""
FILTERS: Final[Mapping[str, str]] = {
    "project_ids": "app",
    "user_ids": "user",
    "api_key_ids": "subscription",
    "models": "model",
}
LINE_ITEM: Final = "line_item"
NOT_KNOWN: Final = ("batch", "service_tier", "api_source")
"""What OpenAI knows of a call and we do not."""

WIDTHS: Final[Mapping[str, tuple[Granularity, int, int]]] = {"1h": ("hour", 24, 168), "1d": ("day", 7, 31)}
"""The granularity of each width, and how many buckets a page has: by default, and at the most."""
_MAX_USAGE_BUCKETS: Final = max(most for _, _, most in WIDTHS.values())
_MAX_COST_BUCKETS: Final = 180


def _of(name: str, widths: Any, groups: Any, filters: Mapping[str, str], most: int) -> type[Query]:
    pages = ", ".join(f"{default} by `{width}`, at most {most}" for width, (_, default, most) in WIDTHS.items())
    each: dict[str, Parameter] = {
        what: parameter(
            list[str],
            f"Only what has this {told}; given several times (or as `{what}[]`), any of them.",
            min_length=1,
            max_length=MAX_FILTER_VALUES,
        )
        for what, told in filters.items()
    }
    return parameters_of(
        name,
        {
            "start_time": parameter(int, "The beginning, in Unix seconds; widened to full hours of UTC.", ..., ge=0),
            "end_time": parameter(int, "The end, in Unix seconds, which is not part of it. Default: now.", ge=0),
            "bucket_width": parameter(widths, "How long a bucket is.", "1d"),
            "group_by": parameter(list[groups], "What a result is of; a comma list, or given several times."),
            "limit": parameter(int, f"Buckets of a page. Usage: {pages}.", ge=1, le=most),
            "page": parameter(str, "`next_page` of the page before, with the other parameters as they were."),
            **each,
        },
    )


_USAGE: Final[Any] = (Literal[tuple(WIDTHS)], Literal[tuple(GROUPS)], FILTERS, _MAX_USAGE_BUCKETS)
_COST_FILTERS: Final = {name: told for name, told in FILTERS.items() if name != "models"} | {"line_items": LINE_ITEM}

PARAMETERS_OF: Final[Mapping[Kind, type[Query]]] = {
    "completions": _of("CompletionsParameters", *_USAGE),
    "embeddings": _of("EmbeddingsParameters", *_USAGE),
    "costs": _of(
        "CostsParameters",
        Literal["1d"],
        Literal["project_id", "user_id", "api_key_id", "line_item"],
        _COST_FILTERS,
        _MAX_COST_BUCKETS,
    ),
}
