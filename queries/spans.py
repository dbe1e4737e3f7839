"""Which rows answer a time range: whole months from month rows, whole days from day rows, the edges from hour rows."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, NamedTuple

from queries.question import Granularity

Level = Literal["h", "d", "m"]
_KEY_TIME: dict[Level, str] = {"h": "%Y%m%d%H", "d": "%Y%m%d", "m": "%Y%m"}


class Span(NamedTuple):
    """The aggregate rows of one level with `start` <= time < `end`, all in the partition of `month` (`YYYYMM`)."""

    month: str
    level: Level
    start: datetime
    end: datetime

    @property
    def row_keys(self) -> tuple[str, str]:
        """The first RowKey of the span, and the first one after it."""
        form = f"{self.level}|{_KEY_TIME[self.level]}"
        end = self.end.strftime(form)
        # A month row's span ends where the next month begins, in another partition: any key after `m|` will do.
        return self.start.strftime(form), end if self.level != "m" else "m~"


def row_time(row_key: str) -> str:
    """The time in an aggregate row's key, as digits."""
    return row_key.split("|", 2)[1]


def row_hour(row_key: str) -> str:
    """The first hour of what a row sums up, `YYYYMMDDHH`."""
    time = row_time(row_key)
    return time[:10] if len(time) >= 10 else time + ("0100" if len(time) == 6 else "00")


def utc_text(hour: datetime) -> str:
    """A full hour in UTC as answers show it, in RFC 3339."""
    return hour.strftime("%Y-%m-%dT%H:%M:%SZ")


def bucket_start(row_key: str, granularity: Granularity, start: datetime) -> str:
    """The RFC 3339 start of the bucket that a row falls in; for `total`, the start of the range."""
    if granularity == "total":
        return utc_text(start)
    time = row_time(row_key)
    month, day, hour = f"{time[:4]}-{time[4:6]}", time[6:8] or "01", time[8:10] or "00"
    if granularity == "month":
        return f"{month}-01T00:00:00Z"
    return f"{month}-{day}T{hour if granularity == 'hour' else '00'}:00:00Z"


def pieces(start: datetime, end: datetime, edges: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """A range cut at the edges inside of it, which come in order."""
    return list(pairwise([start, *(edge for edge in edges if start < edge < end), end]))


def spans(start: datetime, end: datetime, granularity: Granularity) -> Iterator[Span]:
    """The spans that cover `start` <= time < `end` exactly, in order. Both lie on a full hour in UTC."""
    while start < end:
        first = start.replace(day=1, hour=0)
        next_month = (first + timedelta(days=32)).replace(day=1)
        stop = min(end, next_month)
        yield from _in_month(f"{start:%Y%m}", start, stop, granularity, whole=start == first and stop == next_month)
        start = stop


def _in_month(month: str, start: datetime, end: datetime, granularity: Granularity, *, whole: bool) -> Iterator[Span]:
    if whole and granularity in ("month", "total"):
        yield Span(month, "m", start, end)
        return
    first_day = start if start.hour == 0 else start.replace(hour=0) + timedelta(days=1)
    after_days = end.replace(hour=0)
    if granularity == "hour" or first_day >= after_days:
        yield Span(month, "h", start, end)
        return
    if start < first_day:
        yield Span(month, "h", start, first_day)
    yield Span(month, "d", first_day, after_days)
    if after_days < end:
        yield Span(month, "h", after_days, end)
