"""Puts sample events on their event hubs with the Azure SDK, as a gateway's logger and Azure Monitor would."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from azure.eventhub import EventData, EventDataBatch, EventHubProducerClient

from local.sample.traffic import SampleEvent

_EVENTS_PER_BATCH = 100


def send_events(connection_string: str, events: Iterable[SampleEvent]) -> Iterator[int]:
    """Sends all events and yields, after each batch, how many it held. The events of one key keep their order."""
    with ExitStack() as stack:
        producers: dict[str, EventHubProducerClient] = {}
        open_batches: dict[tuple[str, str], EventDataBatch] = {}

        def begin(hub: str, key: str) -> EventDataBatch:
            if hub not in producers:
                producers[hub] = stack.enter_context(
                    EventHubProducerClient.from_connection_string(connection_string, eventhub_name=hub)
                )
            open_batches[hub, key] = batch = producers[hub].create_batch(partition_key=key)
            return batch

        def flush(hub: str, key: str) -> int:
            batch = open_batches.pop((hub, key))
            producers[hub].send_batch(batch)
            return len(batch)

        for hub, key, body in events:
            batch = open_batches.get((hub, key)) or begin(hub, key)
            try:
                batch.add(EventData(body))
            except ValueError:  # it is full
                yield flush(hub, key)
                batch = begin(hub, key)
                batch.add(EventData(body))
            if len(batch) >= _EVENTS_PER_BATCH:
                yield flush(hub, key)
        for hub, key in list(open_batches):
            yield flush(hub, key)
