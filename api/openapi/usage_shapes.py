"""Usage and single calls in JSON: ours, and as OpenAI's API has them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_type_hints

from pydantic import Field

from api.openapi.shapes import Amount, Answer, Month, NextCursor, Range, always, answer
from models.call import Call
from models.usage import ESTIMATED_KINDS, Usage
from queries.answer import COUNTS, PERCENTILES
from queries.buckets import Granularity
from queries.explain import NESTED
from queries.openai_parameters import PARAMETERS_OF, Kind
from queries.openai_usage import COUNTS as OPENAI_COUNTS
from queries.openai_usage import OF_EMBEDDINGS, UNPRICED, WITHOUT_USAGE
from queries.parameters import GROUPS

_LATENCY: Final[Any] = answer(
    "Latency", "Milliseconds; null where no call told its duration.", dict.fromkeys(PERCENTILES, (float | None, None))
)
_MEASURES: Final[dict[str, Any]] = {
    **dict.fromkeys(COUNTS, int),
    "audio_seconds": float,
    "cost": Amount | None,
    "approximate_cost": Amount,
    "cache_savings": Amount | None,
    "unpriced_tokens": int,
    "unpriced_audio_seconds": float,
    "latency_ms": _LATENCY,
}
Figures: Any = answer(
    "Figures",
    "Counts are sums over the calls that reported them. Amounts are US dollars as text with all digits; `cost` "
    "is null where nothing of it has a price, and so is `cache_savings`. Of them those that `figures` names.",
    {name: (kind, None) for name, kind in _MEASURES.items()},
)
Change: Any = answer(
    "Change",
    "By how much each figure grew since the range before; null where one of the two is not known.",
    {name: (kind if kind is _LATENCY else kind | None, None) for name, kind in _MEASURES.items()},
)
UsageRow: Any = answer(
    "UsageRow",
    "One bucket and group. Of the dimensions it has those of `group_by`, of the comparison what `compare` asks for.",
    {
        "start": (datetime, ...),
        **dict.fromkeys(GROUPS, (str | None, None)),
        "previous": (Figures, None),
        "change": (Change, None),
    },
    Figures,
)


class EstimatedShare(Answer):
    """How much of the answer was estimated; null of nothing."""

    calls: float | None
    tokens: float | None


class Previous(Range):
    """The range before, as a whole."""

    totals: Figures
    coverage: float | None
    not_aggregated: dict[str, int]


class UsageAnswer(Range):
    """Usage by time and dimension. Totals and shares are of the whole answer, not of the page."""

    granularity: Granularity
    group_by: list[Literal[GROUPS]]  # type: ignore[valid-type]
    tz: str
    currency: Literal["USD"]
    source: Literal["aggregates", "calls", "both"]
    rows: list[UsageRow]
    totals: Figures
    coverage: Annotated[float | None, Field(description="The share of the calls that reported usage.")]
    estimated_share: EstimatedShare
    not_aggregated: Annotated[
        dict[str, int], Field(description="Calls that were summed up before this dimension was told apart.")
    ]
    next_cursor: NextCursor
    previous: Previous = None  # type: ignore[assignment]
    change: Change = None


_USAGE: Final[dict[str, Any]] = get_type_hints(Usage) | {"audio_seconds": float | None}
_CALL: Final[dict[str, Any]] = get_type_hints(Call)
CallUsage: Any = answer(
    "CallUsage",
    "Null is what was not told, 0 what was told as zero.",
    {name: (_USAGE[name], ...) for name in Usage._fields},
)
Estimate: Any = answer(
    "Estimate", "What was estimated from the call's text.", dict.fromkeys(ESTIMATED_KINDS, (int, None))
)
CallShown: Any = answer(
    "Call",
    "One call; null is what was not told.",
    {
        "request_id": (str, ...),
        "timestamp": (datetime, ...),
        **{name: (_CALL[name], ...) for name in Call._fields if name not in NESTED},
        "failed": (bool, ...),
        "usage": (CallUsage, ...),
        "estimate": (Estimate | None, ...),
    },
)


class Origin(Answer):
    """Where its event stands in the hub."""

    hub: str
    partition: str
    sequence_number: int
    enqueued_time: datetime
    position: int


class CountedIn(Answer):
    """The sums that it is in."""

    hour: datetime
    day: str
    month: Month
    dimensions: dict[str, str | None]


class MovedTo(Answer):
    """Where it is counted now."""

    app: str
    timestamp: datetime


class ExplainedCall(CallShown):  # type: ignore[misc]
    """All that is known of a call, and why it was counted as it was."""

    clamped: bool
    origin: Origin | None
    counted: bool
    counted_in: CountedIn | None
    moved_to: MovedTo | None
    why: list[str]


class CallsAnswer(Range):
    """One app's calls, newest first."""

    app: str
    calls: list[CallShown]
    next_cursor: NextCursor


class CallAnswer(Answer):
    """Every call with this request_id; `waiting` is what is known of one that is not counted yet."""

    request_id: str
    calls: list[ExplainedCall]
    waiting: CallShown | None


class CostAmount(Answer):
    """As a number, since OpenAI's clients read one: `/api/usage` has all digits."""

    value: float
    currency: Literal["usd"]


def _page(kind: Kind, name: str, members: dict[str, Any]) -> Any:
    title = kind.capitalize()
    result: Any = answer(
        f"{title}Result",
        "What one group used in a bucket. What is not grouped by is null.",
        {
            "object": (Literal[name], ...),
            **members,
            **always(PARAMETERS_OF[kind].choices("group_by"), str | None),
        },
    )
    bucket: Any = answer(
        f"{title}Bucket",
        "From `start_time` to `end_time`, in Unix seconds; without usage it has no results.",
        {"object": (Literal["bucket"], ...), **always(("start_time", "end_time"), int), "results": (list[result], ...)},
    )
    return answer(
        f"{title}Page",
        "A page of buckets, as OpenAI has it.",
        {
            "object": (Literal["page"], ...),
            "data": (list[bucket], ...),
            "has_more": (bool, ...),
            "next_page": (str | None, ...),
        },
    )


CompletionsPage = _page(
    "completions", "organization.usage.completions.result", always((*OPENAI_COUNTS, WITHOUT_USAGE), int)
)
EmbeddingsPage = _page(
    "embeddings", "organization.usage.embeddings.result", always((*OF_EMBEDDINGS, WITHOUT_USAGE), int)
)
CostsPage = _page(
    "costs",
    "organization.costs.result",
    {
        "amount": (CostAmount | None, ...),
        "quantity": (float | None, ...),
        "quantity_unit": (Literal["tokens", "duration_seconds"] | None, ...),
        UNPRICED: (int, ...),
    },
)
