"""Transactions keep to the service's limits and leave no call out, for every batch."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.group_transaction import Operation, request_body
from ledger.plan import Transaction, not_spread, plan
from ledger.rows import aggregate_entity, call_entity
from ledger.store import MAX_TRANSACTION_BYTES, MAX_TRANSACTION_ENTITIES
from models.call import Call
from models.measures import MEASURES
from tests.support.events import NOON
from tests.support.ledger import DIMENSIONS, WRITER, call

TEMPLATE = call()

calls = st.builds(
    TEMPLATE._replace,
    request_id=st.sampled_from([f"r{number}" for number in range(400)]),
    app=st.sampled_from(["a", "b", "c/d#?%'é"]),
    model=st.sampled_from([None, "gpt-4o", "m" * 1024]),
    deployment=st.sampled_from([None, "chat", "\N{GRINNING FACE}" * 1024]),
    timestamp=st.sampled_from([NOON + timedelta(hours=hours) for hours in (0, 1, 11, 12, 24 * 10, 24 * 11)]),
)


def _bytes_sent(transaction: Transaction) -> int:
    """Of the request that sends it, where all of its aggregate rows are there already and their sums are large."""
    partition, large = transaction.partition, dict.fromkeys(MEASURES, 2**62)
    inserts = [
        Operation("POST", call_entity(each.call, partition, each.row_key, "0" * 32, DIMENSIONS))
        for each in transaction.calls
    ]
    cells = {key: change.cell for each in transaction.calls for change in each.changes for key in change.aggregates}
    updates = [
        Operation("PUT", aggregate_entity(transaction.app, cell, partition, key, large), "W/\"datetime'2026-11-20'\"")
        for key, cell in cells.items()
    ]
    return len(request_body([*inserts, *updates], "https://account.table.core.windows.net/usage")[1])


@given(st.lists(calls, max_size=400))
def test_every_call_is_planned_once_within_the_limits(batch: list[Call]) -> None:
    planned = plan(batch, DIMENSIONS, WRITER)
    keys = []
    for partition, transactions in planned.transactions.items():
        for transaction in transactions:
            rows = {row for each in transaction.calls for change in each.changes for row in change.aggregates}
            assert transaction.calls
            assert len(transaction.calls) + len(rows) <= MAX_TRANSACTION_ENTITIES
            assert _bytes_sent(transaction) <= MAX_TRANSACTION_BYTES
            assert {not_spread(each.call) for each in transaction.calls} == {partition}
            keys += [(partition, each.row_key) for each in transaction.calls]
    assert len(set(keys)) == len(keys)
    assert len(keys) + len(planned.duplicates) == len(batch)
    assert set(keys) == {
        (f"{each.app}|{each.timestamp:%Y%m}".replace("c/d#?%'é", "c~2Fd~23~3F~25~27~C3~A9"), key)
        for each in batch
        for key in [f"c|{each.timestamp:%Y%m%d}|{each.request_id}"]
    }


def test_long_texts_in_each_dimension_of_each_call_are_within_the_limits() -> None:
    batch = []
    for number in range(100):
        text = f"{number:04}" + "\N{GRINNING FACE}" * 1020
        texts: dict[str, Any] = dict.fromkeys(("model", *DIMENSIONS), text)
        batch.append(TEMPLATE._replace(request_id=f"r{number}", **texts))
    (transactions,) = plan(batch, DIMENSIONS, WRITER).transactions.values()
    assert sum(len(transaction.calls) for transaction in transactions) == 100
    assert max(map(_bytes_sent, transactions)) <= MAX_TRANSACTION_BYTES


def test_no_calls_are_no_transactions() -> None:
    assert plan([], DIMENSIONS, WRITER) == ({}, [])


def test_calls_that_share_rows_stand_in_one_transaction() -> None:
    batch = [call(request_id=f"r{number}", response_model=f"m{number % 2}") for number in range(120)]
    planned = plan(batch, DIMENSIONS, WRITER)
    assert [len(transaction.calls) for transaction in planned.transactions["app-1|202611"]] == [94, 26]
