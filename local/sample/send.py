"""Puts sample events on an event hub with the Azure SDK, as a gateway's logger would."""

from collections.abc import Iterable, Iterator

from azure.eventhub import EventData, EventDataBatch, EventHubProducerClient

from local.sample.traffic import SampleEvent

_EVENTS_PER_BATCH = 100


def send_events(connection_string: str, hub: str, events: Iterable[SampleEvent]) -> Iterator[int]:
    """Sends all events and yields, after each batch, how many it held. One app's events keep their order."""
    with EventHubProducerClient.from_connection_string(connection_string, eventhub_name=hub) as producer:
        open_batches: dict[str, EventDataBatch] = {}

        def flush(app: str) -> int:
            batch = open_batches.pop(app)
            producer.send_batch(batch)
            return len(batch)

        for app, body in events:
            batch = open_batches.get(app) or _begin(producer, open_batches, app)
            try:
                batch.add(EventData(body))
            except ValueError:  # it is full
                yield flush(app)
                batch = _begin(producer, open_batches, app)
                batch.add(EventData(body))
            if len(batch) >= _EVENTS_PER_BATCH:
                yield flush(app)
        for app in list(open_batches):
            yield flush(app)


def _begin(producer: EventHubProducerClient, open_batches: dict[str, EventDataBatch], app: str) -> EventDataBatch:
    open_batches[app] = batch = producer.create_batch(partition_key=app)
    return batch
