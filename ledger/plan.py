"""Calls -> the transactions that count them, within the service's limits. Pure.

One transaction is one change set of one partition: the call rows, and the hour, day and month rows they are summed in.
Limits: 100 entities, 4 MiB (learn.microsoft.com, "Performing entity group transactions").
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.rows import (
    Cell,
    aggregate_size_bound,
    call_of,
    call_row_key,
    dimensions_of,
    hour_of,
    partition_key,
    place_of,
    size_bound,
)
from ledger.store import MAX_TRANSACTION_BYTES, MAX_TRANSACTION_ENTITIES
from models.call import Call
from models.measures import Measures, measures_of, negative

SIZE_LIMIT = MAX_TRANSACTION_BYTES - 64 * 1024


PartitionOf = Callable[[Call], str]


def not_spread(call: Call) -> str:
    """The partition of a call whose app has one a month."""
    return partition_key(call.app, hour_of(call.timestamp)[:6])


class Change(NamedTuple):
    """What a call adds to which aggregate rows (the keys of hour, day and month)."""

    cell: Cell
    aggregates: tuple[str, str, str]
    measures: Measures


class PlannedCall(NamedTuple):
    """A call with the key of its row and what it adds to the sums; a moved call adds nothing. The row itself is made
    when it is sent.

    Where the row replaces the one with `etag`, what that one had added is taken back: `takes` has negative measures.
    """

    call: Call
    row_key: str
    adds: Change | None
    takes: Change | None = None
    etag: str | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        if self.adds is not None and self.takes is None:
            return (self.adds,)
        return tuple(change for change in (self.adds, self.takes) if change is not None)

    @property
    def touched(self) -> tuple[str, ...]:
        """The keys of the aggregate rows that it changes."""
        if self.adds is not None and self.takes is None:
            return self.adds.aggregates
        return tuple([row_key for change in self.changes for row_key in change.aggregates])

    def replacing(self, columns: Mapping[str, Any], etag: str, writer: str) -> "PlannedCall":
        """This call in the place of the call row with these columns."""
        before = change_of(call_of(columns), dimensions_of(columns), writer)
        takes = before and before._replace(measures=negative(before.measures))
        return self._replace(takes=takes, etag=etag)

    def inserted(self) -> "PlannedCall":
        """This call where there is no row yet."""
        return self._replace(takes=None, etag=None)


class Transaction(NamedTuple):
    """Calls of one partition that are counted together, or not at all."""

    partition: str
    app: str
    calls: tuple[PlannedCall, ...]


class Plan(NamedTuple):
    """`transactions` by partition: those of one partition share rows and go one after the other."""

    transactions: dict[str, list[Transaction]]
    duplicates: list[Call]


def plan(
    calls: Iterable[Call],
    dimensions: Sequence[str],
    writer: str,
    partition_of: PartitionOf = not_spread,
) -> Plan:
    """Of one call that comes more than once in the batch the first is planned, or one that knows its usage; the others
    are duplicates."""
    partitions: dict[str, dict[str, PlannedCall]] = defaultdict(dict)
    duplicates: list[Call] = []
    for call in calls:
        planned = partitions[partition_of(call)]
        row_key = call_row_key(call)
        earlier = planned.get(row_key)
        if earlier is not None:
            if call.rank <= earlier.call.rank:
                duplicates.append(call)
                continue
            duplicates.append(earlier.call)
        planned[row_key] = PlannedCall(call, row_key, change_of(call, dimensions, writer))
    return Plan({key: pack(key, list(each.values())) for key, each in partitions.items()}, duplicates)


def change_of(call: Call, dimensions: Sequence[str], writer: str) -> Change | None:
    """What a call adds to the rows of `writer`, None if nothing."""
    measures = measures_of(call)
    if not measures:
        return None
    return Change(*place_of(call, dimensions, writer), measures)


def pack(partition: str, calls: list[PlannedCall]) -> list[Transaction]:
    """Fill transactions in the order of the aggregate rows, so that calls that share rows stand together."""
    alike: dict[tuple[str, ...], list[PlannedCall]] = defaultdict(list)
    for planned in calls:
        alike[planned.touched].append(planned)
    transactions: list[Transaction] = []
    chosen: list[PlannedCall] = []
    rows: set[str] = set()
    size = 0
    for touched in sorted(alike, key=lambda row_keys: row_keys[::-1]):  # by month, day, hour
        number = len(rows.union(touched))
        of_rows = (number - len(rows)) * _aggregate_size(alike[touched][0])
        for planned in alike[touched]:
            own_size = size_bound(planned.call)
            too_many = len(chosen) + 1 + number > MAX_TRANSACTION_ENTITIES
            if chosen and (too_many or size + of_rows + own_size > SIZE_LIMIT):
                transactions.append(Transaction(partition, chosen[0].call.app, tuple(chosen)))
                chosen, rows, size = [], set(), 0
                number = len(set(touched))
                of_rows = number * _aggregate_size(planned)
            chosen.append(planned)
            size += own_size
        rows.update(touched)
        size += of_rows
    transactions.append(Transaction(partition, chosen[0].call.app, tuple(chosen)))
    return transactions


def _aggregate_size(planned: PlannedCall) -> int:
    """A bound for each of the rows that the call is summed in, and for those that it is taken out of."""
    return max((aggregate_size_bound(planned.call.app, change.cell) for change in planned.changes), default=0)
