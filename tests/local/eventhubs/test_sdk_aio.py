"""The unmodified aio SDK against a running endpoint: positions, epochs, load balancing, tracking."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import ConnectError

from local.eventhubs import EventHubsEndpoint, HubSpec

HUB = "usage-events"
Read = Callable[..., Awaitable[list[EventData]]]


def producer(endpoint: EventHubsEndpoint, **options: Any) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(
        endpoint.connection_string(), eventhub_name=HUB, retry_backoff_factor=0.05, **options
    )


def consumer(endpoint: EventHubsEndpoint, **options: Any) -> EventHubConsumerClient:
    return EventHubConsumerClient.from_connection_string(
        endpoint.connection_string(),
        consumer_group="usage-collector",
        eventhub_name=HUB,
        socket_timeout=0.05,  # how long the SDK sleeps between steps while it connects
        **options,
    )


async def stop(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_buffered_producer(endpoint: EventHubsEndpoint) -> None:
    sent: list[Any] = []

    async def on_success(events: list[EventData], partition: str) -> None:
        sent.extend(events)

    async def on_error(events: list[EventData], partition: str, error: Exception) -> None:
        raise AssertionError(error)

    async with producer(endpoint, buffered_mode=True, on_success=on_success, on_error=on_error) as client:
        for number in range(50):
            await client.send_event(EventData(f"{number}"))
        await client.flush()
    assert len(sent) == sum(endpoint.event_counts(HUB)) == 50


async def test_starting_positions(tmp_path: Path, read: Read) -> None:
    now = [1_700_000_000.0]
    with EventHubsEndpoint(tmp_path, [HubSpec(HUB, 1, ("usage-collector",))], clock=lambda: now[0]) as endpoint:
        async with producer(endpoint) as client:
            await client.send_batch([EventData("0"), EventData("1")], partition_id="0")
            now[0] += 10
            await client.send_event(EventData("2"), partition_id="0")
            offset = (await client.get_partition_properties("0"))["last_enqueued_offset"]
            now[0] += 10
            await client.send_event(EventData("3"), partition_id="0")
        time = datetime.fromtimestamp(1_700_000_010, UTC)

        async def first_from(position: Any, inclusive: bool, consumer_group: str) -> str:
            [event, *_] = await read(
                endpoint.connection_string(),
                1,
                consumer_group=consumer_group,
                starting_position=position,
                starting_position_inclusive=inclusive,
            )
            if event.sequence_number == 2:
                assert (event.offset, event.enqueued_time) == (offset, time)
            return event.body_as_str()

        # Two consumer groups, as one takes five readers at a time.
        cases = [("-1", "0"), (offset, "3"), (2, "3"), (time, "3")], [(offset, "2"), (2, "2"), (time, "2"), (0, "0")]
        results = await asyncio.gather(
            *(first_from(position, False, "usage-collector") for position, _ in cases[0]),
            *(first_from(position, True, "$Default") for position, _ in cases[1]),
        )
        assert results == [expected for _, expected in cases[0] + cases[1]]


async def test_positions_of_an_earlier_hub_are_refused(endpoint: EventHubsEndpoint, read: Read) -> None:
    async with producer(endpoint) as client:
        before = await client.get_eventhub_properties()
        for _ in range(3):
            await client.send_event(EventData("before"), partition_id="0")
        offset = (await client.get_partition_properties("0"))["last_enqueued_offset"]
        endpoint.recreate_hub(HUB)
        assert (await client.get_eventhub_properties())["created_at"] > before["created_at"]
        assert endpoint.event_counts(HUB) == [0, 0]
        await client.send_event(EventData("after"), partition_id="0")  # the SDK attaches its link anew
    results = await asyncio.gather(
        read(endpoint.connection_string(), 1),
        read(endpoint.connection_string(), 1, starting_position=offset),
        read(endpoint.connection_string(), 1, starting_position=7),
        return_exceptions=True,
    )
    [event], *refusals = results  # type: ignore[misc]
    assert (event.body_as_str(), event.sequence_number) == ("after", 0)
    assert [type(error) for error in refusals] == [ConnectError, ConnectError]
    assert f"The supplied offset '{offset}' is invalid" in str(refusals[0])
    assert "The supplied sequence number '7' is invalid" in str(refusals[1])


async def test_last_enqueued_event_properties_and_epochs(endpoint: EventHubsEndpoint) -> None:
    tracked: dict[str, list[dict[str, Any]]] = {"low": [], "high": []}
    errors: list[Exception] = []

    def receive(client: EventHubConsumerClient, name: str, owner_level: int) -> "asyncio.Future[None]":
        async def on_event(context: Any, event: EventData) -> None:
            tracked[name].append(context.last_enqueued_event_properties)

        async def on_error(context: Any, error: Exception) -> None:
            errors.append(error)

        return asyncio.ensure_future(
            client.receive(
                on_event,  # type: ignore[arg-type]
                on_error=on_error,
                partition_id="0",
                starting_position="-1",
                owner_level=owner_level,
                track_last_enqueued_event_properties=True,
            )
        )

    async with producer(endpoint) as sender, consumer(endpoint) as low, consumer(endpoint) as high:
        await sender.send_batch([EventData(f"{number}") for number in range(3)], partition_id="0")
        low_task = receive(low, "low", 1)
        await until(lambda: len(tracked["low"]) == 3)
        high_task = receive(high, "high", 2)
        await until(lambda: len(tracked["high"]) == 3 and bool(errors))
        await stop(low_task, high_task)
    assert "amqp:link:stolen" in str(errors[0])
    first = tracked["low"][0]
    assert first["sequence_number"] == 2
    assert int(first["offset"]) > 0
    assert first["enqueued_time"] is not None
    assert first["retrieval_time"] is not None


class MemoryCheckpointStore(CheckpointStore):
    """What the SDK needs to balance load between clients of one process."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, dict[str, Any]] = {}
        self._ownerships: dict[str, dict[str, Any]] = {}
        self._versions = 0

    async def list_ownership(self, *names: str, **options: Any) -> list[dict[str, Any]]:
        return [dict(ownership) for ownership in self._ownerships.values()]

    async def claim_ownership(self, ownership_list: Any, **options: Any) -> list[dict[str, Any]]:
        claimed = []
        for ownership in ownership_list:
            current = self._ownerships.get(ownership["partition_id"])
            if current is None or current["etag"] == ownership.get("etag"):
                self._versions += 1
                changed = {
                    **ownership,
                    "etag": str(self._versions),
                    "last_modified_time": datetime.now(UTC).timestamp(),
                }
                self._ownerships[ownership["partition_id"]] = changed
                claimed.append(dict(changed))
        return claimed

    async def list_checkpoints(self, *names: str, **options: Any) -> list[dict[str, Any]]:
        return list(self.checkpoints.values())

    async def update_checkpoint(self, checkpoint: dict[str, Any], **options: Any) -> None:
        self.checkpoints[checkpoint["partition_id"]] = checkpoint


async def test_two_consumers_share_the_partitions_from_the_latest_event_on(tmp_path: Path) -> None:
    store = MemoryCheckpointStore()
    got: dict[str, list[str]] = {"one": [], "two": []}
    partitions: dict[str, set[str]] = {"one": set(), "two": set()}

    async def send(client: EventHubProducerClient, name: str) -> None:
        for partition_id in "0123":
            await client.send_batch(
                [EventData(f"{name} {partition_id} {n}") for n in range(5)], partition_id=partition_id
            )

    def receive(client: EventHubConsumerClient, name: str) -> "asyncio.Future[None]":
        async def on_batch(context: Any, events: list[EventData]) -> None:
            got[name] += [event.body_as_str() for event in events]
            partitions[name].add(context.partition_id)
            await context.update_checkpoint()

        return asyncio.ensure_future(client.receive_batch(on_batch, starting_position="@latest"))

    def balanced(endpoint: EventHubsEndpoint) -> EventHubConsumerClient:
        return consumer(endpoint, checkpoint_store=store, load_balancing_interval=0.2)

    with EventHubsEndpoint(tmp_path, [HubSpec(HUB, 4, ("usage-collector",))]) as endpoint:
        async with producer(endpoint) as sender, balanced(endpoint) as one, balanced(endpoint) as two:
            await send(sender, "old")
            tasks = [receive(one, "one"), receive(two, "two")]
            async with asyncio.timeout(20):
                while not (partitions["one"] and partitions["two"] and len(partitions["one"] | partitions["two"]) == 4):
                    await send(sender, "new")
                    await asyncio.sleep(0.2)
            await send(sender, "final")
            # Everything arrives; events may arrive twice when a partition changes hands.
            await until(lambda: len({body for body in got["one"] + got["two"] if body.startswith("final")}) == 20)
            await stop(*tasks)
        assert not any(body.startswith("old") for body in got["one"] + got["two"])
        assert set(store.checkpoints) == set("0123")
