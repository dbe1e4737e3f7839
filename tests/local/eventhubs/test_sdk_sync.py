"""The unmodified sync SDK against a running endpoint."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import (
    EventData,
    EventHubConsumerClient,
    EventHubProducerClient,
    TransportType,
)
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventDataSendError

from local.eventhubs import EventHubsEndpoint, HubSpec

HUB = "usage-events"


def producer(endpoint: EventHubsEndpoint, **options: Any) -> EventHubProducerClient:
    options = {"eventhub_name": HUB, "transport_type": TransportType.Amqp, **options}
    return EventHubProducerClient.from_connection_string(endpoint.connection_string(), **options)


def test_connection_string() -> None:
    endpoint = EventHubsEndpoint("unused", [], 5672)
    text = "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=local;SharedAccessKey=local;UseDevelopmentEmulator=true"
    assert endpoint.connection_string() == text
    assert endpoint.connection_string("hub") == text + ";EntityPath=hub"


def test_send_and_receive(endpoint: EventHubsEndpoint, read_sync: Callable[..., list[EventData]]) -> None:
    with producer(endpoint) as client:
        single = EventData(b"\xff\x00body")
        single.properties = {"text": "ä", "number": 5, "flag": True}
        single.message_id = "m-1"
        single.content_type = "application/json"
        client.send_event(single, partition_id="0")
        batch = client.create_batch(partition_key="subscription-1")
        for number in range(3):
            batch.add(EventData(f"batch {number}"))
        client.send_batch(batch)
        client.send_batch([EventData("list 1"), EventData("list 2")], partition_id="1")
        client.send_event(EventData(""), partition_id="1")
        for _ in range(4):
            client.send_event(EventData("anywhere"))
        assert batch.max_size_in_bytes == 1024 * 1024
        large = bytes(range(256)) * 4000  # just under that: takes many frames in both directions
        client.send_event(EventData(b"\xff" + large), partition_id="0")
        with pytest.raises(EventDataSendError, match="exceeds the limit"):
            client.send_event(EventData(b"x" * (1024 * 1024 + 1)), partition_id="0")
    events = read_sync(endpoint.connection_string(), 12)
    assert sum(b"".join(event.body) == b"\xff" + large for event in events) == 1  # type: ignore[arg-type]
    bodies = sorted(event.body_as_str() for event in events if event.body_as_str("latin-1")[0:1] != "\xff")
    assert bodies == ["", *["anywhere"] * 4, "batch 0", "batch 1", "batch 2", "list 1", "list 2"]
    first = next(event for event in events if next(iter(event.body)) == b"\xff\x00body")  # type: ignore[arg-type]
    assert first.properties == {b"text": "ä".encode(), b"number": 5, b"flag": True}
    assert (first.message_id, first.content_type) == ("m-1", "application/json")
    assert first.sequence_number == 0
    assert first.offset == "0"
    assert first.enqueued_time is not None
    assert first.partition_key is None
    keyed = [event for event in events if event.partition_key == b"subscription-1"]
    assert [event.body_as_str() for event in keyed] == ["batch 0", "batch 1", "batch 2"]
    assert sum(endpoint.event_counts(HUB)) == 12


def test_properties(endpoint: EventHubsEndpoint) -> None:
    with producer(endpoint) as client:
        hub = client.get_eventhub_properties()
        assert (hub["eventhub_name"], hub["partition_ids"]) == (HUB, ["0", "1"])
        empty = client.get_partition_properties("1")
        assert (empty["is_empty"], empty["last_enqueued_sequence_number"], empty["last_enqueued_offset"]) == (
            True,
            -1,
            "-1",
        )
        client.send_batch([EventData("a"), EventData("b")], partition_id="1")
        filled = client.get_partition_properties("1")
        assert (filled["is_empty"], filled["beginning_sequence_number"]) == (False, 0)
        assert filled["last_enqueued_sequence_number"] == 1
        assert int(filled["last_enqueued_offset"]) > 0
        assert filled["last_enqueued_time_utc"] >= hub["created_at"]


def test_buffered_producer(endpoint: EventHubsEndpoint) -> None:
    sent: list[Any] = []
    failed: list[Any] = []
    with producer(
        endpoint,
        buffered_mode=True,
        max_wait_time=0.2,
        on_success=lambda events, partition: sent.extend(events),
        on_error=lambda events, partition, error: failed.append(error),
    ) as client:
        for number in range(50):
            client.send_event(EventData(f"{number}"), partition_key=f"key-{number}")
        client.flush()
    assert (len(sent), failed) == (50, [])
    assert sum(endpoint.event_counts(HUB)) == 50


def test_unknown_names(endpoint: EventHubsEndpoint) -> None:
    client = producer(endpoint, eventhub_name="nowhere", retry_total=0)
    with client, pytest.raises(ConnectError, match="Status code: 404"):
        client.get_eventhub_properties()
    errors: list[Exception] = []
    seen = threading.Event()

    def on_error(context: Any, error: Exception) -> None:
        errors.append(error)
        seen.set()

    consumer = EventHubConsumerClient.from_connection_string(
        endpoint.connection_string(), consumer_group="strangers", eventhub_name=HUB, retry_total=0
    )
    receiving = threading.Thread(
        target=consumer.receive, args=(lambda *_: None,), kwargs={"on_error": on_error, "partition_id": "0"}
    )
    receiving.start()
    assert seen.wait(10)
    consumer.close()
    receiving.join()
    assert "'strangers'" in str(errors[0])
    assert "amqp:not-found" in str(errors[0])


def test_keys_are_checked_when_given(tmp_path: Path) -> None:
    with EventHubsEndpoint(tmp_path, [HubSpec(HUB, 1)], keys={"sender": "s3cret"}) as endpoint:
        good = endpoint.connection_string(HUB, key_name="sender", key="s3cret")
        with EventHubProducerClient.from_connection_string(good) as client:
            client.send_event(EventData("in"))
        bad = endpoint.connection_string(HUB, key_name="sender", key="guess")
        client = EventHubProducerClient.from_connection_string(bad, retry_total=0)
        with client, pytest.raises(AuthenticationError):
            client.send_event(EventData("out"))
        assert endpoint.event_counts(HUB) == [1]
