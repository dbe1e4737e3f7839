"""The bindings as Azure Functions reads them, and what importing them must not need."""

import json
import subprocess
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from api.access import NEEDS

ROOT = Path(__file__).resolve().parents[1]


@cache
def _functions(
    gateway_logs_hub: str = "gateway-logs", *, sign_in: str = "", marker: str = ""
) -> dict[str, dict[str, Any]]:
    """By name. Asked once: get_functions takes a second call for functions of the same names."""
    spec = spec_from_file_location("function_app", ROOT / "function_app.py")
    assert spec is not None and spec.loader is not None
    function_app = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_LOGS_HUB", gateway_logs_hub)
        patch.setenv("AUTHENTICATION", sign_in)
        patch.setenv("WEBSITE_AUTH_ENABLED", marker)
        spec.loader.exec_module(function_app)
    return {
        str(function.get_function_name()): {"bindings": json.loads(str(function))["bindings"], "function": function}
        for function in function_app.app.get_functions()
    }


TRIGGERS = {"collect_usage_events": "%USAGE_EVENTS_HUB%", "collect_gateway_logs": "%GATEWAY_LOGS_HUB%"}
each_trigger = pytest.mark.parametrize("name", TRIGGERS)


def test_without_a_hub_of_gateway_logs_there_is_no_trigger_for_it() -> None:
    """A trigger whose hub is an empty name keeps the whole app from starting."""
    assert _functions().keys() - _functions("").keys() == {"collect_gateway_logs"}


@each_trigger
def test_a_trigger_takes_binary_batches_of_the_hub_that_the_settings_name(name: str) -> None:
    trigger = _functions()[name]["bindings"][0]
    assert trigger["type"] == "eventHubTrigger"
    assert str(trigger["cardinality"]).upper().endswith("MANY")
    assert str(trigger["dataType"]).upper().endswith("BINARY")
    assert trigger["eventHubName"] == TRIGGERS[name]
    assert trigger["consumerGroup"] == "%CONSUMER_GROUP%"
    assert trigger["connection"] == "EventHubConnection"


@each_trigger
def test_a_failed_batch_is_repeated_for_ever_with_growing_waits(name: str) -> None:
    function = _functions()[name]["function"]
    assert function.get_settings_dict("retry_policy") == {
        "setting_name": "retry_policy",
        "strategy": "exponential_backoff",
        "max_retry_count": "-1",
        "minimum_interval": "00:00:01",
        "maximum_interval": "00:01:00",
    }


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("watch_backlog", "30 * * * * *"),
        ("settle_pending", "0 * * * * *"),
        ("purge_calls", "0 */10 * * * *"),
        ("evaluate_budgets", "30 */5 * * * *"),
        ("deliver_alerts", "45 * * * * *"),
        ("find_anomalies", "0 10 * * * *"),
    ],
)
def test_each_timer_has_its_schedule(name: str, schedule: str) -> None:
    (timer,) = _functions()[name]["bindings"]
    assert (timer["type"], timer["schedule"]) == ("timerTrigger", schedule)


def test_the_routes_are_those_of_the_api() -> None:
    routes = {
        binding["route"]: (
            ",".join(str(method).rsplit(".", 1)[-1] for method in binding["methods"]),
            str(binding["authLevel"]).rsplit(".", 1)[-1],
        )
        for each in _functions().values()
        for binding in each["bindings"]
        if binding["type"] == "httpTrigger"
    }
    assert {route: methods for route, (methods, _) in routes.items()} == {
        **dict.fromkeys(
            (
                "usage",
                "calls",
                "calls/{request_id}",
                "apps",
                "models",
                "prices",
                "health",
                "metrics",
                "openapi.json",
                "docs",
            ),
            "GET",
        ),
        **dict.fromkeys(("alerts", "dead-letters", "openapi.json", "docs"), "GET"),
        **dict.fromkeys(("dashboard", "dashboard/{file}"), "GET"),
        "dead-letters/{id}": "GET,DELETE",
        **dict.fromkeys((f"v1/organization/usage/{kind}" for kind in ("completions", "embeddings")), "GET"),
        "v1/organization/costs": "GET",
        **dict.fromkeys(("apps/{app}", "models/{deployment}"), "GET,PUT"),
        "prices/{id}": "GET,PUT,DELETE",
        **dict.fromkeys(("budgets", "budgets/status"), "GET"),
        "budgets/{id}": "GET,PUT,DELETE",
        **dict.fromkeys(("events", "dead-letters/redrive", "alerts/test", "alerts/retry"), "POST"),
    }
    assert {route for route, (_, level) in routes.items() if level.lower() == "anonymous"} == ANONYMOUS


ANONYMOUS = {"health", "dashboard", "dashboard/{file}"}
"""What holds no data."""


def _levels(functions: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        name: str(binding["authLevel"]).rsplit(".", 1)[-1].lower()
        for name, each in functions.items()
        for binding in each["bindings"]
        if binding["type"] == "httpTrigger"
    }


@pytest.mark.parametrize(
    ("sign_in", "marker"), [("", ""), ("app_service", ""), ("app_service", "False"), ("", "True"), ("easy", "True")]
)
def test_a_function_asks_for_a_key_unless_callers_sign_in(sign_in: str, marker: str) -> None:
    levels = _levels(_functions(sign_in=sign_in, marker=marker))
    others = {name: level for name, level in levels.items() if level != "function"}
    assert others == dict.fromkeys(("health", "dashboard", "dashboard_file"), "anonymous")


def test_who_signs_in_needs_no_key_beside_the_token() -> None:
    """The host would ask for both (github.com/Azure/azure-functions-host, issue 11394)."""
    assert set(_levels(_functions(sign_in="app_service", marker="True")).values()) == {"anonymous"}


def test_every_method_of_a_route_has_a_rule_who_may() -> None:
    methods = {
        name: {str(method).rsplit(".", 1)[-1] for method in binding["methods"]}
        for name, each in _functions().items()
        for binding in each["bindings"]
        if binding["type"] == "httpTrigger"
    }
    assert methods == {endpoint: set(needs) for endpoint, needs in NEEDS.items()}


def test_it_imports_without_settings_and_without_the_api() -> None:
    """A fault in an optional part never takes the collection down: here the API cannot even be imported."""
    script = (
        "import sys; sys.modules['api'] = None; sys.modules['queries'] = None\n"
        "import socket; socket.socket.connect = None\n"
        "import function_app; print(len(function_app.app.get_functions()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={"PATH": "/usr/bin"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "35"), done.stderr


def _loaded(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after it, without the standard library's."""
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return {module for module in done.stdout.split() if module.split(".")[0] not in sys.stdlib_module_names}


def test_the_host_learns_the_functions_without_loading_what_they_need() -> None:
    more = _loaded("import function_app") - _loaded("import azure.functions")
    assert {module.split(".")[0] for module in more} == {"function_app", "settings", "settings_reader", "models"}


HEAVY = (
    *("genai_prices", "bpe_openai", "azure.eventhub", "azure.identity", "azure.monitor", "opentelemetry.sdk"),
    *("api", "queries", "prices.book", "prices.entry", "hub_sender", "hub_state", "hub_reader", "telemetry.export"),
)


def test_the_first_event_loads_only_what_counting_needs() -> None:
    loaded = _loaded("import function_app, collectors.hub, pipeline, services")
    assert {"ledger.commit", "collectors.collect", "azure.data.tables.aio"} <= loaded
    assert loaded & set(HEAVY) == set()


def test_host_json_gives_every_event_hubs_value() -> None:
    given = json.loads((ROOT / "host.json").read_text())["extensions"]["eventHubs"]
    assert {
        "maxEventBatchSize",
        "minEventBatchSize",
        "maxWaitTime",
        "batchCheckpointFrequency",
        "prefetchCount",
        "initialOffsetOptions",
        "targetUnprocessedEventThreshold",
    } <= set(given)
    docs = (ROOT / "docs/configuration.md").read_text()
    assert [name for name in given if f"`{name}`" not in docs and name != "transportType"] == []
