"""host.json, local.settings.json and the environment are read as `func start` reads them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.functions_host.eventhub_options import EventHubOptions, find_connection, parse_options
from local.functions_host.settings import ConfigurationError, load_settings, parse_time_span


def test_local_settings_fill_the_environment_which_wins(tmp_path: Path) -> None:
    values = {"A": "file", "B": "file", "C": True}
    (tmp_path / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    environ = {"A": "environment"}
    load_settings(tmp_path, environ)
    assert environ == {"A": "environment", "B": "file", "C": "true"}


def test_both_files_may_be_absent(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}).extension("eventHubs") == {}


def test_an_app_setting_overrides_host_json(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"extensions": {"eventHubs": {"prefetchCount": 7, "maxEventBatchSize": 8}}}')
    prefix = "AzureFunctionsJobHost__extensions__"
    overrides = {f"{prefix}eventHubs__prefetchCount": "9", f"{prefix}http__routePrefix": "x", "Azure__a": "b"}
    settings = load_settings(tmp_path, overrides)
    assert parse_options(settings.extension("eventHubs")) == EventHubOptions(prefetch=9, max_batch_size=8)
    assert settings.extension("http") == {"routePrefix": "x"}


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "host.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"host\.json"):
        load_settings(tmp_path, {})


def test_references_are_resolved_and_a_missing_one_is_told_in_full(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"HUB": "usage", "EMPTY": ""})
    assert settings.resolve("%HUB%-%HUB%", function="f", attribute="a") == "usage-usage"
    for name in ("GONE", "EMPTY"):
        with pytest.raises(ConfigurationError, match=f"'collect'.*event_hub_name.*'{name}'"):
            settings.resolve(f"%{name}%", function="collect", attribute="event_hub_name")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:30", 30), ("01:30", 5400), ("00:00:00.80", 0.8), ("1.00:00:01", 86401), ("0:5:0", 300)],
)
def test_time_spans(text: str, seconds: float) -> None:
    assert parse_time_span(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "a:b", "00:00:00:00"])
def test_not_a_time_span(text: str) -> None:
    with pytest.raises(ValueError, match="time span"):
        parse_time_span(text)


def test_event_hub_options() -> None:
    assert parse_options({}) == EventHubOptions()
    options = parse_options(
        {
            "maxEventBatchSize": 1000,
            "minEventBatchSize": 10,
            "maxWaitTime": "00:00:05",
            "prefetchCount": 2000,
            "batchCheckpointFrequency": 3,
            "initialOffsetOptions": {"type": "fromEnqueuedTime", "enqueuedTimeUtc": "2026-01-02T03:04:05Z"},
            "partitionOwnershipExpirationInterval": "00:02:00",
            "loadBalancingUpdateInterval": "00:00:30",
            "transportType": "amqpTcp",
        }
    )
    assert options == EventHubOptions(1000, 10, 5.0, 2000, 3, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 30.0, 120.0)
    assert parse_options({"initialOffsetOptions": {"type": "fromEnd"}}).initial_position == "@latest"


@pytest.mark.parametrize(
    "section",
    [
        {"minEventBatchSize": 101},
        {"maxEventBatchSize": "many"},
        {"batchCheckpointFrequency": 0},
        {"maxWaitTime": "soon"},
        {"initialOffsetOptions": {"type": "fromHere"}},
        {"initialOffsetOptions": {"type": "fromEnqueuedTime"}},
    ],
)
def test_unusable_event_hub_options(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="eventHubs"):
        parse_options(section)


def test_connections(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"A": "Endpoint=...", "B__fullyQualifiedNamespace": "ns.servicebus.windows.net"})
    with pytest.raises(ConfigurationError, match=r"'f'.*'C__fullyQualifiedNamespace'"):
        find_connection(settings, "C", "f")
    with pytest.raises(ConfigurationError, match=r"'f'.*'AzureWebJobsStorage'"):
        find_connection(settings, "A", "f")
    settings.environ["AzureWebJobsStorage"] = "UseDevelopmentStorage=true"
    assert find_connection(settings, "A", "f").connection_string == "Endpoint=..."
    assert find_connection(settings, "B", "f").namespace == "ns.servicebus.windows.net"
    assert "127.0.0.1:10000/devstoreaccount1" in find_connection(settings, "B", "f").storage
