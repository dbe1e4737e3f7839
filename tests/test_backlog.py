"""How far counting is behind, against a real hub and real tables."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from hypothesis import given
from hypothesis import strategies as st

import backlog as app_backlog
import services as app_services
from backlog import PartitionLag, lag_of, look, watch
from hub_state import PartitionState
from ledger.progress import Reached
from ledger.traffic import HOUR
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint, HubSpec
from models.origin import Origin
from pipeline import ingest
from services import Services
from tests.support.events import NOON, raw_event, usage_event
from tests.support.metrics import Meter

HUB = "usage-events"


@pytest.fixture
def endpoint(tmp_path: Path) -> EventHubsEndpoint:
    """Not started: with hubs of the test's own."""
    return EventHubsEndpoint(tmp_path, [HubSpec(HUB, 2, ("usage-collector",)), HubSpec("gateway-logs", 1, ("c",))])


@asynccontextmanager
async def running(azurite: Azurite, endpoint: EventHubsEndpoint, **changes: str) -> AsyncIterator[Services]:
    environment = {
        "UsageStorage": azurite.connection_string,
        "USAGE_EVENTS_HUB": HUB,
        "GATEWAY_LOGS_HUB": "gateway-logs",
        "EventHubConnection": endpoint.connection_string(),
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
    }
    found = app_services.build(environment | changes)
    try:
        yield found
    finally:
        await found.close()


async def send(endpoint: EventHubsEndpoint, partition: str, count: int, hub: str = HUB) -> None:
    client = EventHubProducerClient.from_connection_string(endpoint.connection_string(), eventhub_name=hub)
    async with client:
        await client.send_batch([EventData(b"{}") for _ in range(count)], partition_id=partition)


async def count(found: Services, endpoint: EventHubsEndpoint, partition: str, upto: int) -> None:
    """As the trigger does: note that the partition is counted up to the event of this number."""
    states = await found.hub_state(HUB).partitions()
    last = next(state for state in states if state.partition == partition)
    time = last.last_enqueued_time if upto == last.last else last.last_enqueued_time - timedelta(milliseconds=1)
    await found.progress.note(Origin(HUB, partition, upto, time))


def by_place(lags: Sequence[PartitionLag]) -> dict[tuple[str, str], int]:
    return {(lag.hub, lag.partition): lag.events for lag in lags}


async def test_what_is_not_counted_is_behind(azurite: Azurite, endpoint: EventHubsEndpoint) -> None:
    with endpoint:
        async with running(azurite, endpoint) as found:
            backlog = await look(found)
            assert backlog.parts == {"tables": True, "usage_events_hub": True, "gateway_logs_hub": True}
            assert set(by_place(backlog.lags).values()) == {0}
            assert backlog.oldest_pending is None

            await send(endpoint, "0", 5)
            await send(endpoint, "1", 3)
            assert by_place((await look(found)).lags) == {(HUB, "0"): 5, (HUB, "1"): 3, ("gateway-logs", "0"): 0}

            await count(found, endpoint, "0", 4)
            await count(found, endpoint, "1", 0)
            lags = (await look(found)).lags
            assert by_place(lags) == {(HUB, "0"): 0, (HUB, "1"): 2, ("gateway-logs", "0"): 0}
            seconds = {lag.partition: lag.seconds for lag in lags if lag.hub == HUB}
            assert seconds["0"] == 0
            assert seconds["1"] is not None
            assert 0 < seconds["1"] < 60


async def test_a_hub_made_anew_is_behind_by_all_it_holds(azurite: Azurite, endpoint: EventHubsEndpoint) -> None:
    with endpoint:
        async with running(azurite, endpoint) as found:
            await send(endpoint, "0", 50)
            await count(found, endpoint, "0", 49)
            endpoint.recreate_hub(HUB)
            assert by_place((await look(found)).lags)[HUB, "0"] == 0
            await send(endpoint, "0", 4)
            assert by_place((await look(found)).lags)[HUB, "0"] == 4


async def test_what_ingest_counted_is_not_behind(azurite: Azurite, endpoint: EventHubsEndpoint) -> None:
    with endpoint:
        async with running(azurite, endpoint) as found:
            await send(endpoint, "1", 3)
            states = await found.hub_state(HUB).partitions()
            time = states[1].last_enqueued_time
            events = [
                raw_event(usage_event(timestamp=time.isoformat()), partition="1", sequence_number=number)
                for number in range(3)
            ]
            events = [event._replace(origin=event.origin._replace(enqueued_time=time)) for event in events]
            await ingest(events, found)
            assert by_place((await look(found)).lags)[HUB, "1"] == 0


NUMBERS = st.integers(0, 1000)
TIMES = st.integers(0, 1000).map(lambda second: NOON + timedelta(seconds=second))


@given(NUMBERS, NUMBERS, TIMES, st.one_of(st.none(), st.builds(Reached, TIMES, NUMBERS)), TIMES, st.booleans())
def test_a_lag_is_never_negative_and_never_more_than_the_hub_holds(
    first: int, more: int, last_time: datetime, reached: Reached | None, now: datetime, empty: bool
) -> None:
    state = PartitionState("0", empty, first, first + more, last_time)
    lag = lag_of(HUB, state, reached, now)
    assert 0 <= lag.events <= more + 1
    assert lag.seconds is None or lag.seconds >= 0
    caught_up = empty or (reached is not None and reached.enqueued_time >= last_time)
    assert (lag.events == 0) == caught_up
    if reached and not caught_up and first <= reached.sequence_number < first + more:
        assert lag.events == first + more - reached.sequence_number
    if reached and not caught_up:
        assert lag.seconds == max((now - reached.enqueued_time).total_seconds(), 0)


async def test_the_part_that_does_not_answer_is_named(
    azurite: Azurite, endpoint: EventHubsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with endpoint:
        async with running(azurite, endpoint, GATEWAY_LOGS_HUB="nothing") as found:
            backlog = await look(found)
            assert backlog.parts == {"tables": True, "usage_events_hub": True, "gateway_logs_hub": False}
            assert {lag.hub for lag in backlog.lags} == {HUB}
            assert "hub nothing" in caplog.text
    async with running(azurite, endpoint) as found:  # no hub answers now
        backlog = await look(found)
        assert backlog.parts == {"tables": True, "usage_events_hub": False, "gateway_logs_hub": False}
        assert backlog.lags == []


async def test_a_stopped_azurite_is_tables_that_do_not_answer(endpoint: EventHubsEndpoint) -> None:
    with endpoint, Azurite() as own:
        async with running(own, endpoint) as found:
            assert (await look(found)).parts["tables"]
            own.stop()
            async with asyncio.timeout(20):
                backlog = await look(found)
            assert backlog.parts == {"tables": False, "usage_events_hub": True, "gateway_logs_hub": True}
            assert (backlog.lags, backlog.oldest_pending) == ([], None)


async def test_without_a_connection_the_hub_is_a_part_that_does_not_answer(azurite: Azurite) -> None:
    found = app_services.build(
        {"UsageStorage": azurite.connection_string, "USAGE_EVENTS_HUB": HUB, "TABLE_PREFIX": f"t{uuid4().hex[:16]}"}
    )
    assert (await look(found)).parts == {"tables": True, "usage_events_hub": False}
    await found.close()


async def test_the_timer_records_it_as_metrics(azurite: Azurite, endpoint: EventHubsEndpoint) -> None:
    with endpoint:
        async with running(azurite, endpoint) as found:
            meter = Meter()
            found.telemetry = meter.telemetry
            await send(endpoint, "0", 5)
            await send(endpoint, "1", 2)
            await count(found, endpoint, "1", 0)
            waits = usage_event(timestamp=datetime.now(UTC).isoformat(), usage=None, usage_source="gateway_log")
            await ingest([raw_event(waits, partition="9")], found, now=lambda: datetime.now(UTC) - timedelta(minutes=5))
            await watch(found)
    assert meter.of("usage_collector.up") == {("tables",): 1, ("usage_events_hub",): 1, ("gateway_logs_hub",): 1}
    hub = {"messaging.destination.name": HUB}
    assert meter.of("usage_collector.partition.lag.events", **hub) == {("0",): 5, ("1",): 1}
    assert list(meter.of("usage_collector.partition.lag.duration", **hub)) == [("1",)]  # of 0 nothing was counted
    assert 300 <= meter.of("usage_collector.pending.oldest_age")[()] < 330


async def test_a_hub_that_falls_silent_is_told_by_what_was_usual(
    azurite: Azurite, endpoint: EventHubsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's sequence numbers, whatever is counted of it."""
    with endpoint:
        async with running(azurite, endpoint) as found:
            meter = Meter()
            found.telemetry = meter.telemetry
            await send(endpoint, "0", 2)
            await send(endpoint, "1", 3)
            this = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
            for number in range(-3, 3):  # a week ago a hundred an hour, up to the three of before and the two of now
                await found.traffic.note(HUB, this - timedelta(weeks=1) + number * HOUR, 400 + 100 * number)
            monkeypatch.setattr(app_backlog, "now", lambda: this - HOUR)
            await watch(found)
            assert meter.of("usage_collector.events.overdue") == {(HUB,): 0, ("gateway-logs",): 0}
            monkeypatch.setattr(app_backlog, "now", lambda: this + HOUR)
            await watch(found)
            assert meter.of("usage_collector.events.overdue") == {(HUB,): 100, ("gateway-logs",): 0}
            await send(endpoint, "0", 1)
            await watch(found)
            assert meter.of("usage_collector.events.overdue") == {(HUB,): 0, ("gateway-logs",): 0}
            noted = (await found.traffic.totals())[HUB]
            assert {hour: noted[hour] for hour in (this - HOUR, this + HOUR)} == {this - HOUR: 5, this + HOUR: 6}


async def test_the_timer_goes_on_whatever_fails(
    azurite: Azurite, endpoint: EventHubsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(azurite, endpoint) as found:  # no hub answers
        meter = Meter()
        found.telemetry = meter.telemetry
        await watch(found)
        assert {name for name, _ in meter.read()} == {"usage_collector.up", "usage_collector.pending.oldest_age"}
        assert meter.of("usage_collector.up") == {("tables",): 1, ("usage_events_hub",): 0, ("gateway_logs_hub",): 0}
        found.hub_states.clear()
        del found.progress
        with caplog.at_level(logging.ERROR):
            await watch(found)
    assert "the backlog is not known" in caplog.text
