"""Which rows answer a time range: whole months from month rows, whole days from day rows, the edges from hour rows, and
parts of an hour from call rows. All in UTC, as the rows are."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, NamedTuple

from ledger.rows import utc_text
from queries.buckets import DAY, HOUR, Granularity, cuts
from queries.question import UsageQuery

Level = Literal["c", "h", "d", "m"]
_KEY_TIME: dict[Level, str] = {"c": "%Y%m%d", "h": "%Y%m%d%H", "d": "%Y%m%d", "m": "%Y%m"}
RESOLUTION = timedelta(microseconds=1)


class Span(NamedTuple):
    """The rows of one level with `start` <= time < `end`, all in the partition of `month` (`YYYYMM`)."""

    month: str
    level: Level
    start: datetime
    end: datetime

    @property
    def row_keys(self) -> tuple[str, str]:
        """The first RowKey of the span, and the first one after it. Those of call rows hold no more than the day."""
        form = f"{self.level}|{_KEY_TIME[self.level]}"
        if self.level == "c":
            return self.start.strftime(form), (self.end - RESOLUTION).strftime(form) + "~"
        # A month row's span ends where the next month begins, in another partition: any key after `m|` will do.
        return self.start.strftime(form), self.end.strftime(form) if self.level != "m" else "m~"

    @property
    def times(self) -> tuple[str, str] | None:
        """The first `timestamp_utc` of call rows, and the first one after them."""
        return (utc_text(self.start), utc_text(self.end)) if self.level == "c" else None

    @property
    def days(self) -> int:
        """The days of UTC that the span touches."""
        return ((self.end - RESOLUTION).date() - self.start.date()).days + 1


def row_time(row_key: str) -> datetime:
    """When what a row sums up began, of the row's key."""
    time = row_key.split("|", 2)[1]
    month, day, hour, minute = time[4:6], time[6:8] or "1", time[8:10] or "0", time[10:12] or "0"
    return datetime(int(time[:4]), int(month), int(day), int(hour), int(minute), tzinfo=UTC)


def row_hour(row_key: str) -> str:
    """The first hour of what a row sums up, `YYYYMMDDHH`."""
    time = row_key.split("|", 2)[1]
    return time[:10] if len(time) >= 10 else time + ("0100" if len(time) == 6 else "00")


def spans_of(query: UsageQuery) -> list[Span]:
    """The spans that answer a question, in order."""
    if query.from_calls:
        return list(_merged(_by_month(query.start, query.end, "c")))
    parts = cuts(query.start, query.end, query.granularity, query.zone)
    return spans((piece for part in parts for piece in _pieces(*part, query.edges)), query.granularity)


def _pieces(start: datetime, end: datetime, edges: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """A part of the range, cut at the edges inside of it."""
    return pairwise([start, *(edge for edge in edges if start < edge < end), end])


def source_of(query: UsageQuery) -> Literal["aggregates", "calls", "both"]:
    """Which rows an answer is added up from."""
    levels = {span.level for span in spans_of(query)}
    return "aggregates" if "c" not in levels else "calls" if levels == {"c"} else "both"


def spans(parts: Iterable[tuple[datetime, datetime]], granularity: Granularity) -> list[Span]:
    """The spans that cover each part exactly, in order, those that follow one another as one. A part is a bucket, so
    that no row lies in two; buckets of an hour need hour rows."""
    finest = granularity == "hour"
    return list(_merged(span for start, end in parts for span in _cover(start, end, finest=finest)))


def months(start: datetime, end: datetime) -> list[str]:
    """The months (`YYYYMM`) of a range, in UTC."""
    return [span.month for span in _by_month(start, end, "h")]


def _merged(found: Iterable[Span]) -> Iterator[Span]:
    last: Span | None = None
    for span in found:
        if last is not None and (last.month, last.level, last.end) == (span.month, span.level, span.start):
            last = last._replace(end=span.end)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def _cover(start: datetime, end: datetime, *, finest: bool) -> Iterator[Span]:
    first_hour, after_hours = _next(start, HOUR), _floor(end, HOUR)
    if first_hour > after_hours:  # within one hour
        yield from _by_month(start, end, "c")
        return
    yield from _by_month(start, first_hour, "c")
    for span in _by_month(first_hour, after_hours, "h"):
        yield from [span] if finest else _coarser(span)
    yield from _by_month(after_hours, end, "c")


def _by_month(start: datetime, end: datetime, level: Level) -> Iterator[Span]:
    while start < end:
        stop = min(end, _next_month(start))
        yield Span(f"{start:%Y%m}", level, start, stop)
        start = stop


def _coarser(span: Span) -> Iterator[Span]:
    month, _, start, end = span
    if start == start.replace(day=1, hour=0) and end == _next_month(start):
        yield span._replace(level="m")
        return
    first_day, after_days = _next(start, DAY), _floor(end, DAY)
    if first_day >= after_days:
        yield span
        return
    if start < first_day:
        yield Span(month, "h", start, first_day)
    yield Span(month, "d", first_day, after_days)
    if after_days < end:
        yield Span(month, "h", after_days, end)


def _next_month(time: datetime) -> datetime:
    return (_floor(time, DAY).replace(day=1) + 32 * DAY).replace(day=1)


def _floor(time: datetime, unit: timedelta) -> datetime:
    floored = time.replace(minute=0, second=0, microsecond=0)
    return floored.replace(hour=0) if unit == DAY else floored


def _next(time: datetime, unit: timedelta) -> datetime:
    floored = _floor(time, unit)
    return floored if floored == time else floored + unit
