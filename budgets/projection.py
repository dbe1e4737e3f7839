"""How much a budget will have used at its period's end. Pure.

With history, a *profile*: how much is usual in each of the 168 hours of a week, the mean over the whole weeks before
today. What is left of the period is expected as the profile says, times how this period went against it so far; until
a twenty-fourth of what is expected of the whole has passed, the profile counts for more than the period:

    projected = actual + expected(rest) x (actual + p) / (expected(past) + p),   p = expected(whole) / 24

Without history: as much an hour as so far, once a twenty-fourth of the period has passed; before that nothing is said.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from budgets.periods import Period

HOUR: Final = timedelta(hours=1)
WEEK: Final = timedelta(days=7)
WEEKS: Final = 4
SLOTS: Final = 168
FIRST_SHARE: Final = 24
"""One part of so many of a period has to pass, or weighs as much as the profile."""

Method = Literal["profile", "linear"]
Profile = Sequence[float]
"""What is usual in each hour of a week, Monday 00:00 first, in the budget's zone."""


class Projection(NamedTuple):
    """`amount` at the period's end; None as long as nothing can be said."""

    amount: Decimal | None
    method: Method | None


def slot(instant: datetime, zone: ZoneInfo) -> int:
    """The hour of the week of an instant."""
    local = instant.astimezone(zone)
    return local.weekday() * 24 + local.hour


def profile(amounts: Iterable[tuple[datetime, Decimal]], before: datetime, zone: ZoneInfo) -> Profile | None:
    """Of what was used in each hour (by its start) up to `before`; None if there is no whole week of it."""
    used = {start: amount for start, amount in amounts if amount and start < before}
    if not used:
        return None
    weeks = min((before - min(used)) // WEEK, WEEKS)
    if not weeks:
        return None
    sums, hours = [Fraction()] * SLOTS, [0] * SLOTS
    for number in range(weeks * SLOTS):
        start = before - (number + 1) * HOUR
        at = slot(start, zone)
        hours[at] += 1
        sums[at] += Fraction(used.get(start, 0))
    if not any(sums):
        return None
    return [float(total / count) if count else 0.0 for total, count in zip(sums, hours, strict=True)]


def expected(start: datetime, end: datetime, usual: Profile, zone: ZoneInfo) -> Fraction:
    """What is usual from `start` to `end`; of an hour that is cut, its part."""
    total = Fraction()
    while start < end:
        stop = min(end, start.replace(minute=0, second=0, microsecond=0) + HOUR)
        total += Fraction(usual[slot(start, zone)]) * Fraction((stop - start) // RESOLUTION, HOUR // RESOLUTION)
        start = stop
    return total


RESOLUTION: Final = timedelta(microseconds=1)


def project(
    actual: Decimal, period: Period, now: datetime, usual: Profile | None, zone: ZoneInfo, places: int
) -> Projection:
    """`places` after the point are given."""
    so_far = Fraction(actual)
    if now >= period.end:
        return Projection(actual, None)
    now = max(now, period.start)
    if usual is not None:
        past, rest = expected(period.start, now, usual, zone), expected(now, period.end, usual, zone)
        part = (past + rest) / FIRST_SHARE
        if part:
            return Projection(_rounded(so_far + rest * (so_far + part) / (past + part), places), "profile")
    elapsed = now - period.start
    if elapsed * FIRST_SHARE < period.end - period.start:
        return Projection(None, None)
    whole = Fraction((period.end - period.start) // RESOLUTION, elapsed // RESOLUTION)
    return Projection(_rounded(so_far * whole, places), "linear")


def _rounded(amount: Fraction, places: int) -> Decimal:
    scaled = amount * 10**places
    return Decimal(-(-scaled.numerator // scaled.denominator)).scaleb(-places)
