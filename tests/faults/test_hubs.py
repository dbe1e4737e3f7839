"""What hubs do and deliver: made anew, grown, offsets that are no numbers, events of nothing and of a megabyte.

Events go through the real SDK and the local endpoint, become what the worker hands over, and are counted by the app's
own services.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage

import services as app_services
from collectors.hub import raw_events
from ledger import dead_letters
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint, HubSpec
from local.functions_host.eventhub_batch import Partition, decode_many
from pipeline import BatchReport, ingest
from services import Services
from tests.support.audit import Cell, Sums, assert_exact, sums
from tests.support.events import usage_event

HUB = "usage-events"
GROUP = "usage-collector"
QUICK: dict[str, Any] = {"socket_timeout": 0.05}  # how long the SDK sleeps between steps while it connects
MODEL = "gpt-4o-2024-08-06"
ONE_CALL = {"calls": 1, "usage_reported": 1, "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EventHubsEndpoint]:
    with EventHubsEndpoint(tmp_path, [HubSpec(HUB, 2, (GROUP,))]) as running:
        yield running


@pytest.fixture
async def found(azurite: Azurite) -> AsyncIterator[Services]:
    """The app's services on tables of their own."""
    settings = {"UsageStorage": azurite.connection_string, "USAGE_EVENTS_HUB": HUB}
    services = app_services.build(settings | {"TABLE_PREFIX": f"h{uuid4().hex[:16]}"})
    yield services
    await services.close()


async def send(endpoint: EventHubsEndpoint, bodies: Sequence[Any], partition: str = "0") -> None:
    """Bytes and AMQP messages as they are, anything else as JSON."""
    async with EventHubProducerClient.from_connection_string(endpoint.connection_string(HUB), **QUICK) as producer:
        batch = await producer.create_batch(partition_id=partition)
        for body in bodies:
            if isinstance(body, AmqpAnnotatedMessage):
                batch.add(body)
            else:
                batch.add(EventData(body if isinstance(body, bytes) else json.dumps(body)))  # ValueError if it is full
        await producer.send_batch(batch)


async def receive(endpoint: EventHubsEndpoint, partition: str = "0") -> list[EventData]:
    """All events of a partition, from its first."""
    events: list[EventData] = []
    missing = endpoint.event_counts(HUB)[int(partition)]
    enough = asyncio.Event()

    async def on_batch(_context: Any, batch: list[EventData]) -> None:
        events.extend(batch)
        if len(events) >= missing:
            enough.set()

    consumer = EventHubConsumerClient.from_connection_string(endpoint.connection_string(HUB), GROUP, **QUICK)
    async with consumer:
        receiving = asyncio.ensure_future(
            consumer.receive_batch(on_batch, partition_id=partition, starting_position="-1", max_batch_size=1000)
        )
        try:
            await asyncio.wait_for(enough.wait(), 30)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
    return events


async def deliver(events: Sequence[EventData], found: Services, partition: str = "0") -> BatchReport:
    """As the host hands a batch to the worker, and the worker to the function."""
    batch = decode_many(events, Partition("ns.example.net", HUB, GROUP, partition), binary=True)
    report = await ingest(raw_events(batch, HUB), found)
    assert report is not None
    assert report.received == report.counted + report.duplicate + report.dead_lettered
    return report


def calls(number: int, **changes: Any) -> list[dict[str, Any]]:
    """So many different calls of this hour."""
    return [usage_event(timestamp=datetime.now(UTC).isoformat(), **changes) for _ in range(number)]


def totals(*sent: dict[str, Any]) -> Sums:
    expected = sums()
    for event in sent:
        hour = event["timestamp"][:13].translate({ord(sign): None for sign in "-T"})
        expected[Cell(event["app_id"], MODEL, hour)].update(ONE_CALL)
    return expected


def assert_counted(found: Services, *sent: dict[str, Any]) -> None:
    connection_string = found.settings.tables_connection_string
    assert connection_string is not None
    assert_exact(connection_string, totals(*sent), f"{found.settings.table_prefix}usage")


async def letters(found: Services) -> list[dict[str, Any]]:
    table = found.tables.get_table_client(found.settings.table_prefix + dead_letters.TABLE)
    return [dict(row) async for row in table.list_entities()]


# ------------------------------------------------------------------------------------------------ hubs come and go


async def test_a_hub_made_anew_starts_its_numbers_again_and_loses_no_event(
    endpoint: EventHubsEndpoint, found: Services
) -> None:
    """New events have the sequence numbers and offsets of old ones: calls, records without an id, and dead letters."""
    first, second = calls(20), calls(20)
    nameless = {"response": {"model": MODEL, "usage": {"prompt_tokens": 10, "completion_tokens": 5}}}
    nameless["timestamp"] = first[0]["timestamp"]
    places = []
    for sent in (first, second):
        await send(endpoint, [*sent, nameless, b"not json"])
        events = await receive(endpoint)
        places.append([(event.sequence_number, event.offset) for event in events])
        report = await deliver(events, found)
        assert (report.counted, report.duplicate, report.dead_lettered) == (21, 0, 1)
        endpoint.recreate_hub(HUB)
    assert [place[0] for place in places[0]] == [place[0] for place in places[1]] == list(range(22))
    assert len(await letters(found)) == 2
    assert_counted(found, *first, *second, *[nameless | {"app_id": "unattributed"}] * 2)


async def test_more_partitions_and_a_replay_of_them_all_count_nothing_twice(tmp_path: Path, found: Services) -> None:
    """Keys move to other partitions, the sender repeats what it is not sure of, and the hub is read from its start."""
    sent = calls(30)

    async def count(endpoint: EventHubsEndpoint, partition: str) -> BatchReport:
        return await deliver(await receive(endpoint, partition), found, partition)

    with EventHubsEndpoint(tmp_path, [HubSpec(HUB, 2, (GROUP,))]) as endpoint:
        await asyncio.gather(send(endpoint, sent[:10], "0"), send(endpoint, sent[10:20], "1"))
        await asyncio.gather(*(count(endpoint, partition) for partition in "01"))
    with EventHubsEndpoint(tmp_path, [HubSpec(HUB, 5, (GROUP,))]) as endpoint:
        await asyncio.gather(send(endpoint, sent[5:25], "4"), send(endpoint, sent[20:], "2"))
        reports = await asyncio.gather(*(count(endpoint, partition) for partition in "4210"))
    assert sum(report.counted for report in reports) == 10
    assert sum(report.duplicate for report in reports) == 15 + 5 + 20
    assert_counted(found, *sent)


# --------------------------------------------------------------------------------------------- what an event can be

GOOD = calls(3)
NULL = AmqpAnnotatedMessage(value_body=None)
ODD = [GOOD[0], b"", b"null", GOOD[1], b" \r\n", b"\x00", b"[]", b"[null]", b"{}", NULL, GOOD[2]]
LIMIT = 1024 * 1024
ANSWER = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}, "model": MODEL, "choices": ["x" * (LIMIT - 2_000)]}
LARGE = calls(1, usage=None, response_model=None, body=json.dumps(ANSWER))[0]
HUNDREDS = calls(200, messages="x" * 4_800)
THOUSAND = calls(1_000)


@pytest.fixture(scope="module")
async def received(tmp_path_factory: pytest.TempPathFactory) -> list[list[EventData]]:
    """Three partitions of events, as the hub gives them: odd ones, large ones, a thousand."""
    with EventHubsEndpoint(tmp_path_factory.mktemp("hubs"), [HubSpec(HUB, 3, (GROUP,))]) as endpoint:

        async def send_large() -> None:
            for event in (GOOD[0], LARGE, HUNDREDS, GOOD[1]):
                await send(endpoint, [event], "1")

        await asyncio.gather(send(endpoint, ODD, "0"), send_large(), send(endpoint, THOUSAND, "2"))
        with pytest.raises(ValueError, match="size limit"):
            await send(endpoint, [b"x" * LIMIT])
        return await asyncio.gather(*(receive(endpoint, partition) for partition in "012"))


async def test_offsets_that_are_no_numbers_do_not_matter(
    received: list[list[EventData]], found: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a namespace with replicas in other regions: the trigger then says -1 of every event."""
    monkeypatch.setattr(EventData, "offset", property(lambda event: f"east-1:{event.sequence_number}"))
    batch = decode_many(received[0], Partition("ns", HUB, GROUP, "0"), binary=True)
    assert {int(event.offset) for event in batch} == {-1}
    assert (await deliver(received[0], found)).counted == 3
    assert (await deliver(received[0], found)).duplicate == 3
    assert_counted(found, *GOOD)


async def test_empty_and_null_bodies_are_set_aside_and_their_neighbours_counted(
    received: list[list[EventData]], found: Services
) -> None:
    for _ in range(2):
        report = await deliver(received[0], found)
        assert (report.received, report.dead_lettered) == (11, 8)
    rows = await letters(found)
    assert Counter(row["reason"] for row in rows) == {"not_json": 7, "unknown_dialect": 1}
    assert [row["size_bytes"] for row in rows] == [0, 4, 3, 1, 2, 6, 2, 0]
    assert_counted(found, *GOOD)


async def test_the_enqueued_time_is_utc_though_the_trigger_says_no_zone(
    received: list[list[EventData]], found: Services
) -> None:
    batch = decode_many(received[0], Partition("ns", HUB, GROUP, "0"), binary=True)
    for before, event in zip(batch, raw_events(batch, HUB), strict=True):
        assert before.enqueued_time.tzinfo is None
        assert abs(datetime.now(UTC) - event.origin.enqueued_time) < timedelta(minutes=10)
    report = await deliver(received[0], found)
    assert 0 <= report.lag_seconds < 600


async def test_events_as_large_as_a_hub_takes(received: list[list[EventData]], found: Services) -> None:
    """One call whose body is a megabyte, and one event of hundreds of calls, between others."""
    assert LIMIT - 2_000 < len(json.dumps(LARGE)) < LIMIT
    assert LIMIT - 20_000 < len(json.dumps(HUNDREDS)) < LIMIT
    report = await deliver(received[1], found)
    assert (report.counted, report.dead_lettered) == (203, 0)
    assert_counted(found, *GOOD[:2], LARGE, *HUNDREDS)


async def test_a_thousand_events_of_one_app_in_one_batch(received: list[list[EventData]], found: Services) -> None:
    report = await deliver(received[2], found)
    assert (report.events, report.counted) == (1_000, 1_000)
    assert report.transactions <= 12
    again = await deliver(received[2], found)
    assert (again.counted, again.duplicate) == (0, 1_000)
    assert_counted(found, *THOUSAND)
