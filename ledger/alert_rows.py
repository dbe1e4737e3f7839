"""The rows of table `alerts` (ledger/alerts.py says which there are), and the way between them and alerts."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from ledger.rows import utc_text
from ledger.store import Entity
from models.alert import Alert, Delivery
from models.dead_letter import microseconds

PARTITION: Final = "alerts"
_LAST: Final = 10**17 - 1
"""Microseconds since 1970, in the year 5138."""
_TIMES: Final = ("raised", "period_start", "period_end", "last_attempt", "next_attempt")
_AMOUNTS: Final = ("limit", "actual", "projected", "usual")


def mark_key(digest: str) -> str:
    """Of the row that says that an alert was raised."""
    return f"i|{digest}"


def row_key(alert: Alert) -> str:
    """Of the alert's own row: the newer, the smaller."""
    return f"{newest_first(alert.raised)}|{alert.digest}"


def newest_first(time: datetime) -> str:
    """The first key of the alerts that were raised then; those raised before have larger ones."""
    return f"r|{_LAST - microseconds(time):017}"


def due_key(time: datetime, digest: str) -> str:
    """Of the row that says when the alert is to be sent."""
    return f"d|{utc_text(time)}|{digest}"


def entity_of(alert: Alert, delivery: Delivery) -> Entity:
    """The alert's own row. What is None is no column; times end in `_utc` and amounts are texts, so as to be exact."""
    entity: Entity = {"PartitionKey": PARTITION, "RowKey": row_key(alert)}
    for part in (alert, delivery):
        for field in fields(part):
            value = getattr(part, field.name)
            if value is not None:
                entity[_column(field.name)] = _cell(value)
    return entity


def alert_of(columns: Mapping[str, Any]) -> Alert:
    """The alert of its row."""
    return Alert(**_values(columns, Alert))


def delivery_of(columns: Mapping[str, Any]) -> Delivery:
    """What became of it, of the same row."""
    return Delivery(**_values(columns, Delivery))


def _values(columns: Mapping[str, Any], of: type[Alert] | type[Delivery]) -> dict[str, Any]:
    found = {field.name: columns[_column(field.name)] for field in fields(of) if _column(field.name) in columns}
    return {name: _parsed(name, value) for name, value in found.items()}


def _column(name: str) -> str:
    return f"{name}_utc" if name in _TIMES else name


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_text(value)
    return f"{value:f}" if isinstance(value, Decimal) else value


def _parsed(name: str, value: Any) -> Any:
    if name in _TIMES:
        return datetime.fromisoformat(value)
    return Decimal(value) if name in _AMOUNTS else value
