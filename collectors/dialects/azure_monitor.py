"""What else a diagnostic setting sends to the same hub: metrics, logs of other categories. They tell of no call."""

from typing import Any, Final

from collectors.dialects import _azure_monitor as monitor
from collectors.identity import Delivery
from models.event import UsageEvent

NAME: Final = "azure-monitor"
ORDER: Final = 90  # the dialects of its logs that we read come first


def recognises(record: dict[str, Any]) -> bool:
    """By the members that Azure Monitor's schemas require of metrics and of logs."""
    return monitor.is_metric(record) or monitor.is_log(record)


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent | None:
    """Nothing: it is not about a call."""
    return None
