"""The range before, and what changed since. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from models.errors import QueryError
from prices.price import EXACT, decimal_text
from queries.buckets import midnight, month_after
from queries.question import START, UsageQuery


def previous(query: UsageQuery) -> UsageQuery:
    """The same question of the range before, with as many buckets, so that the n-th of one can be compared with the
    n-th of the other. Months are compared with months, whatever their lengths; days with days, whatever their hours.

    Raises QueryError where months are asked for that are not whole.
    """
    start, end, zone = query.start, query.end, query.zone
    first, after = start.astimezone(zone).date(), end.astimezone(zone).date()
    if _is_month(start, zone) and _is_month(end, zone) and query.granularity in ("month", "total"):
        before = _month(first, (first.year - after.year) * 12 + first.month - after.month, zone)
    elif query.granularity == "month":
        raise _not_whole("months", "the first of a month")
    elif query.granularity == "hour" or not (_is_day(start, zone) and _is_day(end, zone)):
        if query.granularity == "day":
            raise _not_whole("days", "midnight")
        before = start - (end - start)
    else:
        before = midnight(first - (after - first), zone)
    return replace(query, start=before, end=start, order_by=START, limit=None, after=None, fill=False, compare=False)


def _not_whole(what: str, edge: str) -> QueryError:
    message = f"to be compared by {what}, the range must hold whole ones: expected from and to at {edge} in tz"
    return QueryError("invalid_parameter", message, "compare")


def _month(first: date, months: int, zone: ZoneInfo) -> datetime:
    return midnight(month_after(first, months), zone)


def _is_day(instant: datetime, zone: ZoneInfo) -> bool:
    return midnight(instant.astimezone(zone).date(), zone) == instant


def _is_month(instant: datetime, zone: ZoneInfo) -> bool:
    return midnight(instant.astimezone(zone).date().replace(day=1), zone) == instant


def compared(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside figures: those of the range before, and by how much each grew."""
    return {"previous": before, "change": change(now, before)}


def change(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """By how much each figure grew; null where one of the two is not known. That of a cost is not known either where
    there is usage without a price: it would tell what has a price from what has none, not how much more it costs."""
    unpriced = any(each.get(name) for each in (now, before) for name in _UNPRICED)
    return {
        name: None if unpriced and name in _OF_PRICES else _difference(value, before[name])
        for name, value in now.items()
    }


_UNPRICED: Final = ("unpriced_tokens", "unpriced_audio_seconds")
_OF_PRICES: Final = ("cost", "cache_savings")


def _difference(now: Any, before: Any) -> Any:
    if isinstance(now, Mapping):
        return change(now, before)
    if now is None or before is None:
        return None
    if isinstance(now, str):  # an amount of money
        return decimal_text(EXACT.subtract(Decimal(now), Decimal(before)))
    return now - before if isinstance(now, int) else float(Decimal(str(now)) - Decimal(str(before)))
