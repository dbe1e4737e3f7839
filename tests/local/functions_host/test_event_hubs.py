"""Event Hubs functions of a running host, against the local endpoint and Azurite: order, retries, checkpoints."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

from local.eventhubs import EventHubsEndpoint
from local.functions_host.host import FunctionsHost

from .conftest import HUB, AppFolder, eventually

RECORDING_APP = """
    got, calls, poison, delays = {}, [], set(), {"bad": 0.1}

    @app.event_hub_message_trigger(arg_name="events", event_hub_name="%HUB%", connection="HUBS",
                                   cardinality=func.Cardinality.MANY, data_type=func.DataType.BINARY)
    RETRY
    async def collect(events: typing.List[func.EventHubEvent], context: func.Context) -> None:
        import asyncio
        partition = events[0].metadata["PartitionContext"]["PartitionId"]
        bodies = [event.get_body().decode() for event in events]
        calls.append((partition, bodies, context.retry_context.retry_count))
        await asyncio.sleep(max([delays.get(body, 0) for body in bodies]))
        if poison & set(bodies):
            raise RuntimeError("on purpose")
        got.setdefault(partition, []).extend(bodies)
"""
FOREVER = '@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:00")'
ONCE = '@app.retry(strategy="fixed_delay", max_retry_count="1", delay_interval="00:00:00")'


class Recording:
    """The recording app: starts hosts on it and tells what its function got."""

    def __init__(self, app: AppFolder, settings: dict[str, str]) -> None:
        self.app = app
        self.settings = settings

    def write(self, retry: str = "", **event_hubs: Any) -> None:
        self.app.write(RECORDING_APP.replace("RETRY", retry), extensions={"eventHubs": event_hubs})

    def host(self) -> FunctionsHost:
        return FunctionsHost(self.app.path, environ=dict(self.settings), grace_seconds=0.2)

    @property
    def got(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self.app.module.got
        return found

    @property
    def calls(self) -> list[tuple[str, list[str], int]]:
        found: list[tuple[str, list[str], int]] = self.app.module.calls
        return found


@pytest.fixture
def recording(app: AppFolder, hub_settings: dict[str, str]) -> Recording:
    return Recording(app, hub_settings)


@pytest.fixture
async def producer(event_hubs: EventHubsEndpoint) -> AsyncIterator[EventHubProducerClient]:
    client = EventHubProducerClient.from_connection_string(event_hubs.connection_string(HUB))
    async with client:
        yield client


async def send(producer: EventHubProducerClient, partition: str, bodies: Sequence[str]) -> None:
    await producer.send_batch([EventData(body) for body in bodies], partition_id=partition)


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


async def test_order_within_a_partition_and_batch_size(recording: Recording, producer: EventHubProducerClient) -> None:
    recording.write(maxEventBatchSize=50)
    for partition in "01":
        await send(producer, partition, numbered("a", 120))
    async with recording.host():
        recording.app.module.delays["a0"] = 0.5  # meanwhile the others arrive
        await eventually(lambda: sum(map(len, recording.got.values())) == 240)
        await send(producer, "0", numbered("b", 3))
        await eventually(lambda: len(recording.got["0"]) == 123)
    assert recording.got == {"0": numbered("a", 120) + numbered("b", 3), "1": numbered("a", 120)}
    sizes = [len(bodies) for _, bodies, _ in recording.calls]
    assert max(sizes) == 50


async def test_start_at_the_end_and_minimum_batch_size(recording: Recording, producer: EventHubProducerClient) -> None:
    recording.write(
        minEventBatchSize=4,
        maxEventBatchSize=4,
        maxWaitTime="00:00:01",
        initialOffsetOptions={"type": "fromEnd"},
    )
    await send(producer, "0", ["old"])
    async with recording.host():
        await asyncio.sleep(4)  # until it listens
        for body in numbered("new", 5):
            await send(producer, "0", [body])
        await eventually(lambda: len(recording.got.get("0", [])) == 5)
    assert [bodies for _, bodies, _ in recording.calls] == [numbered("new", 4), ["new4"]]


async def test_retries_until_success_then_no_redelivery(recording: Recording, producer: EventHubProducerClient) -> None:
    recording.write(FOREVER)
    await send(producer, "0", ["bad"])
    async with recording.host():
        recording.app.module.poison.add("bad")
        await eventually(lambda: len(recording.calls) >= 2)
        await send(producer, "0", ["good"])  # waits behind it
        recording.app.module.poison.clear()
        await eventually(lambda: recording.got.get("0") == ["bad", "good"])
        *retries, last = [(bodies, retry) for _, bodies, retry in recording.calls]
        assert retries == [(["bad"], number) for number in range(len(retries))]
        assert last == (["good"], 0)
        await asyncio.sleep(1)  # the checkpoint is written
    async with recording.host():
        await send(producer, "0", ["later"])
        await eventually(lambda: recording.got.get("0"))
        assert recording.got == {"0": ["later"]}


async def test_no_checkpoint_while_failing_and_others_go_on(
    recording: Recording, producer: EventHubProducerClient
) -> None:
    """A partition stuck in retries holds up no other; after a restart its batch comes again, the others' do not."""
    recording.write(FOREVER)
    await send(producer, "0", ["bad"])
    async with recording.host():
        recording.app.module.poison.add("bad")
        await eventually(lambda: recording.calls)
        await send(producer, "0", ["behind"])
        await send(producer, "1", ["fine"])
        await eventually(lambda: recording.got.get("1") == ["fine"])
        await eventually(lambda: len(recording.calls) >= 5)
        await asyncio.sleep(1)
        assert "0" not in recording.got
    async with recording.host():
        await eventually(lambda: recording.got.get("0") == ["bad", "behind"])
        assert "1" not in recording.got


async def test_used_up_retries_move_the_checkpoint(
    recording: Recording, producer: EventHubProducerClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a policy too: the last test here has a batch that fails at once."""
    recording.write(ONCE)
    await send(producer, "0", ["bad"])
    async with recording.host():
        recording.app.module.poison.add("bad")
        await eventually(lambda: len(recording.calls) == 2)
        await eventually(lambda: "checkpoint moves past" in caplog.text)
        await send(producer, "0", ["next"])
        await eventually(lambda: recording.got.get("0") == ["next"])
        assert len(recording.calls) == 3


async def test_one_batch_at_a_time_and_no_checkpoint_for_an_unfinished_one(
    recording: Recording, producer: EventHubProducerClient
) -> None:
    """Connections break and the host stops while a batch is being run."""
    recording.write()
    await send(producer, "0", ["slow"])
    async with recording.host():
        recording.app.module.delays["slow"] = 60
        await eventually(lambda: recording.calls)
        await send(producer, "0", ["behind"])
        await asyncio.sleep(0.5)
        assert len(recording.calls) == 1
    assert not recording.got
    async with recording.host():
        await eventually(lambda: recording.got.get("0") == ["slow", "behind"])


EVENT_SHAPE_APP = """
    seen = {}

    @app.event_hub_message_trigger(arg_name="events", event_hub_name="%HUB%", connection="HUBS",
                                   cardinality=func.Cardinality.MANY, data_type=func.DataType.BINARY)
    def many(events: typing.List[func.EventHubEvent]) -> None:
        seen.setdefault("many", []).extend(events)

    @app.event_hub_message_trigger(arg_name="event", event_hub_name="%HUB%", connection="HUBS",
                                   consumer_group="ones", data_type=func.DataType.BINARY)
    async def one(event: func.EventHubEvent) -> None:
        seen.setdefault("one", []).append(event)

    @app.event_hub_message_trigger(arg_name="events", event_hub_name="%HUB%", connection="HUBS",
                                   consumer_group="texts", cardinality=func.Cardinality.MANY)
    async def text(events: typing.List[func.EventHubEvent]) -> None:
        seen.setdefault("text", []).extend(events)
"""


async def test_what_a_function_sees_of_an_event(
    app: AppFolder,
    hub_settings: dict[str, str],
    event_hubs: EventHubsEndpoint,
    producer: EventHubProducerClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The objects the real host and worker make; an empty body fails a batch of strings, and is fine as binary."""
    rich = EventData(b"\xff\x00")
    rich.properties = {"app": "one", "number": 7}
    rich.content_type = "application/json"
    await producer.send_batch([rich, EventData(b"")], partition_key="key")
    app.write(EVENT_SHAPE_APP)
    async with FunctionsHost(app.path, environ=hub_settings, grace_seconds=0.2):
        await eventually(lambda: len(app.module.seen.get("many", [])) == len(app.module.seen.get("one", [])) == 2)
        await eventually(lambda: "Number of bodies and metadata mismatched" in caplog.text)
        await producer.send_batch([EventData("no key")], partition_id="0")
        await eventually(lambda: len(app.module.seen.get("many", [])) == len(app.module.seen.get("one", [])) == 3)
        await eventually(lambda: "text" in app.module.seen)
        assert "'text' failed, the checkpoint moves past sequence numbers 0 to 1" in caplog.text
    seen = app.module.seen
    for name in ("many", "one", "text"):
        keyless = seen[name].pop()
        assert (keyless.get_body(), keyless.partition_key) == (b"no key", None)
    assert not seen["text"]

    first, second = seen["many"]
    assert [event.get_body() for event in seen["many"]] == [b"\xff\x00", b""]
    assert [event.sequence_number for event in seen["many"]] == [0, 1]
    assert isinstance(first.offset, int)
    assert first.offset < second.offset
    assert first.partition_key == "key"
    assert first.enqueued_time.tzinfo is None
    assert abs(datetime.now(UTC).replace(tzinfo=None) - first.enqueued_time) < timedelta(minutes=1)
    metadata = first.metadata
    assert metadata["PartitionContext"] == {
        "FullyQualifiedNamespace": f"127.0.0.1:{event_hubs.port}",
        "EventHubName": HUB,
        "ConsumerGroup": "$Default",
        "PartitionId": metadata["PartitionContext"]["PartitionId"],
    }
    assert metadata["PartitionKeyArray"] == ["key", "key"]
    assert metadata["SequenceNumberArray"] == [0, 1]
    assert metadata["OffsetArray"] == [str(first.offset), str(second.offset)]
    assert metadata["EnqueuedTimeUtcArray"][0] == first.enqueued_time.isoformat()
    assert metadata["PropertiesArray"] == [{"app": "one", "number": 7}, {}]
    assert metadata["SystemPropertiesArray"][0]["content-type"] == "application/json"
    assert metadata["SystemPropertiesArray"][0]["x-opt-sequence-number"] == 0

    single = seen["one"][0]
    assert (single.get_body(), single.sequence_number, single.partition_key) == (b"\xff\x00", 0, "key")
    assert (single.offset, single.enqueued_time) == (str(first.offset), first.enqueued_time)
    assert single.metadata["Properties"] == {"app": "one", "number": 7}
