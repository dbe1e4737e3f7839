"""Hours, days and months in a time zone, as instants. Pure.

A zone whose offset is not in whole hours (Asia/Kolkata, +05:30) has edges inside the hours of UTC, and a day on which
clocks change has 23 or 25 hours: so buckets are instants in UTC, made from the zone's own wall clock.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo, reset_tzpath

from models.errors import QueryError

Granularity = Literal["hour", "day", "month", "total"]
GRANULARITIES: Final[tuple[Granularity, ...]] = get_args(Granularity)

# The rules of the package tzdata, which is locked, not of the machine's image: else a day's bill is another there.
reset_tzpath(())

UTC_ZONE: Final = ZoneInfo("UTC")
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split()) - _OF_MACHINES


_OF_MACHINES: Final = frozenset({"Factory", "localtime", "posixrules"})
"""Names that stand for what a machine was or was not set to, and for no place."""


def zone_named(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises QueryError naming the nearest."""
    name = name.replace(" ", "+")  # in a query string a plus means a space, and only Etc/GMT+5 and the like have one
    if name in _names():
        return ZoneInfo(name)
    by_lower_case = {known.lower(): known for known in _names()}
    nearest = get_close_matches(name[:60].lower(), by_lower_case, n=1)
    meant = f"; did you mean {by_lower_case[nearest[0]]}?" if nearest else ", such as Europe/Berlin"
    raise QueryError("invalid_parameter", f"tz is {name!r:.60}, expected an IANA name{meant}", "tz")


def zone_text(instant: datetime, zone: ZoneInfo) -> str:
    """An instant in RFC 3339 as the zone's clocks show it: with `Z` in UTC, else with the offset."""
    return instant.astimezone(zone).isoformat().replace("+00:00", "Z" if zone.key == "UTC" else "+00:00")


def hour_before(instant: datetime, zone: ZoneInfo) -> datetime:
    """The last full hour of the zone's clocks that is not after `instant`, in UTC."""
    local = instant.astimezone(zone)
    return instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Where a day of the zone begins, in UTC. Where clocks skip midnight, it begins at the instant of the change."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def month_after(day: date, months: int = 1) -> date:
    """The first of the month so many months later, or earlier."""
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


@lru_cache(maxsize=16)
def bucket_starts(start: datetime, end: datetime, granularity: Granularity, zone: ZoneInfo) -> tuple[datetime, ...]:
    """Where the buckets of `start` <= time < `end` begin, in UTC, in order. The first can lie before `start`."""
    if granularity == "total":
        return (start,)
    starts = {"hour": _hours, "day": _days, "month": _months}[granularity](start, zone)
    found = [next(starts)]
    for instant in starts:
        if instant >= end:
            break
        if instant <= start or instant == found[-1]:  # a day that a zone left out altogether has no length
            found.pop()
        found.append(instant)
    return tuple(found)


def _hours(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    instant = hour_before(start, zone)
    local = instant.astimezone(zone)
    yield instant
    while True:
        hour, instant = local.hour, instant + timedelta(minutes=60 - local.minute)
        local = instant.astimezone(zone)
        if local.minute == 0 or local.hour != hour:  # else clocks were set back by half an hour: the hour goes on
            yield instant


def _days(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    day = start.astimezone(zone).date()
    while True:
        yield midnight(day, zone)
        day += DAY


def _months(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    month = start.astimezone(zone).date().replace(day=1)
    while True:
        yield midnight(month, zone)
        month = month_after(month)


def cuts(start: datetime, end: datetime, granularity: Granularity, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The part of each bucket that lies in the range."""
    inner = [instant for instant in bucket_starts(start, end, granularity, zone) if instant > start]
    return list(pairwise([start, *inner, end]))
