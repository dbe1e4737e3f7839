"""How many events each hub had taken in by each hour: table `directory`, PartitionKey `traffic`, a row per hub and day.

For operators only: it tells a hub that has fallen silent from one that is silent at this time of every week. Rules of
Azure Monitor cannot, since they look back two days at most. The rows are a ring: a day's row is written over by the
28th day after it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median_low
from typing import Final

from ledger.retry import insist
from ledger.store import Row, Store
from models.keys import escape_key

PARTITION_KEY: Final = "traffic"
HOUR: Final = timedelta(hours=1)
WEEKS: Final = (timedelta(weeks=1), timedelta(weeks=2), timedelta(weeks=3))
LOOKED_BACK: Final = timedelta(hours=96)
"""At a silence: longer than a weekend, so that a silence that began before one does not look as if it had ended."""
DAYS: Final = 28
"""That are kept: three weeks before the hour that is looked back at, and the hour before that."""

Totals = Mapping[datetime, int]
"""By hour: the events that a hub had ever taken in by the end of it, or of what was seen of it."""


class Traffic:
    """Written by one timer, read by whoever looks."""

    def __init__(self, store: Store):
        self._store = store

    async def note(self, hub: str, time: datetime, total: int) -> None:
        """So many events had this hub taken in at this time. Raises StoreError, StoreUnavailable."""
        day = time.date()
        key = f"{escape_key(hub)}|{day.toordinal() % DAYS:02}"
        row = await self._store.get(PARTITION_KEY, key)
        totals = _totals(row) if row is not None and row.columns["day"] == day.isoformat() else {}
        hours = [totals.get(_hour(time.replace(hour=hour))) for hour in range(24)]
        hours[time.hour] = total
        columns = {"hub": hub, "day": day.isoformat(), "totals": json.dumps(hours)}
        await insist(partial(self._store.upsert, [{"PartitionKey": PARTITION_KEY, "RowKey": key, **columns}]))

    async def totals(self) -> dict[str, dict[datetime, int]]:
        """By hub. Raises StoreError."""
        found: dict[str, dict[datetime, int]] = {}
        async for row in self._store.range(PARTITION_KEY, "", "~~"):
            found.setdefault(row.columns["hub"], {}).update(_totals(row))
        return found


def _totals(row: Row) -> dict[datetime, int]:
    day = datetime.fromisoformat(row.columns["day"]).replace(tzinfo=UTC)
    totals = enumerate(json.loads(row.columns["totals"]))
    return {day + hour * HOUR: total for hour, total in totals if total is not None}


def overdue(totals: Totals, total: int, now: datetime) -> int:
    """The events that are usual in the whole hours since the last event came, 0 where nothing is known of the weeks
    before. `total` is that of now."""
    this = _hour(now)
    hour = max(_silent_since(totals, total, this), this - LOOKED_BACK)
    events = 0
    while hour < this:
        events += _usual(totals, hour)
        hour += HOUR
    return events


def _silent_since(totals: Totals, total: int, this: datetime) -> datetime:
    """The end of the last hour in which an event can have come."""
    last = this
    for hour in sorted((hour for hour in totals if hour <= this), reverse=True):
        if totals[hour] != total:
            break
        last = hour
    return last + HOUR


def _usual(totals: Totals, hour: datetime) -> int:
    """Of the same hour in the weeks before: the middle one of three, the smaller one of two; so one holiday is neither
    taken for usual nor told of. Of each week the smallest of three hours: work begins an hour later now and then, and
    in UTC it does when clocks change."""
    weeks = [events for ago in WEEKS if (events := _smallest(totals, hour - ago)) is not None]
    return median_low(weeks) if weeks else 0


def _smallest(totals: Totals, hour: datetime) -> int | None:
    """None where one of the hours is not known, since nobody looked."""
    events = [_events(totals, hour + away) for away in (-HOUR, timedelta(), HOUR)]
    return min(found for found in events if found is not None) if None not in events else None


def _events(totals: Totals, hour: datetime) -> int | None:
    before, after = totals.get(hour - HOUR), totals.get(hour)
    if before is None or after is None:
        return None
    return after - before if after >= before else after  # a hub that was made anew begins again


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
