"""The parameters of a request, checked: every mistake gets an error that names the parameter and what is possible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from math import ceil
from typing import Final, Literal, get_args

from models.call import DIMENSIONS
from models.errors import QueryError
from models.event import parse_rfc3339
from models.keys import MAX_ESCAPED_LENGTH, escape_key

Granularity = Literal["hour", "day", "month", "total"]
GRANULARITIES: Final[tuple[Granularity, ...]] = get_args(Granularity)

Parameters = Mapping[str, Sequence[str]]
"""A query string: the values of each parameter in order."""

PLATFORM_PARAMETERS: Final = ("code", "clientId")
"""The parameters in which a function key may come; they are the platform's, not ours."""

DEFAULT_RANGE: Final = timedelta(hours=24)
FIRST_YEAR, LAST_YEAR = 2000, 2100
MAX_FILTER_VALUES = 100
HOUR: Final = timedelta(hours=1)
RESOLUTION: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """`start` <= time < `end`, both on a full hour in UTC. `filters` holds the allowed values of each dimension.

    No row that is read may lie on both sides of one of `edges`, which are full hours too: there prices change.
    """

    start: datetime
    end: datetime
    granularity: Granularity
    group_by: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]
    edges: tuple[datetime, ...] = ()


def usage_query(parameters: Parameters, now: datetime, dimensions: Sequence[str], max_days: int) -> UsageQuery:
    """Read the parameters of `/api/usage`; `dimensions` are those that the aggregate rows tell apart.

    A range that does not lie on full hours is widened to them; the answer says which range it covers.
    """
    known = ("from", "to", "tz", "granularity", "group_by", "format", "app", "model", *dimensions)
    refuse_unknown(parameters, known, hints={name: _not_aggregated(name) for name in DIMENSIONS})
    start, end = time_range(parameters, now, max_days, DEFAULT_RANGE)
    granularity = one_of(parameters, "granularity", GRANULARITIES, "hour")
    if (zone := single(parameters, "tz")) not in (None, "UTC"):
        raise QueryError("invalid_parameter", f"tz is {zone!r:.60}, expected UTC (the only one so far)", "tz")
    return UsageQuery(
        start=start,
        end=end,
        granularity=granularity,
        group_by=_group_by(parameters, ("app", "model", *dimensions)),
        filters={name: _filter(parameters, name) for name in ("app", "model", *dimensions) if name in parameters},
    )


def time_range(parameters: Parameters, now: datetime, max_days: int, default: timedelta) -> tuple[datetime, datetime]:
    """`from` and `to`, widened to full hours; `to` is now if it is not given, `from` lies `default` before it."""
    end = _time(parameters, "to") or now
    start = _time(parameters, "from") or end - default
    if start >= end:
        raise QueryError("invalid_range", f"from ({_text(start)}) must lie before to ({_text(end)})", "from")
    if end - start > timedelta(days=max_days):
        days = ceil((end - start) / timedelta(days=1))
        raise QueryError("range_too_long", f"the range takes {days} days, the most is {max_days}", "from")
    return _floor_hour(start), _floor_hour(end + HOUR - RESOLUTION)


def one_of(parameters: Parameters, name: str, allowed: Sequence[Granularity], default: Granularity) -> Granularity:
    """The value of a parameter that knows few."""
    value = single(parameters, name)
    if value is None:
        return default
    for choice in allowed:
        if value == choice:
            return choice
    raise QueryError("invalid_parameter", f"{name} is {value!r:.60}, expected one of {', '.join(allowed)}", name)


def single(parameters: Parameters, name: str) -> str | None:
    """The value of a parameter that may be given once."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise QueryError("invalid_parameter", f"{name} is given {len(values)} times, expected at most once", name)
    if values and not values[0].strip():
        raise QueryError("invalid_parameter", f"{name} is empty, expected a value", name)
    return values[0].strip() if values else None


def refuse_unknown(parameters: Parameters, known: Sequence[str], hints: Mapping[str, str] | None = None) -> None:
    """Raises for a parameter that is not `known`, naming the nearest that is, or with the hint for it."""
    for name in parameters:
        if name in known or name in PLATFORM_PARAMETERS:
            continue
        if hints and name in hints:
            raise QueryError("dimension_not_aggregated", hints[name], name)
        nearest = get_close_matches(name[:60].lower(), known, n=1)
        meant = f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(known)}"
        raise QueryError("unknown_parameter", f"there is no parameter {name!r:.60}{meant}", name[:60])


def _group_by(parameters: Parameters, allowed: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip() for value in parameters.get("group_by", ()) for name in value.split(",")]
    if not parameters.get("group_by"):
        return ("app", "model")
    if names == ["none"]:
        return ()
    for name in names:
        if name in DIMENSIONS and name not in allowed:
            raise QueryError("dimension_not_aggregated", _not_aggregated(name), "group_by")
        if name not in allowed:
            possible = f"expected a comma list of {', '.join(allowed)}, or none"
            raise QueryError("invalid_parameter", f"group_by names {name!r:.60}, {possible}", "group_by")
    if len(set(names)) != len(names):
        raise QueryError("invalid_parameter", "group_by names a dimension twice", "group_by")
    return tuple(names)


def _filter(parameters: Parameters, name: str) -> frozenset[str]:
    values = parameters[name]
    if any(not value for value in values):
        raise QueryError("invalid_parameter", f"{name} is empty, expected a value", name)
    if len(values) > MAX_FILTER_VALUES:
        raise QueryError("invalid_parameter", f"{name} has {len(values)} values, the most is {MAX_FILTER_VALUES}", name)
    if name == "app" and any(len(escape_key(value)) > MAX_ESCAPED_LENGTH for value in values):
        raise QueryError("invalid_parameter", "app is longer than the name of any app can be", name)
    return frozenset(values)


def _not_aggregated(name: str) -> str:
    return f"usage is not aggregated by {name}: an operator can add it to the setting AGGREGATE_DIMENSIONS"


def _time(parameters: Parameters, name: str) -> datetime | None:
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


def _floor_hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
