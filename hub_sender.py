"""Events -> a hub. The only place that sends."""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

log = logging.getLogger("usage_collector.hub_sender")

SEND_SECONDS = 20.0
"""For all events of one `send`: less than callers, and gateways between, commonly wait for an answer."""

_RETRIES: dict[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.5}
"""The SDK's own: with a hub that cannot be reached they are over after some 4 s, within SEND_SECONDS."""

MAX_KEY_LENGTH = 128
"""Of a partition key, in characters. policies/fragments/usage-send.xml cuts there too, so both choose one partition."""

Event = tuple[bytes, str | None]
"""A body and a key. Events of one key go to one partition; where it is None the hub chooses."""

Properties = Mapping[str, str]

Outcome = Literal["sent", "too_large", "not_sent"]


class HubSender:
    """Sends to one hub over one connection, which is opened when first needed and again when it broke.

    It belongs to one event loop, where any number may send at once; they take turns at the SDK's link.
    """

    def __init__(
        self,
        client: EventHubProducerClient,
        credential: AsyncTokenCredential | None = None,
        seconds: float = SEND_SECONDS,
    ):
        self._client = client
        self._hub = client.eventhub_name
        self._credential = credential
        self._seconds = seconds

    @classmethod
    def from_connection_string(cls, connection_string: str, hub: str, seconds: float = SEND_SECONDS) -> Self:
        """Opens nothing yet."""
        client = EventHubProducerClient.from_connection_string(connection_string, eventhub_name=hub, **_RETRIES)
        return cls(client, seconds=seconds)

    @classmethod
    def with_identity(cls, namespace: str, hub: str, credential: AsyncTokenCredential) -> Self:
        """`namespace` is its host name. The identity needs the role Azure Event Hubs Data Sender. Opens nothing yet."""
        return cls(EventHubProducerClient(namespace, hub, credential, **_RETRIES), credential)

    async def close(self) -> None:
        """Close the connection, and the credential with which it was opened."""
        await self._client.close()
        if self._credential is not None:
            await self._credential.close()

    async def send(self, events: Sequence[Event], properties: Sequence[Properties] = ()) -> list[Outcome]:
        """What became of each event; `sent` only if the hub has confirmed it. A fault is logged, not raised.

        `properties` are the application properties of each, if any has some. `not_sent` can have arrived all the same,
        if the answer was lost or comes too late.
        """
        outcomes: list[Outcome] = ["not_sent"] * len(events)
        places: dict[str | None, list[int]] = defaultdict(list)
        for place, (_, key) in enumerate(events):
            places[key and key[:MAX_KEY_LENGTH]].append(place)
        try:
            async with asyncio.timeout(self._seconds):
                for key, its_places in places.items():
                    await self._send_to(key, its_places, events, properties or [{}] * len(events), outcomes)
        except TimeoutError:
            log.error("hub %s did not confirm all of %d events in %g s", self._hub, len(events), self._seconds)
        except (EventHubError, AzureError) as error:
            log.error("hub %s takes no events: %s: %s", self._hub, type(error).__name__, " ".join(str(error).split()))
        return outcomes

    async def _send_to(
        self,
        key: str | None,
        places: Iterable[int],
        events: Sequence[Event],
        properties: Sequence[Properties],
        outcomes: list[Outcome],
    ) -> None:
        """The events at `places`, in as few batches as the hub's limit of size allows."""
        left = deque(places)
        while left:
            batch = await self._client.create_batch(partition_key=key)
            held = []
            while left and _fits(batch, events[left[0]][0], properties[left[0]]):
                held.append(left.popleft())
            if not held:
                outcomes[left.popleft()] = "too_large"
                continue
            await self._client.send_batch(batch)
            for place in held:
                outcomes[place] = "sent"


def _fits(batch: EventDataBatch, body: bytes, properties: Properties) -> bool:
    """Adds the event unless the batch would be larger than the hub takes."""
    event = EventData(body)
    event.properties = dict(properties.items())
    try:
        batch.add(event)
    except ValueError:
        return False
    return True
