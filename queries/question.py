"""The parameters of a request, checked: every mistake gets an error that names the parameter and what is possible."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from math import ceil
from typing import Any, Final, TypeVar, get_args
from zoneinfo import ZoneInfo

from models.call import DIMENSIONS
from models.errors import QueryError
from models.event import parse_rfc3339
from models.keys import MAX_ESCAPED_LENGTH, escape_key
from queries.buckets import GRANULARITIES, UTC_ZONE, Granularity, hour_before, zone_named
from queries.parameters import CLOSED, GROUPS, MAX_FILTER_VALUES, UsageParameters

Word = TypeVar("Word", bound=str)
Parameters = Mapping[str, Sequence[str]]
"""A query string: the values of each parameter in order."""

PLATFORM_PARAMETERS: Final = ("code", "clientId")
"""The parameters in which a function key may come; they are the platform's, not ours."""

DEFAULT_RANGE: Final = timedelta(hours=24)
FIRST_YEAR, LAST_YEAR = 2000, 2100
MAX_LISTED: Final = 12
"""Possible values that a message lists; of more it names the nearest."""
HOUR: Final = timedelta(hours=1)
RESOLUTION: Final = timedelta(microseconds=1)

START: Final = "start"
"""Rows in the order of time, then of their groups."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a question may name, and how far it may reach: the dimensions that aggregate rows tell apart beyond app and
    model, the figures of a row, the most days of a range and rows of a page."""

    dimensions: Sequence[str]
    figures: Sequence[str]
    max_days: int
    max_rows: int


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """`start` <= time < `end`, in UTC, both on a full hour of `zone`. `filters` holds the allowed values of each
    dimension.

    Rows are ordered by `order_by`, `start` or a figure; a page has at most `limit` of them, those that come after the
    row at the position `after`. `from_calls` names the dimensions that only call rows tell apart; with any, the answer
    is added up from them. `fill`: buckets without calls have rows too. `compare`: the range before stands beside it. No
    row that is read may lie on both sides of one of `edges`, full hours of UTC in their order: there prices change.
    `figures` are those that are shown, none for all.
    """

    start: datetime
    end: datetime
    granularity: Granularity
    group_by: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]
    zone: ZoneInfo = UTC_ZONE
    order_by: str = START
    descending: bool = False
    limit: int | None = None
    after: Sequence[Any] | None = None
    from_calls: tuple[str, ...] = ()
    fill: bool = False
    compare: bool = False
    figures: frozenset[str] = frozenset()
    edges: tuple[datetime, ...] = ()


def usage_query(parameters: Parameters, now: datetime, terms: Terms) -> UsageQuery:
    """Read the parameters of `/api/usage`, but for `cursor`.

    A range that does not lie on full hours is widened to them; the answer says which range it covers.
    """
    refuse_unknown(parameters, UsageParameters.names())
    name = single(parameters, "tz")
    zone = UTC_ZONE if name is None else zone_named(name)
    start, end = time_range(parameters, now, terms.max_days, DEFAULT_RANGE, zone)
    compare = one_of(parameters, "compare", UsageParameters.choices("compare"), "") == "previous"
    beside = [f"{of}_{name}" for of in ("change", "previous") for name in terms.figures] if compare else []
    orders = [f"{sign}{name}" for name in (START, *terms.figures, *beside) for sign in ("", "-")]
    order_by = one_of(parameters, "order_by", orders, START)
    group_by = _group_by(parameters)
    filters = filters_of(parameters, GROUPS)
    return UsageQuery(
        start=start,
        end=end,
        granularity=one_of(parameters, "granularity", GRANULARITIES, UsageParameters.default("granularity")),
        group_by=group_by,
        filters=filters,
        zone=zone,
        order_by=order_by.removeprefix("-"),
        descending=order_by.startswith("-"),
        limit=number(parameters, "limit", terms.max_rows),
        fill=one_of(parameters, "fill", UsageParameters.choices("fill"), "") == "zero",
        compare=compare,
        figures=_figures(parameters, terms.figures),
        from_calls=tuple(name for name in DIMENSIONS if name in (*group_by, *filters) and name not in terms.dimensions),
    )


def time_range(
    parameters: Parameters, now: datetime, max_days: int, default: timedelta, zone: ZoneInfo = UTC_ZONE
) -> tuple[datetime, datetime]:
    """`from` and `to`, widened to full hours of the zone's clocks; `to` is now if it is not given, `from` lies
    `default` before it."""
    start, end = exact_range(parameters, now, max_days, default)
    return hour_before(start, zone), hour_before(end + HOUR - RESOLUTION, zone)


def exact_range(parameters: Parameters, now: datetime, max_days: int, default: timedelta) -> tuple[datetime, datetime]:
    """`from` and `to` as they are given."""
    end = moment(parameters, "to") or now
    start = moment(parameters, "from") or end - default
    if start >= end:
        raise QueryError("invalid_range", f"from ({_text(start)}) must lie before to ({_text(end)})", "from")
    if end - start > timedelta(days=max_days):
        days = ceil((end - start) / timedelta(days=1))
        raise QueryError("range_too_long", f"the range takes {days} days, the most is {max_days}", "from")
    return start, end


def one_of(parameters: Parameters, name: str, allowed: Sequence[Word], default: Word) -> Word:
    """The value of a parameter that knows few."""
    value = single(parameters, name)
    if value is None:
        return default
    for choice in allowed:
        if value == choice:
            return choice
    expected = f"expected one of {', '.join(allowed)}"
    if len(allowed) > MAX_LISTED:
        nearest = get_close_matches(value[:60].lower(), allowed, n=1)
        expected = f"did you mean {nearest[0]}?" if nearest else f"expected a name such as {', '.join(allowed[:3])}"
    raise QueryError("invalid_parameter", f"{name} is {value!r:.60}, {expected}", name)


def number(parameters: Parameters, name: str, most: int, default: int | None = None) -> int | None:
    """The value of a parameter that is a whole number from 1."""
    value = single(parameters, name)
    if value is None:
        return default
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not 1 <= int(value) <= most:
        raise QueryError(
            "invalid_parameter", f"{name} is {value!r:.60}, expected a whole number from 1 to {most}", name
        )
    return int(value)


def single(parameters: Parameters, name: str) -> str | None:
    """The value of a parameter that may be given once."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise QueryError("invalid_parameter", f"{name} is given {len(values)} times, expected at most once", name)
    if values and not values[0].strip():
        raise QueryError("invalid_parameter", f"{name} is empty, expected a value", name)
    return values[0].strip() if values else None


def refuse_unknown(parameters: Parameters, known: Sequence[str]) -> None:
    """Raises for a parameter that is not `known`, naming the nearest that is."""
    for name in parameters:
        if name in known or name in PLATFORM_PARAMETERS:
            continue
        nearest = get_close_matches(name[:60].lower(), known, n=1)
        meant = f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(known)}"
        raise QueryError("unknown_parameter", f"there is no parameter {name!r:.60}{meant}", name[:60])


def _group_by(parameters: Parameters) -> tuple[str, ...]:
    names = [name.strip() for value in parameters.get("group_by", ()) for name in value.split(",")]
    if not parameters.get("group_by"):
        return ("app", "model")
    if names == ["none"]:
        return ()
    for name in names:
        if name not in GROUPS:
            possible = f"expected a comma list of {', '.join(GROUPS)}, or none"
            raise QueryError("invalid_parameter", f"group_by names {name!r:.60}, {possible}", "group_by")
    if len(set(names)) != len(names):
        raise QueryError("invalid_parameter", "group_by names a dimension twice", "group_by")
    return tuple(names)


def _figures(parameters: Parameters, known: Sequence[str]) -> frozenset[str]:
    names = [name.strip() for name in (single(parameters, "figures") or "").split(",")]
    return frozenset(one_of({"figures": [name]}, "figures", known, "") for name in names if names != [""])


def app_of(parameters: Parameters) -> str | None:
    """The value of `app` where it may be given once, as it is."""
    values = _filter(parameters, "app") if "app" in parameters else frozenset()
    if len(parameters.get("app", ())) > 1:
        raise QueryError("invalid_parameter", f"app is given {len(parameters['app'])} times, expected once", "app")
    return next(iter(values), None)


def filters_of(parameters: Parameters, names: Sequence[str]) -> dict[str, frozenset[str]]:
    """The allowed values of each of `names` that is given."""
    return {name: _filter(parameters, name) for name in names if name in parameters}


def _filter(parameters: Parameters, name: str) -> frozenset[str]:
    values = parameters[name]
    if any(not value for value in values):
        raise QueryError("invalid_parameter", f"{name} is empty, expected a value", name)
    if len(values) > MAX_FILTER_VALUES:
        raise QueryError("invalid_parameter", f"{name} has {len(values)} values, the most is {MAX_FILTER_VALUES}", name)
    odd = next((value for value in values if not _is_known(name, value)), None)
    if odd is not None:
        raise QueryError("invalid_parameter", f"{name} is {odd!r:.60}, expected {_expected(name)}", name)
    if name == "app" and any(len(escape_key(value)) > MAX_ESCAPED_LENGTH for value in values):
        raise QueryError("invalid_parameter", "app is longer than the name of any app can be", name)
    return frozenset(values)


_STATUS: Final = re.compile(r"[1-9][0-9]{2}", re.ASCII)


def _is_known(name: str, value: str) -> bool:
    """Whether a filter can have this value: most can have any."""
    if name == "status":
        return bool(_STATUS.fullmatch(value))
    return name not in CLOSED or value in get_args(CLOSED[name])


def _expected(name: str) -> str:
    return "a status of HTTP, such as 429" if name == "status" else f"one of {', '.join(get_args(CLOSED[name]))}"


def moment(parameters: Parameters, name: str) -> datetime | None:
    """The value of a parameter that is a time, in UTC."""
    value = single(parameters, name)
    if value is None:
        return None
    try:
        # In a query string a plus means a space: an offset such as +01:00 often comes as " 01:00".
        time = parse_rfc3339(value[:-6] + "+" + value[-5:] if value[-6:-5] == " " else value)
    except ValueError:
        expected = "expected an RFC 3339 time with its zone, such as 2026-11-20T13:00:00Z"
        raise QueryError("invalid_parameter", f"{name} is {value!r:.60}, {expected}", name) from None
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        expected = f"expected a year from {FIRST_YEAR} to {LAST_YEAR}"
        raise QueryError("invalid_parameter", f"{name} is in the year {time.year}, {expected}", name)
    return time


def full_hour(parameters: Parameters, name: str) -> datetime | None:
    """A time that may be given and then lies on a full hour of UTC."""
    time = moment(parameters, name)
    if time is not None and time != time.replace(minute=0, second=0, microsecond=0):
        raise QueryError("invalid_parameter", f"{name} is {_text(time)}, expected a full hour of UTC", name)
    return time


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
