"""A row as one line of JSON, exactly: the form in which Table Storage itself shows rows, a column's type beside it
where JSON does not tell it (`"calls": "12", "calls@odata.type": "Edm.Int64"`).

Source: learn.microsoft.com, "Payload format for Table service operations". Whole numbers without a type are Edm.Int32.
"""

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from azure.data.tables import EdmType, EntityProperty

Entity = dict[str, Any]
"""A row's columns, PartitionKey and RowKey among them."""

_TYPE: Final = "@odata.type"


def dump_row(columns: Mapping[str, Any]) -> str:
    """`columns` as WholeStore.typed gives them, in ASCII; None is no column.

    Raises ValueError for a value of a type that no table has."""
    document: dict[str, Any] = {}
    for name, value in columns.items():
        kind = type(value)
        if kind is str or kind is bool:
            document[name] = value
        elif value is not None:
            document[name], type_name = _plain(name, value)
            if type_name is not None:
                document[name + _TYPE] = type_name
    try:
        row = msgspec.json.encode(document)
    except (UnicodeEncodeError, TypeError):  # half a letter; a kind of str or int of its own
        return _dump(document)
    return row.decode("ascii") if row.isascii() else _dump(document)


def load_row(line: str | bytes) -> Entity:
    """What `dump_row` made `line` of. Raises ValueError."""
    document = json.loads(line)
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key), str) for key in ("PartitionKey", "RowKey")
    ):
        raise ValueError("not a row: expected a JSON object with PartitionKey and RowKey")
    values = {name: value for name, value in document.items() if not name.endswith(_TYPE)}
    return {name: _typed(name, value, document.get(name + _TYPE)) for name, value in values.items()}


_dump: Final = json.JSONEncoder(separators=(",", ":")).encode


_NOT_FINITE: Final = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def _plain(name: str, value: Any) -> tuple[Any, str | None]:
    kind = type(value)
    if kind is EntityProperty and value[1] == EdmType.INT64:
        if isinstance(value[0], int) and -(2**63) <= value[0] < 2**63:
            return str(value[0]), "Edm.Int64"
    elif kind is int and -(2**31) <= value < 2**31:
        return value, None
    elif kind is float and math.isfinite(value):
        return value, "Edm.Double"
    match value:
        case EntityProperty(time, EdmType.DATETIME):
            return str(time), "Edm.DateTime"
        case str() | bool():  # a StrEnum too
            return value, None
        case int() if -(2**31) <= value < 2**31:
            return value, None
        case float():
            return value if math.isfinite(value) else _NOT_FINITE[str(value)], "Edm.Double"
        case bytes():
            return base64.b64encode(value).decode(), "Edm.Binary"
        case UUID():
            return str(value), "Edm.Guid"
        case datetime():  # the SDK's own, which keeps all seven digits that the service has
            read = getattr(value, "tables_service_value", None)
            return read or value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "Edm.DateTime"
    raise ValueError(f"column {name} has a value of type {type(value).__name__} that no table has")


def _typed(name: str, value: Any, type_name: object) -> Any:
    match type_name:
        case None:
            if isinstance(value, str | bool | int):
                return value
        case "Edm.Int64":
            return EntityProperty(int(value), EdmType.INT64)
        case "Edm.Double":
            return float(value)
        case "Edm.Binary":
            return base64.b64decode(value, validate=True)
        case "Edm.Guid":
            return UUID(value)
        case "Edm.DateTime":
            return EntityProperty(value, EdmType.DATETIME)
    raise ValueError(f"column {name} is no value of type {type_name or 'Edm.String'}")
