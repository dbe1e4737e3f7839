"""`make simulate`: what so many calls a second need of Azure, cost, and break first. On paper: nothing is run or timed.

The services' limits and prices are in azure_limits.py. What a batch writes is not guessed: `ledger.plan` plans it. One
*collector* is one Event Hubs namespace, one function app and one storage account. docs/scale.md shows the tables and
says what they leave out; tests/test_simulate.py keeps them the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count, takewhile
from typing import Final, NamedTuple

from benchmarks import azure_limits as azure
from collectors.collect import collect
from ledger.pending import BUCKETS, MAX_LISTED
from ledger.plan import not_spread, plan
from ledger.purge import MAX_ROWS
from ledger.rows import call_entity, call_row_key
from ledger.store import MAX_TRANSACTION_ENTITIES
from models.call import Call
from tests.support.events import NOON, raw_event, usage_event

# Ours, from host.json and the settings' defaults.
BATCH: Final = 1000
COMMIT_CONCURRENCY: Final = 16
RETENTION_DAYS: Final = 90
DIMENSIONS: Final = ("deployment", "operation", "product")
PURGES_PER_SECOND: Final = MAX_ROWS / 600
MAX_APP_PARTITIONS: Final = 64

# Assumed: not documented, and not measured on Azure.
ROUND_TRIP: Final = 0.03  # seconds of one request to the tables
CPU: Final = 0.001  # seconds of one core for a call, all told
EVENT_BYTES: Final = 1000
LOG_BYTES: Final = 2000  # of a call's record in the gateway's log, each alone in its event
MODELS: Final = 3  # an app's
HOT: Final = 0.1  # the largest app's share of all calls
FULL: Final = 0.7  # how much of a limit is used on average, since an hour's average is not its peak
WAIT: Final = 5  # seconds, of the columns where a batch waits
SIZES: Final = ((100, 20), (10_000, 200), (1_000_000, 2_000))  # calls a second, and apps
MONTH: Final = 730 * 3600
FILLS: Final = (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100, 140, 200, 300, 500, 700, BATCH)
"""How full a batch is taken to be: the most of these that it is at least."""


@dataclass(frozen=True)
class Load:
    """`wait` is how many seconds a batch waits to fill (`maxWaitTime`, with `minEventBatchSize` at its most)."""

    calls: int
    apps: int
    gateway_logs: bool = False
    wait: int = 0


class Batch(NamedTuple):
    """What the ledger writes of a batch. `turns` are transactions that wait for each other."""

    entities: int
    transactions: int
    turns: int


@cache
def _calls(apps: int) -> list[Call]:
    (one,) = collect([raw_event(usage_event())], NOON - timedelta(days=RETENTION_DAYS)).calls
    return [
        one._replace(
            request_id=f"00000000-0000-4000-8000-{number:012}",
            app=f"00000000-0000-4000-9000-{number % apps:012}",
            model=f"gpt-4o-2024-08-{number // apps % MODELS:02}",
        )
        for number in range(BATCH)
    ]


@cache
def planned(calls: int, apps: int) -> Batch:
    """Of calls in one hour, spread evenly over apps and models."""
    partitions = plan(_calls(apps)[:calls], DIMENSIONS, "usage-events-0").transactions.values()
    transactions = [each for group in partitions for each in group]
    aggregates = sum(
        len({row for call in each.calls for change in call.changes for row in change.aggregates})
        for each in transactions
    )
    waves = math.ceil(len(partitions) / COMMIT_CONCURRENCY)
    return Batch(calls + aggregates, len(transactions), waves * max(map(len, partitions)))


def pending_transactions(calls: int) -> float:
    """That insert the rows of a batch's calls in `pending`: at least one for each bucket that has some."""
    buckets = len(BUCKETS)
    return buckets * (1 - (1 - 1 / buckets) ** calls) * math.ceil(calls / buckets / MAX_LISTED)


@dataclass(frozen=True)
class Needs:
    """What one collector needs. `limits` is how much of each is used, 1 being all."""

    hub_partitions: int
    batch: int
    batches: float
    entities_a_call: float
    calls_a_transaction: float
    entities: float
    requests: float
    tus: float
    instances: int
    limits: Mapping[str, float]


def collector(calls: float, apps: int, load: Load) -> Needs:
    """For so many calls a second. The policy's partition key is the app, so that a hub partition has some apps' events;
    the gateway's log has none, so that its batches, by which calls are counted then, have all."""
    logs = load.gateway_logs
    most = azure.HUB_PARTITION_BYTES / (LOG_BYTES if logs else EVENT_BYTES)

    def seconds(batch: int, together: int) -> float:
        # one after the other: the ledger's transactions, the progress row; with logs also the rows of `pending`
        turns = planned(batch, together).turns + 1 + (2 if logs else 0)
        return turns * ROUND_TRIP + batch * CPU

    def together(partitions: int) -> int:
        return apps if logs else math.ceil(apps / partitions)

    def partition_takes(partitions: int) -> float:
        return min(BATCH / seconds(BATCH, together(partitions)), most)

    enough = (each for each in (4, 8, 16) if calls / each <= FULL * partition_takes(each))
    partitions = next(enough, azure.HUB_PARTITIONS)
    rate = calls / partitions
    mix = together(partitions)
    # While a batch is counted the next one comes together.
    *_, batch = takewhile(lambda fill: fill <= max(1, rate * load.wait) or fill <= rate * seconds(fill, mix), FILLS)
    batches = calls / batch
    ledger = planned(batch, mix)
    written = ledger.entities / batch
    entities = calls * (written + 1) + batches  # the purge deletes each call row; a progress row a batch
    requests = batches * (ledger.transactions + 1) + calls * (1 / MAX_TRANSACTION_ENTITIES + 1 / 1000)
    events, ingress, functions = calls, calls * EVENT_BYTES, 1
    limits = {}
    if logs:
        rows = pending_transactions(batch)  # of the events' batch, and again of the logs'
        of_pending = calls * 6 + batches * rows * 4
        # each row is inserted, replaced and deleted, and read alone for its log, for its deadline and to be forgotten;
        # each list is inserted, taken away, inserted anew, deleted
        entities += of_pending + batches
        requests += calls * 3 + batches * (rows * 5 + 1)
        events, ingress, functions = 2 * calls, calls * (EVENT_BYTES + LOG_BYTES), 2
        batches *= 2
        limits["rows/s of a partition of `pending`"] = of_pending / len(BUCKETS) / azure.TABLE_PARTITION_ENTITIES
    tus = max(events / azure.TU_EVENTS, ingress / azure.TU_BYTES)
    instances = functions * math.ceil(calls * CPU / FULL / functions)
    limits |= {
        "rows/s of the storage account": entities / azure.ACCOUNT_ENTITIES,
        "throughput units of the namespace": tus / azure.NAMESPACE_TUS,
        "hub partitions": calls / partition_takes(partitions) / azure.HUB_PARTITIONS,
        "instances of the function app": instances * FULL / azure.APP_INSTANCES,
    }
    fill = batch / ledger.transactions
    return Needs(partitions, batch, batches, written, fill, entities, requests, tus, instances, limits)


def collectors(load: Load) -> tuple[int, Needs]:
    """The fewest that keep every limit. Each has some of the apps."""
    least = load.calls * (8 if load.gateway_logs else 2)  # rows a second that no filling of batches saves
    tried = (
        (number, collector(load.calls / number, math.ceil(load.apps / number), load))
        for number in count(math.ceil(least / azure.ACCOUNT_ENTITIES / FULL))
    )
    return next((number, needs) for number, needs in tried if max(needs.limits.values()) <= FULL)


def column(load: Load) -> dict[str, str]:
    """One load's answers by what they are."""
    number, each = collectors(load)
    hot = load.calls * HOT
    hot_hub_parts = math.ceil(hot * EVENT_BYTES / azure.HUB_PARTITION_BYTES / FULL)
    # what is deleted of it is in partitions of earlier months
    hot_parts = math.ceil(hot * planned(BATCH, 1).entities / BATCH / azure.TABLE_PARTITION_ENTITIES / FULL)
    tus = number * math.ceil(each.tus / FULL)
    events = load.calls * (2 if load.gateway_logs else 1)
    call = _calls(1)[0]
    row = call_entity(call, not_spread(call), call_row_key(call), "0" * 32, DIMENSIONS)
    kept = load.calls * RETENTION_DAYS * 86_400 * azure.billed_bytes(row) / 2**30
    costs = {
        "Event Hubs": tus * azure.TU_HOUR * 730 + events * MONTH / 1e6 * azure.MILLION_EVENTS,
        "Functions, execution time": number * each.instances * azure.INSTANCE_GB * MONTH * azure.GB_SECOND,
        "Functions, executions": number * each.batches * MONTH / 1e6 * azure.MILLION_EXECUTIONS,
        "Tables, requests": number * each.requests * MONTH * azure.TABLE_REQUEST,
        f"Tables, call rows of {RETENTION_DAYS} days": kept * azure.TABLE_GB,
        "Checkpoints": number * each.batches * MONTH * azure.CHECKPOINT,
    }
    limit, used = max(each.limits.items(), key=lambda item: item[1])
    cores = number * each.instances
    return {
        "apps": f"{load.apps:,}",
        "a batch waits to fill": f"{load.wait} s" if load.wait else "no",
        "**collectors** (namespace, function app, storage account each)": f"**{number:,}**",
        "throughput units, of all": f"{tus:,}",
        "hub partitions of each hub": f"{each.hub_partitions}",
        "instances of 2 GB, of all": f"{cores:,}",
        f"quotas of a region ({azure.REGION_CORES} cores)": f"{math.ceil(cores / azure.REGION_CORES)}",
        "calls in a batch, at least": f"{each.batch:,}",
        "rows written a call": f"{each.entities_a_call:.2f}",
        "calls a transaction": f"{each.calls_a_transaction:.1f}",
        "rows/s, of all": _figure(number * each.entities),
        "requests/s to tables, of all": _figure(number * each.requests),
        "million requests a month": _figure(number * each.requests * MONTH / 1e6),
        f"largest app ({HOT:.0%} of the calls): hub partitions": f"{hot_hub_parts:,}",
        "largest app: `APP_PARTITIONS`": f"{hot_parts:,}" + (" (64 is the most)" * (hot_parts > MAX_APP_PARTITIONS)),
        "call rows/s to purge, of what a collector can": f"{load.calls / number / PURGES_PER_SECOND:.1f} times",
        "nearest limit of a collector": f"{limit}: {used:.0%}",
        **{f"{name}, $/month": _figure(cost) for name, cost in costs.items()},
        "**together, $/month**": f"**{_figure(sum(costs.values()))}**",
        "$ a million calls": f"{sum(costs.values()) / (load.calls * MONTH / 1e6):.2f}",
    }


def _figure(value: float) -> str:
    """Three digits that count."""
    digits = 2 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def table(loads: Sequence[Load]) -> str:
    """In Markdown, a load a column."""
    columns = [column(load) for load in loads]
    rows = [["calls/s", *(f"{load.calls:,}" for load in loads)], ["---", *("--:" for _ in loads)]]
    rows += [[name, *(each[name] for each in columns)] for name in columns[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def report() -> str:
    """All tables."""
    parts = []
    for title, logs in (("Calls told in one event (modes A, C and D)", False), ("Calls told in halves (mode B)", True)):
        loads = [Load(calls, apps, logs, wait) for calls, apps in SIZES for wait in (0, WAIT)]
        parts.append(f"{title}:\n\n{table(loads)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(report(), end="")
