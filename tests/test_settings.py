"""One error lists every fault, and settings, sample and docs are the same set."""

import ast
import json
import re
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


@pytest.mark.parametrize("endpoint", ["http://acc.table.core.windows.net", "acc", "https://a b"])
def test_an_endpoint_is_https(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="UsageStorage__tableServiceUri"):
        Settings.from_environment({"UsageStorage__tableServiceUri": endpoint, "USAGE_EVENTS_HUB": "h"})


def _read_by_settings() -> set[str]:
    """Every string in settings.py that is read as a setting."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "settings.py").read_text())) if isinstance(node, ast.Call)]
    readers = [call for call in calls if isinstance(call.func, ast.Attribute) and call.args]
    return {
        str(call.args[0].value)
        for call in readers
        if isinstance(call.args[0], ast.Constant)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("text", "required", "number", "dimensions", "matching")
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
        {name: sample[name] for name in ("UsageStorage", "USAGE_EVENTS_HUB")}
    )


def test_every_setting_that_a_binding_names_is_in_the_sample() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    assert set(re.findall(r"%(\w+)%", (ROOT / "function_app.py").read_text())) <= set(sample)
