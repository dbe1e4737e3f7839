"""Whether an hour of an app is far above what is usual for it. Pure.

What is usual is told by the same hour of the six weeks before and of the six days before, each with the hour on either
side: of these three the largest counts, so that a job that runs every week, an hour sooner or later, is usual.

    usual     = the larger one of: the median of the weeks, the median of the days
    spread    = the median of how far the weeks are from their median (MAD), times 1.4826: so it is one standard
                deviation if they are normally distributed, and a single odd week hardly moves it
    unusual   = not less than the floor, 3 x usual and usual + 6 x spread

The weeks know the pattern of a week; the days know what changed since: an app that uses three times as much from one
day on is told of for some days, not for three weeks.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

HOUR: Final = timedelta(hours=1)
DAYS: Final = tuple(timedelta(days=number) for number in range(1, 7))
WEEKS: Final = tuple(timedelta(weeks=number) for number in range(1, 7))
KNOWN_FOR: Final = timedelta(weeks=3)
"""An app that had its first call later than this before an hour has no usual yet."""
FACTOR: Final = 3
SPREADS: Final = 6
NORMAL: Final = 1.4826


class History(NamedTuple):
    """Tokens of an app: of each week before the largest hour of three, the last week first; and so of each day."""

    weeks: Sequence[int]
    days: Sequence[int]


def windows(first: datetime, last: datetime) -> list[tuple[datetime, datetime]]:
    """The ranges of time that tell what is usual in the hours from the first to the last."""
    return [(first - ago - HOUR, last - ago + 2 * HOUR) for ago in (*WEEKS, *DAYS)]


def history_of(hour: datetime, tokens: Mapping[datetime, int]) -> History:
    """Of the tokens of each hour in these ranges; an hour that is not there had none."""

    def largest(ago: timedelta) -> int:
        return max(tokens.get(hour - ago + away * HOUR, 0) for away in (-1, 0, 1))

    return History([largest(ago) for ago in WEEKS], [largest(ago) for ago in DAYS])


def usual(history: History) -> float:
    """What is usual in this hour."""
    return max(median(history.weeks), median(history.days))


def bound(history: History, floor: int) -> float:
    """From how many tokens on the hour is unusual."""
    middle = median(history.weeks)
    spread = NORMAL * median(abs(each - middle) for each in history.weeks)
    expected = usual(history)
    return max(floor, FACTOR * expected, expected + SPREADS * spread)
