"""GET /api/health: anyone may ask, so it names the part that is at fault and tells no value."""

import logging

import pytest

from tests.api.asked import ask
from tests.api.conftest import Configure

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
