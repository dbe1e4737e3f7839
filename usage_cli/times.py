"""The range to ask for, as people write it. Pure."""

import re
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def zone(text: str) -> ZoneInfo:
    """Raises ValueError for what is no IANA name."""
    try:
        return ZoneInfo(text)
    except (KeyError, OSError) as error:  # an unknown name; one that is no name of a file
        raise ValueError(f"{text!r} is no time zone, expected an IANA name such as Europe/Berlin") from error


def month(text: str, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """`2026-11`, from its first midnight to the next month's."""
    if not re.fullmatch(r"\d{4}-\d{2}", text, re.ASCII):
        raise ValueError(f"{text!r} is no month, expected one such as 2026-11")
    first = date.fromisoformat(f"{text}-01")
    after = (first + timedelta(days=32)).replace(day=1)
    return _midnight(first, tz), _midnight(after, tz)


def last(text: str, now: datetime) -> tuple[datetime, datetime]:
    """`24h`, `7d` or `4w`, until now."""
    found = re.fullmatch(r"(\d{1,4})([hdw])", text, re.ASCII)
    if not found:
        raise ValueError(f"{text!r} is no length of time, expected one such as 24h, 7d or 4w")
    return now - int(found[1]) * _UNITS[found[2]], now


def moment(text: str, tz: ZoneInfo) -> datetime:
    """A day, which means its midnight in `tz`, or an RFC 3339 time; one without an offset is of `tz` too."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return _midnight(date.fromisoformat(text), tz)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time, expected a day such as 2026-11-20 or 2026-11-20T13:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=tz)


def _midnight(day: date, tz: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tz)
