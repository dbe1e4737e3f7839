"""Transactions and entities per 1,000 calls, against the least that the service's limits allow."""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from benchmarks.figures import Figure
from collectors.collect import collect
from ledger.plan import Transaction, plan
from ledger.store import MAX_TRANSACTION_ENTITIES
from tests.support.events import NOON, raw_event, usage_event

APPS, MODELS, CALLS = 20, 2, 1000


def figures() -> Iterable[Figure]:
    """For a batch of 1,000 calls over 20 apps and 2 models in one hour."""
    events = [
        raw_event(
            usage_event(app_id=f"app-{number % APPS}", response_model=f"model-{number // APPS % MODELS}"),
            sequence_number=number,
        )
        for number in range(CALLS)
    ]
    calls = collect(events, NOON - timedelta(days=365)).calls
    planned = plan(calls, ("deployment", "operation", "product"), "usage-events-0")
    transactions = [each for group in planned.transactions.values() for each in group]
    entities = sum(len(each.calls) + len(_aggregates(each)) for each in transactions)
    assert sum(len(each.calls) for each in transactions) == CALLS

    rows: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for each in transactions:
        counts[each.partition] += len(each.calls)
        rows[each.partition] |= _aggregates(each)
    least = sum(
        math.ceil((counts[partition] + len(rows[partition])) / MAX_TRANSACTION_ENTITIES) for partition in counts
    )
    least_entities = CALLS + sum(len(keys) for keys in rows.values())
    yield Figure("store: transactions per 1,000 calls", len(transactions), "transactions")
    yield Figure("store: transactions / least possible", len(transactions) / least, "ratio", 1.02)
    yield Figure("store: entities per 1,000 calls", entities, "entities")
    yield Figure("store: entities / least possible", entities / least_entities, "ratio", 1.02)


def _aggregates(transaction: Transaction) -> set[str]:
    return {row for call in transaction.calls for change in call.changes for row in change.aggregates}
