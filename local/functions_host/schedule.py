"""Timer schedules: NCRONTAB expressions and time spans. Pure; all times are UTC, as in Azure."""

from collections.abc import Callable
from datetime import datetime, timedelta

from croniter import croniter
from croniter.croniter import CroniterError

from local.functions_host.settings import parse_time_span


def parse_schedule(text: str) -> Callable[[datetime], datetime]:
    """A function from a moment to the next occurrence strictly after it.

    `text` has six fields (seconds first) or five, or is a time span such as `00:05:00`. Where day of month and day
    of week are both given, both must fit (NCRONTAB), not one of them (cron).

    Raises:
        ValueError: `text` is neither.
    """
    if ":" in text:
        seconds = parse_time_span(text)
        if seconds <= 0:
            raise ValueError(f"the time span '{text}' must be longer than zero")
        return lambda moment: moment + timedelta(seconds=seconds)
    if len(text.split()) not in (5, 6):
        raise ValueError(f"'{text}' is neither a cron expression of six fields nor a time span")

    def next_occurrence(moment: datetime) -> datetime:
        found: datetime = croniter(text, moment, second_at_beginning=True, day_or=False).get_next(datetime)
        return found

    try:
        croniter(text, second_at_beginning=True, day_or=False)
    except CroniterError as error:
        raise ValueError(str(error)) from error
    return next_occurrence
