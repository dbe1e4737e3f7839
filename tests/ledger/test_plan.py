"""Transactions keep to the service's limits and leave no call out, for every batch."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger.group_transaction import Operation, request_body
from ledger.plan import AGGREGATE_SIZE, not_spread, plan
from ledger.rows import call_entity, size_bound
from ledger.store import MAX_TRANSACTION_BYTES, MAX_TRANSACTION_ENTITIES
from models.call import Call
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


@given(st.lists(calls, max_size=400))
def test_every_call_is_planned_once_within_the_limits(batch: list[Call]) -> None:
    planned = plan(batch, DIMENSIONS, WRITER)
    keys = []
    for partition, transactions in planned.transactions.items():
        for transaction in transactions:
            rows = {row for each in transaction.calls for change in each.changes for row in change.aggregates}
            assert transaction.calls
            assert len(transaction.calls) + len(rows) <= MAX_TRANSACTION_ENTITIES
            entities = [
                call_entity(each.call, partition, each.row_key, "0" * 32, DIMENSIONS) for each in transaction.calls
            ]
            _, content = request_body([Operation("POST", entity) for entity in entities], "http://localhost/usage")
            bound = sum(size_bound(each.call) for each in transaction.calls)
            assert len(content) <= bound + len(rows) * AGGREGATE_SIZE <= MAX_TRANSACTION_BYTES or len(entities) == 1
            assert {not_spread(each.call) for each in transaction.calls} == {partition}
            keys += [(partition, each.row_key) for each in transaction.calls]
    assert len(set(keys)) == len(keys)
    assert len(keys) + len(planned.duplicates) == len(batch)
    assert set(keys) == {
        (f"{each.app}|{each.timestamp:%Y%m}".replace("c/d#?%'é", "c~2Fd~23~3F~25~27~C3~A9"), key)
        for each in batch
        for key in [f"c|{each.timestamp:%Y%m%d}|{each.request_id}"]
    }


def test_no_calls_are_no_transactions() -> None:
    assert plan([], DIMENSIONS, WRITER) == ({}, [])


def test_calls_that_share_rows_stand_in_one_transaction() -> None:
    batch = [call(request_id=f"r{number}", response_model=f"m{number % 2}") for number in range(120)]
    planned = plan(batch, DIMENSIONS, WRITER)
    assert [len(transaction.calls) for transaction in planned.transactions["app-1|202611"]] == [94, 26]
