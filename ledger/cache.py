"""The aggregate rows as this process last wrote or read them, with their ETags."""

from collections import OrderedDict
from typing import NamedTuple

from models.measures import Measures


class CachedRow(NamedTuple):
    """The counters of a row, never changed in place, and the ETag under which they were true."""

    sums: Measures
    etag: str


class AggregateCache:
    """At most `limit` rows; the one used longest ago goes first.

    An entry is only a guess at what the table holds: every write is under its ETag, so a stale one costs a conflict and
    a read, never a wrong number. That is why invocations of one process may share it without a lock.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._rows: OrderedDict[tuple[str, str], CachedRow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, partition: str, row_key: str) -> CachedRow | None:
        row = self._rows.get((partition, row_key))
        if row is not None:
            self._rows.move_to_end((partition, row_key))
        return row

    def put(self, partition: str, row_key: str, row: CachedRow) -> None:
        self._rows[partition, row_key] = row
        self._rows.move_to_end((partition, row_key))
        if len(self._rows) > self._limit:
            self._rows.popitem(last=False)
