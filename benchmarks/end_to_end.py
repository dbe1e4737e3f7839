"""Events per second through the whole local stack, as a share of what Azurite alone takes in 100-entity transactions;
and at half that rate, how long an event takes from the hub to the API's answer.

Hub, Azurite, functions host, sender and this process share the machine's cores, so the share is a lower bound.
"""

import asyncio
import json
import re
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from urllib.request import urlopen
from uuid import uuid4

from azure.data.tables.aio import TableServiceClient
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage

from benchmarks.figures import Figure
from ledger.pending import TABLE as PENDING
from ledger.store import TableStore, Write
from local.parts import USAGE_HUB, running_stack
from local.ports import find_free
from local.progress import Display, make_console
from local.stack_settings import StackSettings
from tests.support.events import usage_event

EVENTS = 20_000
APPS, MODELS = 20, 2
ALONE_TRANSACTIONS, IN_FLIGHT = 200, 16
STEADY_TICK, STEADY_TICKS = 0.1, 200
"""Seconds between two probes under steady load, and how many there are."""
PROBE = "probe"


def figures() -> Iterable[Figure]:
    """One run: Azurite alone, then the stack on the same Azurite, then Azurite alone again."""
    with tempfile.TemporaryDirectory() as folder:
        http, amqp, table, blob = find_free(4)
        settings = StackSettings(http, amqp, table, blob, Path(folder), sample=False)
        with running_stack(settings, Display(make_console())) as stack:
            before = asyncio.run(_azurite_alone(stack.storage))
            started = time.perf_counter()
            _send(stack.hub)
            sent = time.perf_counter()
            _wait_until_counted(settings.base_url)
            seconds = time.perf_counter() - started
            log = (settings.data_dir / "logs" / "functions-host.log").read_text()
            after = asyncio.run(_azurite_alone(stack.storage))
            met = asyncio.run(_rows_in(stack.storage, PENDING))
            delays = _delays(stack.hub, settings.base_url, EVENTS / seconds / 2)
    entities = met + sum(int(number) for number in re.findall(r'"entities": (\d+)', log))
    assert entities >= 2 * EVENTS
    yield Figure("end to end: sending alone", EVENTS / (sent - started), "events/s")
    yield Figure("end to end: sent, counted and visible", EVENTS / seconds, "events/s")
    by_sdk, alone = (fmean(rates) for rates in zip(before, after, strict=True))
    written = entities / seconds
    for sender, rate in (("the SDK", by_sdk), ("our own code", alone)):
        yield Figure(f"end to end: Azurite alone, transactions sent by {sender}", rate, "entities/s")
        yield Figure(
            f"end to end: entities written / those sent by {sender}", written / rate, "ratio", 0.75, at_most=False
        )
    yield Figure("end to end: enqueued to visible at half the rate, p50", _share(delays, 0.50), "s")
    yield Figure("end to end: enqueued to visible at half the rate, p99", _share(delays, 0.99), "s")


async def _azurite_alone(storage: str) -> tuple[float, float]:
    """Entities per second in concurrent transactions of 100 rows like ours: sent by azure-data-tables, and as ours."""
    async with TableServiceClient.from_connection_string(storage) as service:
        table = await service.create_table(f"alone{uuid4().hex}")
        store = TableStore(service, f"alone{uuid4().hex}")
        await service.create_table(store.name)

        async def by_sdk(rows: list[dict[str, str]]) -> None:
            await table.submit_transaction([("create", row) for row in rows])

        async def by_store(rows: list[dict[str, str]]) -> None:
            await store.submit([Write(row) for row in rows])

        rates = await _rate(by_sdk), await _rate(by_store)
        await table.close()
    return rates


async def _rate(send: Callable[[list[dict[str, str]]], Awaitable[None]]) -> float:
    at_once = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> None:
        rows = [{"PartitionKey": f"{number}", "RowKey": f"{row}", **_COLUMNS} for row in range(100)]
        async with at_once:
            await send(rows)

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(ALONE_TRANSACTIONS)))
    return ALONE_TRANSACTIONS * 100 / (time.perf_counter() - started)


async def _rows_in(storage: str, name: str) -> int:
    async with TableServiceClient.from_connection_string(storage) as service:
        return sum([1 async for _ in TableStore(service, name).scan("", "~", ["RowKey"])])


_COLUMNS = {f"column_{number}": "a text of twenty chars" for number in range(25)}


def _send(hub: str) -> None:
    now = datetime.now(UTC)
    with EventHubProducerClient.from_connection_string(hub, eventhub_name=USAGE_HUB) as producer:
        for first in range(0, EVENTS, 500):
            app = f"app-{first // 500 % APPS}"
            producer.send_batch(
                [
                    EventData(
                        json.dumps(
                            usage_event(
                                app_id=app,
                                response_model=f"model-{number % MODELS}",
                                timestamp=(now - timedelta(seconds=number % 3600)).isoformat(),
                            )
                        )
                    )
                    for number in range(first, first + 500)
                ],
                partition_key=app,
            )


def _wait_until_counted(base_url: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        calls = _calls(base_url)
        if calls == EVENTS:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{calls} of {EVENTS} calls were counted")


def _calls(base_url: str, app: str = "") -> int:
    only = f"&app={app}" if app else ""
    url = f"{base_url}/api/usage?granularity=total&group_by=none{only}"
    with urlopen(url) as answer:  # noqa: S310  # this machine
        return int(json.load(answer)["totals"]["calls"])


def _delays(hub: str, base_url: str, rate: float) -> list[float]:
    """Seconds from an event's enqueueing until the API counts it, of events of an app of their own among `rate` others
    a second. They have one hub partition, so they are counted in their order."""
    sent: list[float] = []

    def send() -> None:
        each = max(1, round(rate * STEADY_TICK))
        with EventHubProducerClient.from_connection_string(hub, eventhub_name=USAGE_HUB) as producer:
            started = time.perf_counter()
            for tick in range(STEADY_TICKS):
                time.sleep(max(0.0, started + tick * STEADY_TICK - time.perf_counter()))
                for app, number in ((f"app-{tick % APPS}", each), (PROBE, 1)):
                    now = datetime.now(UTC).isoformat()
                    events: list[EventData | AmqpAnnotatedMessage] = [
                        EventData(json.dumps(usage_event(app_id=app, timestamp=now))) for _ in range(number)
                    ]
                    producer.send_batch(events, partition_key=app)
                sent.append(time.perf_counter())

    delays: list[float] = []
    sender = threading.Thread(target=send)
    sender.start()
    deadline = time.monotonic() + 300
    while len(delays) < STEADY_TICKS and time.monotonic() < deadline:
        visible = _calls(base_url, PROBE)
        seen = time.perf_counter()
        delays += [seen - at for at in sent[len(delays) : visible]]
        time.sleep(0.01)
    sender.join()
    assert len(delays) == STEADY_TICKS
    return sorted(delays)


def _share(delays: list[float], share: float) -> float:
    return delays[min(len(delays) - 1, round(share * len(delays)))]
