"""The rows of table `usage`: keys, columns, and the way between them and calls or sums.

PartitionKey `{app}|{YYYYMM}`: one app in one month. Where that is more than a partition takes (setting APP_PARTITIONS),
it is spread over several, the others being `{app}|{YYYYMM}|1` and so on. In each:

    c|{YYYYMMDD}|{request_id}            a call row: this call was counted, and everything known of it
    h|{YYYYMMDDHH}|{digest}|{writer}     sums over the calls of one hour
    d|{YYYYMMDD}|{digest}|{writer}       sums over the calls of one day
    m|{YYYYMM}|{digest}|{writer}         sums over the calls of the month

`digest` stands for the model and the configured dimensions, whose values are columns of the row: they may be longer
than a key. `writer` is the hub partition, so that two partitions never contend for a row. Times are UTC.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple, get_type_hints

from azure.data.tables import EdmType, EntityProperty

from ledger.store import Entity
from models.call import DIMENSIONS, Call
from models.keys import escape_key
from models.measures import MEASURES, Measures, measures_of
from models.origin import Origin
from models.usage import Estimate, Usage

TABLE: Final = "usage"
COMMIT_ID: Final = "commit_id"
FIRST_DIMENSIONS: Final = "deployment,operation,product"
"""What call rows of schema version 1, which do not say it, are mostly summed by."""


_INT64: Final = EdmType.INT64


@lru_cache(maxsize=16 * 1024)
def _int64(count: int) -> EntityProperty:
    """Most counts are small, and each of a call's would be made anew."""
    return EntityProperty(count, _INT64)


class Cell(NamedTuple):
    """What is summed together: one hour (`YYYYMMDDHH`), one model, one value of each configured dimension."""

    hour: str
    model: str | None
    dimensions: tuple[tuple[str, str | None], ...]


@lru_cache(maxsize=2048)
def partition_key(app: str, month: str, part: int = 0) -> str:
    """`month` is `YYYYMM`; `part` is one of the partitions that an app's month is spread over, from 0."""
    return f"{escape_key(app)}|{month}|{part}" if part else f"{escape_key(app)}|{month}"


def partition_keys(app: str, month: str, parts: int) -> list[str]:
    """All partitions of an app's month."""
    return [partition_key(app, month, part) for part in range(parts)]


def part_of(request_id: str, parts: int) -> int:
    """Which of so many partitions a call is in: always the same, so that a second arrival meets the first."""
    return zlib.crc32(request_id.encode()) % parts


def hour_of(timestamp: datetime) -> str:
    """`YYYYMMDDHH` of an aware time in UTC."""
    return _hour(timestamp.year, timestamp.month, timestamp.day, timestamp.hour)


@lru_cache(maxsize=1024)
def _hour(year: int, month: int, day: int, hour: int) -> str:
    return f"{year:04}{month:02}{day:02}{hour:02}"


def utc_text(time: datetime) -> str:
    """An aware time in UTC as columns hold it: always of one length, so that texts sort as times do."""
    minute = _minute(time.year, time.month, time.day, time.hour, time.minute)
    return f"{minute}{time.second:02}.{time.microsecond:06}Z"


@lru_cache(maxsize=4096)
def _minute(year: int, month: int, day: int, hour: int, minute: int) -> str:
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:"


def cell_of(call: Call, dimensions: Sequence[str]) -> Cell:
    """The cell of a call, given the names of the configured dimensions."""
    return place_of(call, dimensions, "").cell


def dimension_of(call: Call, name: str) -> str | None:
    """The value of a dimension as rows hold it."""
    return _as_text(getattr(call, name))


def _as_text(value: str | bool | float | None) -> str | None:
    if value is None or type(value) is str:
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


class Place(NamedTuple):
    """The cell that a call is summed in, and the keys of its rows for the hour, the day and the month."""

    cell: Cell
    aggregates: tuple[str, str, str]


def place_of(call: Call, dimensions: Sequence[str], writer: str) -> Place:
    """Where `writer` sums a call. Most calls of a batch are in a few places, which are remembered."""
    dimensions = tuple(dimensions)
    return _place(hour_of(call.timestamp), _getter(dimensions)(call), dimensions, writer)


@lru_cache(maxsize=64)
def _getter(dimensions: tuple[str, ...]) -> Callable[[Call], tuple[Any, ...]]:
    return attrgetter("model", *dimensions, "model")  # of a single name it would give no tuple


@lru_cache(maxsize=2048)
def _place(hour: str, values: tuple[Any, ...], dimensions: tuple[str, ...], writer: str) -> Place:
    cell = Cell(hour, values[0], tuple(zip(dimensions, map(_as_text, values[1:-1]), strict=True)))
    return Place(cell, aggregate_row_keys(cell, writer))


def call_row_key(call: Call) -> str:
    """The key that two arrivals of one call share."""
    return f"c|{hour_of(call.timestamp)[:8]}|{escape_key(call.request_id)}"


@lru_cache(maxsize=1024)
def _day(digits: str) -> date:
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def day_of(row_key: str) -> date:
    """The day, in UTC, of the key of a call row."""
    return _day(row_key.split("|")[1])


def aggregate_row_keys(cell: Cell, writer: str) -> tuple[str, str, str]:
    """The hour's, the day's and the month's row that a cell's calls are summed in."""
    digest = hashlib.sha256(json.dumps([["model", cell.model], *cell.dimensions]).encode()).hexdigest()[:32]
    rest = f"{digest}|{escape_key(writer)}"
    return f"h|{cell.hour}|{rest}", f"d|{cell.hour[:8]}|{rest}", f"m|{cell.hour[:6]}|{rest}"


def cell_key(row_key: str) -> str:
    """The key of sums without their writer: what all writers add to."""
    return row_key.rpartition("|")[0]


def call_entity(call: Call, partition: str, row_key: str, commit_id: str, dimensions: Sequence[str]) -> Entity:
    """A call as its row.

    `commit_id` tells, after an answer that never came, whether the row that is there now is our own. `dimensions` names
    those that its aggregate rows tell apart, so that what the call added to them can be found again.
    """
    keys = {"PartitionKey": partition, "RowKey": row_key, COMMIT_ID: commit_id, "dimensions": ",".join(dimensions)}
    return keys | call_columns(call)


def call_columns(call: Call) -> Entity:
    """Everything known of a call. What is None is no column.

    `timestamp_utc` is not named `timestamp`: every row has a `Timestamp` of the service's, and many tools do not
    tell the two apart.
    """
    origin = call.origin
    fields = zip(_COLUMN_OF_FIELD, call, strict=True)
    columns: Entity = {name: value for name, value in fields if value is not None and name is not None}
    columns["timestamp_utc"] = utc_text(call.timestamp)
    columns["enqueued_time_utc"] = utc_text(origin.enqueued_time)
    columns["hub"] = origin.hub
    columns["partition"] = origin.partition
    columns["sequence_number"] = EntityProperty(origin.sequence_number, _INT64)
    if call.stage != "final":
        columns["stage"] = call.stage
    if call.stated_timestamp is not None:
        columns["stated_timestamp_utc"] = utc_text(call.stated_timestamp)
    if call.revision:
        columns["revision"] = call.revision
    for name, count in zip(_USAGE_COLUMNS, call.usage, strict=True):
        if count is not None:
            columns[name] = _int64(count) if type(count) is int else str(count)
    if call.estimate is not None:
        columns.update((name, _int64(count)) for name, count in call.estimate.sums().items())
    return columns


def dimensions_of(columns: Mapping[str, Any]) -> list[str]:
    """The dimensions that the sums of a call row tell apart."""
    return [name for name in columns.get("dimensions", FIRST_DIMENSIONS).split(",") if name]


def call_of(columns: Mapping[str, Any]) -> Call:
    """The call that `call_columns` made these of."""
    usage = {name: columns[name] for name in _USAGE_COLUMNS if name in columns}
    if "audio_seconds" in usage:
        usage["audio_seconds"] = Decimal(usage["audio_seconds"])
    known: dict[str, Any] = dict.fromkeys(("model", "missing_reason", "usage_shape"))
    known.update((name, columns[name]) for name in (*_CALL_COLUMNS, "stage", "revision") if name in columns)
    origin = Origin(
        columns["hub"],
        columns["partition"],
        columns["sequence_number"],
        datetime.fromisoformat(columns["enqueued_time_utc"]),
    )
    timestamp = datetime.fromisoformat(columns["timestamp_utc"])
    stated = columns.get("stated_timestamp_utc")
    estimate = Estimate(columns.get("estimated_prompt_tokens"), columns.get("estimated_completion_tokens"))
    return Call(
        **known,
        timestamp=timestamp,
        stated_timestamp=datetime.fromisoformat(stated) if stated else None,
        usage=Usage(**usage),
        origin=origin,
        estimate=None if estimate == Estimate() else estimate,
    )


_OTHERWISE: Final = frozenset({"timestamp", "usage", "origin", "stage", "revision", "estimate", "stated_timestamp"})
"""The fields of a call that are not columns as they are."""
_CALL_COLUMNS = tuple(name for name in Call._fields if name not in _OTHERWISE)
_COLUMN_OF_FIELD = tuple(name if name not in _OTHERWISE else None for name in Call._fields)
_USAGE_COLUMNS = Usage._fields


def aggregate_entity(app: str, cell: Cell, partition: str, row_key: str, sums: Mapping[str, int]) -> Entity:
    """Sums as their row. `dimensions` names those that were told apart, so that a null is known to be one."""
    entity: Entity = {
        "PartitionKey": partition,
        "RowKey": row_key,
        "app": app,
        "dimensions": ",".join(name for name, _ in cell.dimensions),
    }
    if cell.model is not None:
        entity["model"] = cell.model
    entity.update((name, value) for name, value in cell.dimensions if value is not None)
    for name, amount in sums.items():
        entity[name] = _int64(amount)
    return entity


SUMMED_BY: Final = "summed_by"


def as_aggregate(call: Call, summed_by: str) -> Entity:
    """A call as an aggregate row over itself alone, which tells every dimension apart. Its key has the minute.
    `summed_by` are the dimensions that the sums it went into tell apart, the column `dimensions` of its row."""
    columns: Entity = {
        "RowKey": f"c|{call.timestamp:%Y%m%d%H%M}|",
        "dimensions": ",".join(DIMENSIONS),
        SUMMED_BY: summed_by,
    }
    for name in ("model", *DIMENSIONS):
        if (value := dimension_of(call, name)) is not None:
            columns[name] = value
    return columns | measures_of(call)


def sums_of(columns: Mapping[str, Any]) -> Measures:
    """The counters of an aggregate row."""
    return {name: columns[name] for name in MEASURES if name in columns}


def size_bound(call: Call) -> int:
    """An upper bound of the bytes that a call's row takes in a request."""
    return _ROW_OVERHEAD + _json_bound("".join(filter(None, _texts(call))))


def aggregate_size_bound(app: str, cell: Cell) -> int:
    """The same of a row that the cell is summed in."""
    values = (value or "" for _, value in cell.dimensions)
    return _AGGREGATE_OVERHEAD + _json_bound("".join((app, cell.model or "", *values)))


def _json_bound(text: str) -> int:
    """JSON in ASCII: a quote takes 2 bytes, a control character 6, one outside the basic plane 12."""
    return len(text) * (2 if len(text) > _SHORT and text.isascii() and text.isprintable() else 12)


_texts: Final = itemgetter(
    *(Call._fields.index(name) for name, hint in get_type_hints(Call).items() if hint in (str, str | None))
)
_SHORT: Final = 1024
"""Characters that are not worth being looked at: transactions hold a hundred such rows in any case."""
_ROW_OVERHEAD: Final = 8 * 1024
"""Request line, headers, both keys, the names of some seventy columns with their types, and the numbers in them."""
_AGGREGATE_OVERHEAD: Final = 16 * 1024
"""The same for all sums there are."""
