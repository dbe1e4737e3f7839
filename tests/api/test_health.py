"""GET /api/health: anyone may ask, so it names the part that is at fault and tells no value."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

from ledger.retry import upsert_all
from ledger.schema import VERSION
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint
from pipeline import ingest
from tests.api.asked import ask
from tests.api.conftest import Configure
from tests.support.events import raw_event, usage_event

SECRET = "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA=="


async def test_a_configured_app_is_healthy(configure: Configure) -> None:
    await configure()
    reply = await ask("health")
    assert (reply.status, reply.json) == (200, {"status": "healthy", "parts": {"settings": "ok"}})


async def test_a_function_key_or_a_probes_parameter_is_no_mistake(configure: Configure) -> None:
    await configure()
    assert (await ask("health", "code=x&probe=1")).status == 200


async def test_missing_settings_are_a_503_that_names_the_part_and_the_log_names_the_settings(
    no_settings: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "usage_collector.api"):
        reply = await ask("health")
    assert reply.status == 503
    assert reply.json["status"] == "unhealthy"
    assert list(reply.json["parts"]) == ["settings"]
    assert "USAGE_EVENTS_HUB" in caplog.text
    assert "UsageStorage" in caplog.text


async def test_wrong_settings_are_a_503_without_their_values(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("USAGE_EVENTS_HUB", "hub-of-mine")
    no_settings.setenv("UsageStorage", f"AccountKey={SECRET}")
    no_settings.setenv("QUERY_MAX_ROWS", "many")
    reply = await ask("health")
    assert reply.status == 503
    assert not any(value in reply.text for value in (SECRET, "hub-of-mine", "many"))


@pytest.mark.parametrize(
    "connection_string",
    [
        "AccountName=usage",
        f"AccountName=;AccountKey={SECRET}",
        "AccountName=usage;AccountKey=not-base-64",
        "AccountName=usage;AccountKey",
    ],
)
async def test_a_connection_string_that_cannot_work_is_a_fault_of_the_settings(
    no_settings: pytest.MonkeyPatch, connection_string: str
) -> None:
    """Not an internal error, and not a healthy app whose every query fails."""
    no_settings.setenv("USAGE_EVENTS_HUB", "usage-events")
    no_settings.setenv("UsageStorage", connection_string)
    reply = await ask("health")
    assert reply.status == 503
    assert list(reply.json["parts"]) == ["settings"]


async def test_mended_settings_are_seen_without_a_restart_of_the_worker(
    no_settings: pytest.MonkeyPatch, configure: Configure
) -> None:
    assert (await ask("health")).status == 503
    await configure()
    assert (await ask("health")).status == 200


OK = {"settings": "ok", "tables": "ok", "usage_events_hub": "ok", "gateway_logs_hub": "ok"}


async def test_deep_tells_of_hubs_and_tables_how_far_counting_is_and_what_waits(
    configure: Configure, event_hubs: EventHubsEndpoint
) -> None:
    """For anyone: so hubs by what they are for, and no sequence number."""
    found = await configure(EventHubConnection=event_hubs.connection_string(), GATEWAY_LOGS_HUB="gateway-logs")
    client = EventHubProducerClient.from_connection_string(event_hubs.connection_string(), eventhub_name="gateway-logs")
    async with client:
        await client.send_batch([EventData(b"{}")], partition_id="2")
    now = datetime.now(UTC)
    waits = usage_event(timestamp=now.isoformat(), usage=None, usage_source="gateway_log")
    await ingest([raw_event(waits)], found, now=lambda: now - timedelta(minutes=3))

    reply = await ask("health", "deep=1")
    assert (reply.status, reply.json["status"], reply.json["parts"]) == (200, "healthy", OK)
    lags = {(lag["hub"], lag["partition"]): lag["events"] for lag in reply.json["lag"]}
    assert {hub for hub, _ in lags} == {"usage_events", "gateway_logs"}
    assert len(lags) == 8
    assert lags["gateway_logs", "2"] == event_hubs.event_counts("gateway-logs")[2]
    assert set(reply.json["lag"][0]) == {"hub", "partition", "events", "seconds"}
    assert 180 <= reply.json["oldest_pending_seconds"] < 240


async def test_deep_names_a_hub_that_does_not_answer(
    configure: Configure, event_hubs: EventHubsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    await configure(EventHubConnection=event_hubs.connection_string(), GATEWAY_LOGS_HUB="hub-of-mine")
    reply = await ask("health", "deep=1")
    assert (reply.status, reply.json["status"]) == (503, "unhealthy")
    assert reply.json["parts"] == OK | {"gateway_logs_hub": "no answer; the log says why"}
    assert "hub-of-mine" not in reply.text
    assert "hub-of-mine" in caplog.text


async def test_deep_names_tables_that_do_not_answer_and_shallow_does_not_ask_them(
    configure: Configure, event_hubs: EventHubsEndpoint
) -> None:
    with Azurite() as own:
        found = await configure(UsageStorage=own.connection_string, EventHubConnection=event_hubs.connection_string())
        assert (await ask("health", "deep=1")).status == 200
        own.stop()
        assert (await ask("health")).status == 200
        assert (await ask("health", "deep=1")).status == 200  # what was found a moment ago
        await configure(UsageStorage=own.connection_string, EventHubConnection=event_hubs.connection_string())
        reply = await ask("health", "deep=1")
        await found.close()
    assert reply.status == 503
    assert reply.json["parts"] == {
        "settings": "ok",
        "tables": "no answer; the log says why",
        "usage_events_hub": "ok",
    }
    assert (reply.json["lag"], reply.json["oldest_pending_seconds"]) == ([], None)


async def test_however_many_ask_the_hub_is_asked_once(configure: Configure, event_hubs: EventHubsEndpoint) -> None:
    """Anyone may ask, and each question would open a connection for each partition."""
    await configure(EventHubConnection=event_hubs.connection_string())
    replies = await asyncio.gather(*(ask("health", "deep=1") for _ in range(50)))
    assert len({reply.text for reply in replies}) == 1
    assert replies[0].status == 200


@pytest.mark.parametrize("query", ["deep=0", "deep=false", "other=1"])
async def test_it_is_not_deep_if_nobody_asks_for_it(configure: Configure, query: str) -> None:
    await configure()  # without a hub
    assert (await ask("health", query)).json == {"status": "healthy", "parts": {"settings": "ok"}}


@pytest.mark.parametrize("query", ["deep=", "deep", "deep=1&deep=1", "deep=yes", "deep=True", "deep=2"])
async def test_what_may_mean_deep_is_refused_and_never_healthy(configure: Configure, query: str) -> None:
    await configure()
    reply = await ask("health", query)
    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["parameter"]) == (
        400, "invalid_parameter", "deep",
    )  # fmt: skip


async def test_true_is_deep_too(configure: Configure) -> None:
    await configure()  # without a hub
    assert (await ask("health", "deep=true")).status == 503


async def test_tables_of_a_later_version_are_named_and_nothing_is_answered_from_them(
    configure: Configure, event_hubs: EventHubsEndpoint
) -> None:
    found = await configure(EventHubConnection=event_hubs.connection_string())
    assert (await ask("usage")).status == 200
    later = {"PartitionKey": "schema", "RowKey": "tables", "newest": VERSION + 1, "oldest": VERSION}
    await upsert_all(found.stores["directory"], [later])
    found.schema._fits_until = 0.0  # what was read is old
    reply = await ask("usage")
    assert (reply.status, reply.json["error"]["code"]) == (503, "unknown_schema_version")
    told = f"the tables have schema versions {VERSION} to {VERSION + 1}, this app knows 1 to {VERSION}: "
    assert reply.json["error"]["message"].startswith(told)
    assert (await ask("openapi")).status == 200
    health = await ask("health", "deep=1")
    assert (health.status, health.json["status"]) == (503, "unhealthy")
    assert health.json["parts"]["schema"].startswith(told)
    assert health.json["schema_versions"] == {"newest": VERSION + 1, "oldest": VERSION, "app": VERSION}
