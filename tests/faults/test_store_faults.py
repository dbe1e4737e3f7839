"""Whatever Table Storage does, totals stay exact, work goes on, and an answer is right or says that it cannot be given.

The app's own services and the real SDK talk to Azurite through a proxy that does what the service can do.
"""

import asyncio
import contextlib
import itertools
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableServiceClient

import ledger.retry
import services as app_services
from api.endpoints import answer
from ledger import dead_letters
from ledger.store import StoreError
from local.azurite import Azurite
from local.parts import GATEWAY_LOGS_HUB, HUBS, USAGE_HUB
from models.errors import StoreUnavailable
from models.origin import RawEvent
from pipeline import BatchReport, ingest, settle
from services import Services
from tests.faults.table_proxy import (
    OF_QUERIES,
    PATIENCE_SECONDS,
    Fault,
    TableProxy,
    at,
    at_random,
    every,
    no_fault,
)
from tests.faults.traffic import Sent, Traffic
from tests.support.audit import COUNTED, Cell, assert_exact, over, sums, without_zeros
from tests.support.events import NOON, raw_event, usage_event

SEEDS = int(os.environ.get("FAULT_SEEDS", "1"))
"""How often, each time with other faults. Sixteen have every fault at every request."""
MAX_DELIVERIES = 12
TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Hurried(TableServiceClient):
    """The SDK's client with the app's options, except that it waits shortly where the app's waits long."""

    @classmethod
    def from_connection_string(cls, conn_str: str, **options: Any) -> "Hurried":
        hurried = {"retry_backoff_max": 0.01, "read_timeout": PATIENCE_SECONDS}
        return super().from_connection_string(conn_str, **options | hurried)  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_services, "TableServiceClient", Hurried)
    monkeypatch.setattr(ledger.retry, "LONGEST_WAIT_SECONDS", 0.01)


@asynccontextmanager
async def app(connection_string: str, prefix: str) -> AsyncIterator[Services]:
    """The services of a process that has just started."""
    found = app_services.build(
        {
            "UsageStorage": connection_string,
            "USAGE_EVENTS_HUB": USAGE_HUB,
            "GATEWAY_LOGS_HUB": GATEWAY_LOGS_HUB,
            "TABLE_PREFIX": prefix,
        }
    )
    try:
        yield found
    finally:
        await found.close()


def fresh() -> str:
    return f"f{uuid4().hex[:16]}"


def batches(sent: Sequence[Sent], size: int) -> list[list[RawEvent]]:
    """In order, in batches of one hub each."""
    events = [raw_event(each.body, hub=each.hub, sequence_number=number) for number, each in enumerate(sent)]
    parts = [events[start : start + size] for start in range(0, len(events), size)]
    split = ([event for event in part if event.origin.hub == hub] for part in parts for hub in HUBS)
    return [batch for batch in split if batch]


async def deliver(batch: Sequence[RawEvent], found: Services) -> tuple[BatchReport, int]:
    """As the host does: the same batch again until it is stored. Returns the last report and the deliveries."""
    for deliveries in range(1, MAX_DELIVERIES + 1):
        try:
            report = await ingest(batch, found, now=lambda: NOON)
        except StoreUnavailable:
            continue
        assert report is not None
        outcomes = report.counted + report.duplicate + report.joined + report.pending + report.dead_lettered
        assert report.received == outcomes, report
        return report, deliveries
    raise AssertionError(f"a batch was not stored in {MAX_DELIVERIES} deliveries")


async def pass_deadlines(found: Services) -> None:
    """As the timer does, until it comes through."""
    for _ in range(MAX_DELIVERIES):
        with contextlib.suppress(StoreUnavailable, StoreError):
            report = await settle(found, now=lambda: NOON + timedelta(hours=2))
            if not report.left_over:
                return
    raise AssertionError(f"the deadlines were not passed in {MAX_DELIVERIES} runs of the timer")


async def letters(found: Services) -> list[dict[str, Any]]:
    """The rows of the table of dead letters."""
    table = found.tables.get_table_client(found.settings.table_prefix + dead_letters.TABLE)
    with contextlib.suppress(ResourceNotFoundError):  # there was none
        return [dict(row) async for row in table.list_entities()]
    return []


CELL = Cell("app-1", "gpt-4o-2024-08-06", "2026112012")
ONE_CALL = Counter({"calls": 1, "usage_reported": 1} | TOKENS)


OF_WRITES = [fault for fault in Fault if fault not in OF_QUERIES]


@pytest.mark.parametrize("turn", range(min(SEEDS, len(OF_WRITES))))
async def test_one_fault_at_any_request_changes_nothing(azurite: Azurite, turn: int) -> None:
    """A new call, one that was counted before, a half of one, then its other half: each batch by a process that has
    just started, once for each request, each time with another fault."""
    prefix, counted = fresh(), usage_event(request_id="counted", usage=TOKENS)
    async with app(azurite.connection_string, prefix) as found:
        await deliver([raw_event(counted)], found)
    place, last = 0, False
    while not last:
        place += 1
        half = usage_event(request_id=f"{place}-half", usage=None, usage_source="gateway_log")
        records = [usage_event(request_id=f"{place}-new"), counted, half]
        fault = OF_WRITES[(5 * place + turn) % len(OF_WRITES)]
        async with TableProxy(azurite, at(place, fault)) as proxy:
            async with app(proxy.connection_string, prefix) as found:
                report, deliveries = await deliver([raw_event(record) for record in records], found)
                assert (report.pending, deliveries) == (1, 1)
            async with app(proxy.connection_string, prefix) as found:
                log = raw_event(llm_log(half["request_id"]), hub=GATEWAY_LOGS_HUB)
                report, deliveries = await deliver([log], found)
                assert deliveries == 1
            last = proxy.requests < place
    calls = 1 + 2 * place
    assert_exact(
        azurite.connection_string, {CELL: Counter({n: calls * c for n, c in ONE_CALL.items()})}, f"{prefix}usage"
    )
    assert place > 15


def llm_log(request_id: str) -> dict[str, Any]:
    """The gateway's record of what a call used."""
    return {
        "time": NOON.isoformat(),
        "resourceId": "/R",
        "category": "GatewayLlmLogs",
        "correlationId": request_id,
        "properties": {"modelName": CELL.model, "promptTokens": 10, "completionTokens": 5, "totalTokens": 15},
    }


@pytest.mark.parametrize(("share", "seeds"), [(0.3, SEEDS), (0.5, SEEDS)], ids=["30%", "50%"])
async def test_any_faults_leave_totals_exact_and_work_goes_on(azurite: Azurite, share: float, seeds: int) -> None:
    """Traffic of every sort in batches, delivered until it is stored, and a part of it again by a new process.

    Some halves of calls come only when the deadline has passed. A fault never makes a dead letter of a good record, and
    every bad one is set aside.
    """
    injected: Counter[Fault] = Counter()
    deliveries: list[int] = []
    requests = 0
    for seed in range(seeds):
        prefix, traffic = fresh(), Traffic(seed, NOON, (timedelta(), timedelta(hours=1)))
        todo = batches([*traffic.events(60), *traffic.rest()], 10)
        async with TableProxy(azurite, at_random(seed, share)) as proxy:
            for process in (todo[:-4], todo[-6:]):
                async with app(proxy.connection_string, prefix) as found:
                    for batch in process:
                        deliveries.append((await deliver(batch, found))[1])
                    await pass_deadlines(found)
            injected += proxy.injected
            requests += proxy.requests
        assert_exact(azurite.connection_string, traffic.sent, f"{prefix}usage")
        async with app(azurite.connection_string, prefix) as found:
            assert len(await letters(found)) == traffic.poison
    assert len(injected) > len(Fault) / 2, injected
    print(f"{requests} requests, {injected.total()} faults: {dict(injected)}; deliveries: {Counter(deliveries)}")


async def test_the_timer_comes_through_faults(azurite: Azurite) -> None:
    """One that ended at the first would hardly get on, and not keep up with what comes in the meantime."""
    prefix, calls = fresh(), 60
    halves = [usage_event(usage=None, usage_source="gateway_log", request_id=f"waits-{each}") for each in range(calls)]
    async with TableProxy(azurite) as proxy, app(proxy.connection_string, prefix) as found:
        for number, half in enumerate(halves):  # each in a list of its own
            await deliver([raw_event(half, sequence_number=number)], found)
        proxy.choose = at_random(11, 0.1)
        report = await settle(found, now=lambda: NOON + timedelta(hours=2))
        assert len(report.counted) == calls
        assert not report.left_over
        assert proxy.injected.total() > 10


async def test_two_owners_of_a_partition_under_faults_count_once(azurite: Azurite) -> None:
    """Both deliver the same events at the same time, in batches of other sizes."""
    prefix, traffic = fresh(), Traffic(21, NOON, orphans=0)
    bodies = [*traffic.events(30), *traffic.rest()]
    async with (
        TableProxy(azurite, at_random(21, 0.3)) as proxy,
        app(proxy.connection_string, prefix) as one,
        app(proxy.connection_string, prefix) as other,
    ):

        async def own(found: Services, size: int) -> None:
            for batch in batches(bodies, size):
                await deliver(batch, found)

        await asyncio.gather(own(one, 17), own(other, 20))
    assert_exact(azurite.connection_string, traffic.sent, f"{prefix}usage")


async def test_storage_that_is_gone_delays_and_loses_nothing(azurite: Azurite) -> None:
    """Each delivery fails as a whole, in bounded attempts; when the storage is back the next one counts everything."""
    prefix, traffic = fresh(), Traffic(31, NOON, orphans=0)
    whole = batches([*traffic.events(15), *traffic.rest()], 100)
    for gone in (Fault.CUT_BEFORE, Fault.SERVER_BUSY, Fault.BUSY_INSIDE):
        async with TableProxy(azurite, every(gone)) as proxy, app(proxy.connection_string, prefix) as found:
            for batch in whole:
                before = proxy.requests
                with pytest.raises(StoreUnavailable):
                    await ingest(batch, found, now=lambda: NOON)
                assert 0 < proxy.requests - before <= 50 * len(batch)
            proxy.choose = no_fault
            reports = [(await deliver(batch, found))[0] for batch in whole]
            assert sum(report.dead_lettered for report in reports) == traffic.poison
    assert_exact(azurite.connection_string, traffic.sent, f"{prefix}usage")


# ------------------------------------------------------------------------------------------------------- questions


@pytest.fixture(scope="module")
async def counted(azurite: Azurite) -> tuple[str, Traffic]:
    """Tables and the traffic that they hold."""
    prefix, traffic = fresh(), Traffic(41, NOON, orphans=0)
    async with app(azurite.connection_string, prefix) as found:
        for batch in batches([*traffic.events(100), *traffic.rest()], 50):
            await deliver(batch, found)
    return prefix, traffic


@pytest.fixture
async def asked(
    azurite: Azurite, counted: tuple[str, Traffic], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[TableProxy, Traffic]]:
    """A proxy through which the API is asked about traffic that was counted without it."""
    prefix, traffic = counted
    async with TableProxy(azurite) as proxy:
        monkeypatch.setattr(app_services, "_services", type(app_services._services)())
        monkeypatch.setenv("UsageStorage", proxy.connection_string)
        monkeypatch.setenv("USAGE_EVENTS_HUB", "usage-events")
        monkeypatch.setenv("TABLE_PREFIX", prefix)
        try:
            yield proxy, traffic
        finally:
            await app_services.get().close()


def question(granularity: str) -> str:
    return f"https://usage.example.net/api/usage?granularity={granularity}&from=2026-10-01T00:00:00Z&to=2026-12-01T00:00:00Z"


def assert_answers(body: str, traffic: Traffic, granularity: str) -> None:
    """The rows are what was sent, by app and model, or also by hour."""
    shown = json.loads(body)["rows"]
    length = {"hour": 10, "day": 8, "month": 6, "total": 0}[granularity]
    found = sums()
    for row in shown:
        time = row["start"].translate({ord(sign): None for sign in "-T:"})[:length]
        found[Cell(row["app"], row["model"], time)].update({name: row[name] for name in COUNTED})
    assert without_zeros(found) == over(traffic.sent, length)


@pytest.mark.parametrize("granularity", ["hour", "day", "month", "total"])
async def test_pages_that_are_empty_or_short_do_not_end_an_answer(
    asked: tuple[TableProxy, Traffic], granularity: str
) -> None:
    """The service may answer a query with no row at all, and a token to go on with."""
    proxy, traffic = asked
    turn = itertools.cycle((Fault.EMPTY_PAGE, Fault.EMPTY_PAGE, Fault.SHORT_PAGE))
    proxy.choose = lambda _number, kind: next(turn) if kind == "query" else None
    answered = await answer("usage", question(granularity), {})
    assert answered.status == 200
    assert_answers(answered.body, traffic, granularity)
    assert proxy.injected[Fault.EMPTY_PAGE] > proxy.injected[Fault.SHORT_PAGE] > 3


async def test_an_answer_under_faults_is_right_or_says_that_it_cannot_be_given(
    asked: tuple[TableProxy, Traffic],
) -> None:
    proxy, traffic = asked
    statuses: Counter[int] = Counter()
    for seed in range(60):
        proxy.choose = at_random(seed, 0.3 if seed % 2 else 0.03)
        granularity = ("hour", "day", "month", "total")[seed % 4]
        answered = await answer("usage", question(granularity), {})
        statuses[answered.status] += 1
        if answered.status == 200:
            assert_answers(answered.body, traffic, granularity)
        else:
            assert answered.status == 503
            assert json.loads(answered.body)["error"]["code"] == "storage_unavailable"
    assert statuses[200] > 10
    assert proxy.injected.total() > 50
