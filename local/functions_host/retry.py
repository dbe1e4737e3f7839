"""The retry policy of a function: how often, and how long to wait. Pure."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FOREVER = -1


@dataclass(frozen=True)
class RetryPolicy:
    """What `@app.retry` says. A fixed delay has equal minimum and maximum."""

    max_retry_count: int
    minimum_seconds: float
    maximum_seconds: float

    def allows(self, retry_number: int) -> bool:
        """Whether retry number 1, 2, ... may take place."""
        return self.max_retry_count == FOREVER or retry_number <= self.max_retry_count

    def delay_seconds(self, retry_number: int) -> float:
        """The wait before retry number 1, 2, ...: the minimum, doubled each time, up to the maximum.

        Unlike the real host there is no random part. A minimum of zero doubles from one second.
        """
        first = self.minimum_seconds or min(1.0, self.maximum_seconds)
        return min(self.maximum_seconds, first * 2.0 ** min(retry_number - 1, 40))


NO_RETRY = RetryPolicy(max_retry_count=0, minimum_seconds=0, maximum_seconds=0)


def parse_retry_policy(setting: Mapping[str, Any] | None) -> RetryPolicy:
    """The policy in a function's `retry_policy` setting, as strict as the Python worker.

    Raises:
        ValueError: unknown strategy, or a missing or malformed count or interval.
    """
    if setting is None:
        return NO_RETRY
    count = int(setting["max_retry_count"])
    match setting["strategy"]:
        case "fixed_delay":
            delay = _interval(setting, "delay_interval")
            return RetryPolicy(count, delay, delay)
        case "exponential_backoff":
            minimum, maximum = _interval(setting, "minimum_interval"), _interval(setting, "maximum_interval")
            if minimum > maximum:
                raise ValueError("minimum_interval is greater than maximum_interval")
            return RetryPolicy(count, minimum, maximum)
        case strategy:
            raise ValueError(f"unknown strategy '{strategy}'")


def _interval(setting: Mapping[str, Any], name: str) -> float:
    text = setting.get(name)
    if text is None:
        raise ValueError(f"{setting['strategy']} needs {name}")
    try:
        parsed = time.strptime(text, "%H:%M:%S")
    except ValueError as error:
        raise ValueError(f"{name} '{text}' is not hh:mm:ss") from error
    return float((parsed.tm_hour * 60 + parsed.tm_min) * 60 + parsed.tm_sec)
