"""What the query string of each endpoint may hold, as pydantic models whose fields are the parameters.

The checks in question.py and beside it take names, choices and bounds from here, and so does the document that
/api/openapi.json gives. A list is a parameter that may be repeated. Pure.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from models.alert import Kind, State
from models.call import DIMENSIONS
from models.dead_letter import REASONS
from models.usage import MissingReason, UsageState
from queries.buckets import Granularity

GROUPS: Final = ("app", "model", "cost_center", *DIMENSIONS)
"""What usage can be grouped and filtered by."""
CALL_FILTERS: Final = ("model", *DIMENSIONS, "usage_state", "missing_reason")
MAX_FILTER_VALUES: Final = 100


class Query(BaseModel):
    """The parameters of an endpoint; this one has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Its parameters, in their order."""
        return tuple(cls.model_fields)

    @classmethod
    def choices(cls, name: str) -> tuple[str, ...]:
        """The values that a parameter can have, or each item of one that is a list."""
        annotation = cls.model_fields[name].annotation
        return get_args(get_args(annotation)[0] if get_origin(annotation) is list else annotation)

    @classmethod
    def most(cls, name: str) -> int:
        """The largest number, or of a list the most items, that a parameter can have."""
        bounds = (getattr(each, "le", getattr(each, "max_length", None)) for each in cls.model_fields[name].metadata)
        most: int = next(bound for bound in bounds if bound is not None)
        return most

    @classmethod
    def default(cls, name: str) -> Any:
        """What holds where a parameter is not given."""
        return cls.model_fields[name].default


Parameter = tuple[Any, Any]
"""Its type and its default, as `create_model` takes a field; `...` is required."""


def parameter(kind: Any, description: str, default: Any = None, **bounds: Any) -> Parameter:
    """A parameter of a query string. A default of None says that there is none, or that its description tells it."""
    return Annotated[kind, Field(description=description, **bounds)], default


def parameters_of(name: str, parameters: dict[str, Parameter], told: str | None = None) -> type[Query]:
    """The model of an endpoint's parameters; a field may be called `from`, which no class could write."""
    fields: dict[str, Any] = dict(parameters)
    return create_model(name, __base__=Query, __doc__=told, **fields)


def _range(default: str, how: str) -> dict[str, Parameter]:
    return {
        "from": parameter(datetime, f"The beginning, RFC 3339 with its zone; {how}. Default: {default} before `to`."),
        "to": parameter(datetime, "The end, which is not part of the range. Default: now."),
    }


CLOSED: Final[dict[str, Any]] = {
    "stream": Literal["true", "false"],
    "usage_state": UsageState,
    "missing_reason": MissingReason,
    "status": Annotated[str, Field(pattern="^[1-9][0-9]{2}$")],
}
"""Filters whose values are few: another would find nothing, and a zero would be taken for an answer."""


def _filter(name: str) -> Parameter:
    text = f"Only what has this {name}; given several times, any of them."
    return parameter(list[CLOSED.get(name, str)], text, min_length=1, max_length=MAX_FILTER_VALUES)  # type: ignore[misc]


_WIDENED: Final = "widened to full hours"
_CURSOR: Final = parameter(
    str, "`next_cursor` of the page before, with the other parameters as they were.", min_length=1
)
_FILTERS: Final = {name: _filter(name) for name in GROUPS}
_ONE_APP: Final = "The name of one app, as usage is grouped by it."

UsageParameters = parameters_of(
    "UsageParameters",
    {
        **_range("24 hours", "widened to full hours of `tz`"),
        "tz": parameter(str, "An IANA time zone: hours, days and months begin where its clocks say.", "UTC"),
        "granularity": parameter(Granularity, "How long a row's bucket is.", "hour"),
        "group_by": parameter(
            list[Literal[*GROUPS, "none"]],  # type: ignore[valid-type]
            "A comma list of what a row is of; `none` alone for one row a bucket.",
            ["app", "model"],
            min_length=1,
        ),
        "order_by": parameter(
            str,
            "`start`, or any figure of a row such as `total_tokens` or `latency_ms_p95`; a minus before it descends.",
            "start",
        ),
        "figures": parameter(
            str,
            "A comma list of the figures that rows and totals have, such as `calls,cost`. Default: all.",
            min_length=1,
        ),
        "limit": parameter(int, "Rows of a page, at most `QUERY_MAX_ROWS`. Default: all in one.", ge=1),
        "cursor": _CURSOR,
        "format": parameter(
            Literal["json", "ndjson", "csv", "focus"], "Goes before the header Accept. Default: by that, else json."
        ),
        "fill": parameter(Literal["zero"], "Rows for buckets without calls too."),
        "compare": parameter(Literal["previous"], "The range before beside this one, and what changed."),
        **_FILTERS,
    },
)

CallsParameters = parameters_of(
    "CallsParameters",
    {
        "app": parameter(str, _ONE_APP, ..., min_length=1),
        **_range("24 hours", "taken as it is"),
        "limit": parameter(int, "Calls of a page.", 100, ge=1, le=1000),
        "cursor": _CURSOR,
        "format": parameter(
            Literal["json", "ndjson", "csv"], "Goes before the header Accept. Default: by that, else json."
        ),
        **{name: _filter(name) for name in CALL_FILTERS},
    },
)

CallParameters = parameters_of(
    "CallParameters",
    {
        "app": parameter(str, f"{_ONE_APP} Default: all are searched.", min_length=1),
        **_range("`QUERY_MAX_CALL_DAYS` days", "the days on which it is looked for"),
    },
)

MonthsParameters = parameters_of("MonthsParameters", _range("31 days", "its months are taken whole"))

AppsParameters = parameters_of(
    "AppsParameters", {**_range("31 days", "its months are taken whole"), "app": _FILTERS["app"]}
)

PricesParameters = parameters_of(
    "PricesParameters",
    {
        **_range("31 days", _WIDENED),
        "model": parameter(str, "One model. Default: those that had calls in the range.", min_length=1),
        "at": parameter(datetime, "Only prices that apply at this full hour of UTC."),
        "missing": parameter(Literal["0", "1"], "`1`: what was charged nothing for want of a price, instead.", "0"),
    },
)

BudgetsParameters = parameters_of(
    "BudgetsParameters", {"limit": parameter(int, "Budgets of a page.", 100, ge=1, le=1000), "cursor": _CURSOR}
)

BudgetStatusParameters = parameters_of("BudgetStatusParameters", {"app": parameter(str, _ONE_APP, ..., min_length=1)})

EndParameters = parameters_of(
    "EndParameters",
    {"valid_to": parameter(datetime, "From when on it is not valid, a full hour of UTC. Default: the next.")},
)

DeadLettersParameters = parameters_of(
    "DeadLettersParameters",
    {
        "reason": parameter(
            list[Literal[REASONS]],  # type: ignore[valid-type]
            "Why it was set aside; given several times, any of them.",
            min_length=1,
        ),
        "from": parameter(datetime, "The first time at which the hub took them in. Default: no limit."),
        "to": parameter(datetime, "The end of these times. Default: no limit."),
        "limit": parameter(int, "Dead letters of a page, at most.", 100, ge=1, le=1000),
        "cursor": _CURSOR,
    },
)

AlertsParameters = parameters_of(
    "AlertsParameters",
    {
        "kind": parameter(list[Kind], "Only of this kind; given several times, of any of them.", min_length=1),
        "state": parameter(list[State], "Only in this state; given several times, in any of them.", min_length=1),
        "app": _filter("app"),
        "budget": _filter("budget"),
        "from": parameter(datetime, "The first time at which they were raised. Default: no limit."),
        "to": parameter(datetime, "The end of these times. Default: no limit."),
        "limit": parameter(int, "Alerts of a page, at most.", 100, ge=1, le=1000),
        "cursor": _CURSOR,
    },
)

HealthParameters = parameters_of(
    "HealthParameters", {"deep": parameter(Literal["1"], "`1`: ask the tables and the hubs too.")}
)
