"""One error lists every fault, and settings, sample and docs are the same set."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from models.errors import SettingsError
from settings import DEFAULT_DIMENSIONS, HOST_SETTINGS, Settings

ROOT = Path(__file__).resolve().parents[1]
GOOD = {"UsageStorage": "UseDevelopmentStorage=true", "USAGE_EVENTS_HUB": "usage-events"}


def test_two_settings_are_enough() -> None:
    settings = Settings.from_environment(GOOD)
    assert settings.dimensions == tuple(DEFAULT_DIMENSIONS.split(","))
    assert settings.call_retention_days == 90


def test_an_identity_takes_the_place_of_a_connection_string() -> None:
    environment = {"UsageStorage__tableServiceUri": "https://acc.table.core.windows.net", "USAGE_EVENTS_HUB": "h"}
    settings = Settings.from_environment(environment | {"AZURE_CLIENT_ID": "id"})
    assert (settings.tables_connection_string, settings.tables_client_id) == (None, "id")


def test_one_error_lists_all_faults_names_each_setting_and_what_it_should_look_like() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(
            {"CALL_RETENTION_DAYS": "soon", "AGGREGATE_DIMENSIONS": "deployment,colour", "COMMIT_CONCURRENCY": "0"}
        )
    faults = str(caught.value)
    for name in (
        "UsageStorage__tableServiceUri",
        "USAGE_EVENTS_HUB",
        "CALL_RETENTION_DAYS",
        "AGGREGATE_DIMENSIONS",
        "COMMIT_CONCURRENCY",
    ):
        assert any(re.search(rf"\b{name}\b.*expected", fault) for fault in caught.value.faults), name
    assert "'soon'" in faults
    assert "'colour'" in faults


def test_a_wrong_connection_string_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(GOOD | {"UsageStorage": "AccountKey=c2VjcmV0"})
    assert "c2VjcmV0" not in str(caught.value)


def test_both_kinds_of_storage_are_one_too_many() -> None:
    with pytest.raises(SettingsError, match="both set"):
        Settings.from_environment(GOOD | {"UsageStorage__tableServiceUri": "https://acc.table.core.windows.net"})


@pytest.mark.parametrize(
    "value",
    [
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0=",
        "SharedAccessSignature=SharedAccessSignature sr=sb%3a%2f%2fns&sig=c2VjcmV0%3d&se=1&skn=k;Endpoint=sb://ns/;EntityPath=h",
        "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=local;SharedAccessKey=local;UseDevelopmentEmulator=true;",
    ],
)
def test_a_hub_has_a_connection_string(value: str) -> None:
    settings = Settings.from_environment(GOOD | {"EventHubConnection": value})
    assert (settings.hub_connection_string, settings.hub_namespace) == (value, None)


@pytest.mark.parametrize(
    "value",
    [
        "c2VjcmV0",
        "Endpoint=sb://ns/;SharedAccessKey=c2VjcmV0",
        "Endpoint=sb://ns/;SharedAccessKeyName=c2VjcmV0;SharedAccessKey=",
        "Endpoint=https://ns/;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0",
        "Endpoint=sb://;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0",
    ],
)
def test_a_wrong_connection_string_of_a_hub_is_not_repeated(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^.*\n.*EventHubConnection is not .*expected Endpoint=sb://") as caught:
        Settings.from_environment(GOOD | {"EventHubConnection": value})
    assert "c2VjcmV0" not in str(caught.value)


def test_a_hub_has_an_identity_instead() -> None:
    identity = {"EventHubConnection__fullyQualifiedNamespace": "ns.servicebus.windows.net"}
    settings = Settings.from_environment(
        GOOD | identity | {"EventHubConnection__clientId": "own", "AZURE_CLIENT_ID": "id"}
    )
    assert settings.hub_connection_string is None
    assert (settings.hub_namespace, settings.hub_client_id) == ("ns.servicebus.windows.net", "own")
    assert Settings.from_environment(GOOD | identity | {"AZURE_CLIENT_ID": "id"}).hub_client_id == "id"
    with pytest.raises(SettingsError, match=r"EventHubConnection__fullyQualifiedNamespace is 'sb://ns/': expected"):
        Settings.from_environment(GOOD | {"EventHubConnection__fullyQualifiedNamespace": "sb://ns/"})


def test_without_a_hub_to_send_to_the_settings_are_whole() -> None:
    settings = Settings.from_environment(GOOD)
    assert (settings.hub_connection_string, settings.hub_namespace) == (None, None)


@pytest.mark.parametrize("endpoint", ["http://acc.table.core.windows.net", "acc", "https://a b"])
def test_an_endpoint_is_https(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="UsageStorage__tableServiceUri"):
        Settings.from_environment({"UsageStorage__tableServiceUri": endpoint, "USAGE_EVENTS_HUB": "h"})


@pytest.mark.parametrize(("value", "on"), [("1", True), ("0", False), ("", False)])
def test_estimates_are_on_only_where_they_are_switched_on(value: str, on: bool) -> None:
    assert Settings.from_environment(GOOD | {"ESTIMATE_USAGE": value}).estimate_usage is on
    assert Settings.from_environment(GOOD).estimate_usage is False
    with pytest.raises(SettingsError, match="ESTIMATE_USAGE is 'yes': expected 0 or 1"):
        Settings.from_environment(GOOD | {"ESTIMATE_USAGE": "yes"})


def test_what_is_kept_of_dead_letters_is_one_of_three() -> None:
    assert Settings.from_environment(GOOD).dead_letter_payloads == "redacted"
    assert Settings.from_environment(GOOD | {"DEAD_LETTER_PAYLOADS": "full"}).dead_letter_payloads == "full"
    with pytest.raises(SettingsError, match="DEAD_LETTER_PAYLOADS is 'all': expected one of none, redacted, full"):
        Settings.from_environment(GOOD | {"DEAD_LETTER_PAYLOADS": "all"})


def test_estimates_without_their_package_are_a_fault_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every call without usage would become a dead letter."""
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    assert Settings.from_environment(GOOD | {"ESTIMATE_USAGE": "0"}).estimate_usage is False
    with pytest.raises(SettingsError, match="ESTIMATE_USAGE is 1: expected bpe-openai"):
        Settings.from_environment(GOOD | {"ESTIMATE_USAGE": "1"})


def _read_by_settings() -> set[str]:
    """Every string in settings.py and its reader that is read as a setting."""
    texts = [(ROOT / name).read_text() for name in ("settings.py", "settings_reader.py")]
    calls = [node for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    readers = [call for call in calls if isinstance(call.func, ast.Attribute) and call.args]
    return {
        str(call.args[0].value)
        for call in readers
        if isinstance(call.args[0], ast.Constant)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr
        in {"text", "required", "number", "names", "dimensions", "matching", "one_of", "app_partitions", "switch"}
        | {"webhook", "webhook_keys"}
    } | {*HOST_SETTINGS}


def test_the_sample_and_the_docs_name_exactly_the_settings() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    docs = (ROOT / "docs/configuration.md").read_text().split("## host.json")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", docs, re.MULTILINE))
    assert set(sample) == _read_by_settings() - {"AZURE_CLIENT_ID"}
    assert documented == _read_by_settings()


def test_the_sample_holds_the_defaults() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    assert Settings.from_environment(sample) == Settings.from_environment(
        {name: sample[name] for name in ("UsageStorage", "USAGE_EVENTS_HUB", "GATEWAY_LOGS_HUB", "EventHubConnection")}
    )


def test_every_setting_that_a_binding_names_is_in_the_sample() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    assert set(re.findall(r"%(\w+)%", (ROOT / "function_app.py").read_text())) <= set(sample)


def test_app_partitions_are_numbers_by_app() -> None:
    needed = {"UsageStorage": "UseDevelopmentStorage=true", "USAGE_EVENTS_HUB": "usage-events"}
    found = Settings.from_environment(needed | {"APP_PARTITIONS": "chat=8, a=b=2"})
    assert found.app_partitions == {"chat": 8, "a=b": 2}
    for wrong in ("chat", "chat=0", "chat=65", "=3", "chat=x"):
        with pytest.raises(SettingsError, match="APP_PARTITIONS has"):
            Settings.from_environment(needed | {"APP_PARTITIONS": wrong})
