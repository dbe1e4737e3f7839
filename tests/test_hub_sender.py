"""hub_sender: as few batches as the hub's limit allows, and each event's own outcome."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub_sender import HubSender
from local.eventhubs import EventHubsEndpoint
from tests.support.hub import WatchedHub, watched

HUB = "gateway-logs"
KIB = 1024


@pytest.fixture(scope="module")
async def watched_hub(event_hubs: EventHubsEndpoint) -> AsyncIterator[WatchedHub]:
    async with watched(event_hubs, HUB) as hub:
        yield hub


@pytest.fixture
async def hub(watched_hub: WatchedHub) -> WatchedHub:
    await watched_hub.start()
    return watched_hub


@pytest.fixture
async def sender(hub: WatchedHub) -> AsyncIterator[HubSender]:
    sender = HubSender.from_connection_string(hub.endpoint.connection_string(), HUB)
    yield sender
    await sender.close()


def batches_of(sender: HubSender) -> list[int]:
    """The number of events of each batch that is sent from now on."""
    sizes: list[int] = []
    send = sender._client.send_batch

    async def count_and_send(batch: Any, **options: Any) -> None:
        sizes.append(len(batch))
        await send(batch, **options)

    sender._client.send_batch = count_and_send  # type: ignore[assignment]
    return sizes


async def test_events_of_a_key_share_batches_and_keep_their_order(sender: HubSender, hub: WatchedHub) -> None:
    sizes = batches_of(sender)
    events = [(f"{number}".encode(), ("a", "b", None)[number % 3]) for number in range(60)]
    assert await sender.send(events) == ["sent"] * 60
    assert sizes == [20, 20, 20]
    held = await hub.held()
    for key in ("a", "b", None):
        assert [int(each.event.body) for each in held if each.key == key] == [
            number for number, (_, its) in enumerate(events) if its == key
        ]


async def test_a_batch_ends_where_the_hub_takes_no_more(sender: HubSender, hub: WatchedHub) -> None:
    sizes = batches_of(sender)
    large = [(bytes([number]) * 300 * KIB, "a") for number in range(7)]
    assert await sender.send(large) == ["sent"] * 7
    assert sizes == [3, 3, 1]
    assert [each.event.body for each in await hub.held()] == [body for body, _ in large]


async def test_an_event_that_is_too_large_does_not_keep_the_others_back(sender: HubSender, hub: WatchedHub) -> None:
    huge, small = (b"x" * 1024 * KIB, "a"), (b"small", "a")
    assert await sender.send([huge, small, huge, huge, small, huge]) == [
        *("too_large", "sent"),
        *("too_large", "too_large"),
        *("sent", "too_large"),
    ]
    assert [each.event.body for each in await hub.held()] == [b"small"] * 2
    assert await sender.send([]) == []
