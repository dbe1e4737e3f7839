"""Calls -> the transactions that count them, within the service's limits. Pure.

One transaction is one change set of one partition: the call rows, and the hour, day and month rows they are summed in.
Limits: 100 entities, 4 MiB (learn.microsoft.com, "Performing entity group transactions").
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger.rows import Cell, aggregate_row_keys, call_entity, call_row_key, cell_of, hour_of, partition_key, size_bound
from ledger.store import MAX_TRANSACTION_BYTES, MAX_TRANSACTION_ENTITIES, Entity
from models.call import Call
from models.measures import Measures, measures_of

SIZE_LIMIT = MAX_TRANSACTION_BYTES - 64 * 1024
AGGREGATE_SIZE = 40 * 1024
"""A bound for one aggregate row: its dimensions are at most a dozen texts of MAX_TEXT_LENGTH."""


class PlannedCall(NamedTuple):
    """A call with its row, and what it adds to which aggregate rows (the keys of hour, day and month)."""

    call: Call
    entity: Entity
    cell: Cell
    measures: Measures
    aggregates: tuple[str, str, str]

    @property
    def row_key(self) -> str:
        return str(self.entity["RowKey"])


class Transaction(NamedTuple):
    """Calls of one partition that are counted together, or not at all."""

    partition: str
    app: str
    calls: tuple[PlannedCall, ...]


class Plan(NamedTuple):
    """`transactions` by partition: those of one partition share rows and go one after the other."""

    transactions: dict[str, list[Transaction]]
    duplicates: list[Call]


def plan(calls: Iterable[Call], dimensions: Sequence[str], writer: str, commit_id: str) -> Plan:
    """The first arrival of a call is planned; the same call again in the batch is a duplicate."""
    partitions: dict[str, dict[str, PlannedCall]] = defaultdict(dict)
    duplicates: list[Call] = []
    for call in calls:
        partition = partition_key(call.app, hour_of(call.timestamp)[:6])
        row_key = call_row_key(call)
        if row_key in partitions[partition]:
            duplicates.append(call)
            continue
        cell = cell_of(call, dimensions)
        partitions[partition][row_key] = PlannedCall(
            call,
            call_entity(call, partition, row_key, commit_id),
            cell,
            measures_of(call),
            aggregate_row_keys(cell, writer),
        )
    return Plan({key: _pack(key, list(planned.values())) for key, planned in partitions.items()}, duplicates)


def _pack(partition: str, calls: list[PlannedCall]) -> list[Transaction]:
    """Fill transactions in the order of the aggregate rows, so that calls that share rows stand together."""
    calls.sort(key=lambda planned: planned.aggregates[::-1])
    transactions: list[Transaction] = []
    chosen: list[PlannedCall] = []
    rows: set[str] = set()
    size = 0
    for planned in calls:
        more_rows = rows.union(planned.aggregates)
        more_size = size + size_bound(planned.entity)
        too_many = len(chosen) + 1 + len(more_rows) > MAX_TRANSACTION_ENTITIES
        if chosen and (too_many or more_size + len(more_rows) * AGGREGATE_SIZE > SIZE_LIMIT):
            transactions.append(Transaction(partition, chosen[0].call.app, tuple(chosen)))
            chosen, more_rows, more_size = [], set(planned.aggregates), size_bound(planned.entity)
        chosen.append(planned)
        rows, size = more_rows, more_size
    transactions.append(Transaction(partition, chosen[0].call.app, tuple(chosen)))
    return transactions
