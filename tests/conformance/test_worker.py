"""The app in the hands of Microsoft's own worker library: what it finds in function_app.py, and what it hands over.

The library runs in a process of its own (worker.py), because it changes logging, sys.path and the environment.
"""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from azure.data.tables import TableServiceClient

from local.azurite import ACCOUNT, ACCOUNT_KEY, Azurite
from local.eventhubs import EventHubsEndpoint
from tests.conformance.host import (
    Event,
    Message,
    WorkerProcess,
    event_hub_invocation,
    failure,
    http_answer,
    http_invocation,
    succeeded,
    timer_invocation,
)
from tests.support.events import usage_event

NOW = datetime.now(UTC)
FIRST_SEQUENCE_NUMBER = 2**31 + 5  # longer than 32 bits
PARTITION = "3"

TIMERS = {"watch_backlog", "settle_pending", "purge_calls", "evaluate_budgets", "deliver_alerts", "find_anomalies"}
HTTP_FUNCTIONS = {
    "usage": ("GET", "usage", "FUNCTION"),
    "openai_completions": ("GET", "v1/organization/usage/completions", "FUNCTION"),
    "openai_embeddings": ("GET", "v1/organization/usage/embeddings", "FUNCTION"),
    "openai_costs": ("GET", "v1/organization/costs", "FUNCTION"),
    "calls": ("GET", "calls", "FUNCTION"),
    "call": ("GET", "calls/{request_id}", "FUNCTION"),
    "prices": ("GET", "prices", "FUNCTION"),
    "price": ("GET PUT DELETE", "prices/{id}", "FUNCTION"),
    "apps": ("GET", "apps", "FUNCTION"),
    "models": ("GET", "models", "FUNCTION"),
    "app_entry": ("GET PUT", "apps/{app}", "FUNCTION"),
    "model_entry": ("GET PUT", "models/{deployment}", "FUNCTION"),
    "events": ("POST", "events", "FUNCTION"),
    "dead_letters": ("GET", "dead-letters", "FUNCTION"),
    "dead_letter": ("GET DELETE", "dead-letters/{id}", "FUNCTION"),
    "redrive": ("POST", "dead-letters/redrive", "FUNCTION"),
    "budgets": ("GET", "budgets", "FUNCTION"),
    "budget": ("GET PUT DELETE", "budgets/{id}", "FUNCTION"),
    "budget_status": ("GET", "budgets/status", "FUNCTION"),
    "alerts": ("GET", "alerts", "FUNCTION"),
    "alert_test": ("POST", "alerts/test", "FUNCTION"),
    "alert_retry": ("POST", "alerts/retry", "FUNCTION"),
    "health": ("GET", "health", "ANONYMOUS"),
    "metrics": ("GET", "metrics", "FUNCTION"),
    "openapi": ("GET", "openapi.json", "FUNCTION"),
    "docs": ("GET", "docs", "FUNCTION"),
    "dashboard": ("GET", "dashboard", "ANONYMOUS"),
    "dashboard_file": ("GET", "dashboard/{file}", "ANONYMOUS"),
}


@pytest.fixture(scope="module")
def bare_worker() -> Iterator[WorkerProcess]:
    """A worker without any settings, that ends when the network is used."""
    with WorkerProcess(offline=True) as worker:
        response = worker.initialise()
        assert succeeded(response), response
        yield worker


@pytest.fixture(scope="module")
def functions_with_logs() -> dict[str, Message]:
    """The functions of an app that is told where the gateway's logs come."""
    with WorkerProcess({"GATEWAY_LOGS_HUB": "gateway-logs"}, offline=True) as worker:
        assert succeeded(worker.initialise())
        return worker.load_functions()


@pytest.fixture(scope="module")
def functions(bare_worker: WorkerProcess) -> dict[str, Message]:
    """The functions by name, as the worker tells them to the host."""
    return bare_worker.load_functions()


@pytest.fixture
def settings(azurite: Azurite) -> dict[str, str]:
    """Settings with tables of the test's own."""
    return {
        "USAGE_EVENTS_HUB": "usage-events",
        "UsageStorage": azurite.connection_string,
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
    }


def test_the_worker_finds_exactly_the_functions_of_the_app(functions: dict[str, Message]) -> None:
    assert set(functions) == {"collect_usage_events", *TIMERS, *HTTP_FUNCTIONS}


def test_with_a_hub_of_gateway_logs_there_is_a_function_more(
    functions: dict[str, Message], functions_with_logs: dict[str, Message]
) -> None:
    assert set(functions_with_logs) - set(functions) == {"collect_gateway_logs"}


TRIGGERS = {"collect_usage_events": "%USAGE_EVENTS_HUB%", "collect_gateway_logs": "%GATEWAY_LOGS_HUB%"}
each_trigger = pytest.mark.parametrize("name", TRIGGERS)


@each_trigger
def test_a_trigger_takes_binary_batches_from_the_hub_that_the_settings_name(
    functions_with_logs: dict[str, Message], name: str
) -> None:
    assert _bindings(functions_with_logs[name]) == [
        {
            "type": "eventHubTrigger",
            "direction": "IN",
            "name": "events",
            "eventHubName": TRIGGERS[name],
            "consumerGroup": "%CONSUMER_GROUP%",
            "connection": "EventHubConnection",
            "cardinality": "MANY",
            "dataType": "BINARY",
        }
    ]


@each_trigger
def test_a_failed_batch_is_repeated_for_ever(functions_with_logs: dict[str, Message], name: str) -> None:
    assert functions_with_logs[name]["retry_options"] == {
        "retry_strategy": "exponential_backoff",
        "max_retry_count": -1,
        "minimum_interval": "1s",
        "maximum_interval": "60s",
    }


def test_the_timer_settles_what_waits_every_minute(functions: dict[str, Message]) -> None:
    (timer,) = _bindings(functions["settle_pending"])
    assert (timer["type"], timer["name"], timer["schedule"]) == ("timerTrigger", "timer", "0 * * * * *")
    assert "retry_options" not in functions["settle_pending"]  # the next minute is its retry


@pytest.mark.parametrize("name", HTTP_FUNCTIONS)
def test_the_api_has_its_routes_and_keys(functions: dict[str, Message], name: str) -> None:
    methods, route, auth_level = HTTP_FUNCTIONS[name]
    trigger, response = _bindings(functions[name])
    assert trigger == {
        "type": "httpTrigger",
        "direction": "IN",
        "name": "req",
        "methods": methods.split(),
        "route": route,
        "authLevel": auth_level,
    }
    assert response == {"type": "http", "direction": "OUT", "name": "$return"}
    assert "retry_options" not in functions[name]


def test_without_settings_a_batch_fails_and_the_app_says_that_it_is_unhealthy(
    bare_worker: WorkerProcess, functions: dict[str, Message]
) -> None:
    batch = event_hub_invocation(functions["collect_usage_events"], _events(b"{}"))
    message = failure(bare_worker.ask("invocation_request", batch))
    assert "USAGE_EVENTS_HUB is not set" in message
    assert "UsageStorage__tableServiceUri is not set" in message

    health = bare_worker.ask("invocation_request", http_invocation(functions["health"], "health"))
    assert http_answer(health)[0] == 503


def test_a_batch_becomes_totals(settings: dict[str, str], azurite: Azurite) -> None:
    with WorkerProcess(settings) as worker:
        assert succeeded(worker.initialise())
        functions = worker.load_functions()
        assert http_answer(worker.ask("invocation_request", http_invocation(functions["health"], "health")))[0] == 200

        events = _events(
            _call("shop", 100, 20),
            b"",
            _call("shop", 7, 3),
            b"\xff\xfe no JSON, and no UTF-8",
            _call("desk", 50, 0),
        )
        batch = event_hub_invocation(functions["collect_usage_events"], events, PARTITION)
        assert succeeded(worker.ask("invocation_request", batch))
        again = event_hub_invocation(functions["collect_usage_events"], events, PARTITION, retry=1)
        assert succeeded(worker.ask("invocation_request", again))

        assert _totals(worker, functions["usage"]) == {"desk": (1, 50, 0), "shop": (2, 107, 23)}

    assert {logger for logger, _ in worker.logs} == {"azure.functions", "usage_collector"}
    first, repeated = _batch_lines(worker)
    assert first["invocation_id"] == batch["invocation_id"]
    assert (first["hub"], first["partition"]) == ("usage-events", PARTITION)
    assert first["first_sequence_number"] == FIRST_SEQUENCE_NUMBER
    assert first["last_sequence_number"] == FIRST_SEQUENCE_NUMBER + 4
    assert (first["received"], first["counted"], first["duplicate"], first["dead_lettered"]) == (5, 3, 0, 2)
    assert 0 <= first["lag_seconds"] < 600  # the enqueued time has no zone, and is UTC
    assert repeated["invocation_id"] == again["invocation_id"]
    assert (repeated["received"], repeated["counted"], repeated["duplicate"], repeated["dead_lettered"]) == (5, 0, 3, 2)

    # The empty event has not shifted the others: each dead letter bears the origin of its own event.
    assert [
        (letter["hub"], letter["partition"], letter["sequence_number"].value, letter["size_bytes"])
        for letter in _dead_letters(azurite, settings["TABLE_PREFIX"])
    ] == [
        ("usage-events", PARTITION, events[1].sequence_number, 0),
        ("usage-events", PARTITION, events[3].sequence_number, len(events[3].body)),
    ]


def test_what_is_posted_is_sent_to_the_hub(settings: dict[str, str], event_hubs: EventHubsEndpoint) -> None:
    settings["EventHubConnection"] = event_hubs.connection_string()
    with WorkerProcess(settings) as worker:
        assert succeeded(worker.initialise())
        functions = worker.load_functions()
        before = sum(event_hubs.event_counts("usage-events"))
        request = http_invocation(functions["events"], "events", body=_call("shop", 100, 20))
        status, answer = http_answer(worker.ask("invocation_request", request))
        assert (status, answer["accepted"]) == (202, 1)
        assert sum(event_hubs.event_counts("usage-events")) == before + 1

        empty = http_answer(worker.ask("invocation_request", http_invocation(functions["events"], "events", body=b"")))
        assert (empty[0], empty[1]["error"]["code"]) == (400, "not_json")


def test_a_worker_that_was_started_in_advance_takes_the_app_and_its_settings_later(settings: dict[str, str]) -> None:
    with WorkerProcess(placeholder=True) as worker:
        assert succeeded(worker.initialise())
        assert worker.load_functions() == {}
        specialised = worker.specialise(settings)
        assert succeeded(specialised), specialised

        functions = worker.load_functions()
        batch = event_hub_invocation(functions["collect_usage_events"], _events(_call("shop", 100, 20)))
        assert succeeded(worker.ask("invocation_request", batch))
        assert _totals(worker, functions["usage"]) == {"shop": (1, 100, 20)}
        assert "collect_gateway_logs" not in functions


def test_a_worker_that_was_started_in_advance_joins_the_gateways_logs_and_settles_what_waits(
    settings: dict[str, str],
) -> None:
    """The function of the logs is there only by a setting, which such a worker learns late."""
    joined, alone = str(uuid4()), str(uuid4())
    with WorkerProcess(placeholder=True) as worker:
        assert succeeded(worker.initialise())
        late = {"GATEWAY_LOGS_HUB": "gateway-logs", "JOIN_DEADLINE_SECONDS": "1"}
        assert succeeded(worker.specialise(settings | late))
        functions = worker.load_functions()

        events = _events(*(_waiting_for_the_log("shop", call) for call in (joined, alone)))
        assert succeeded(
            worker.ask("invocation_request", event_hub_invocation(functions["collect_usage_events"], events))
        )
        rows = _events(json.dumps({"records": [_row_of_the_log(joined, 100, 20)]}).encode())
        batch = event_hub_invocation(functions["collect_gateway_logs"], rows, hub="gateway-logs")
        assert succeeded(worker.ask("invocation_request", batch))
        assert _totals(worker, functions["usage"]) == {"shop": (1, 100, 20)}

        deadline = monotonic() + 30
        while _totals(worker, functions["usage"]) != {"shop": (2, 100, 20)}:
            assert monotonic() < deadline
            assert succeeded(worker.ask("invocation_request", timer_invocation(functions["settle_pending"])))
    assert [line["hub"] for line in _batch_lines(worker)] == ["usage-events", "gateway-logs"]


def test_a_batch_that_cannot_be_stored_fails_so_that_the_host_repeats_it(settings: dict[str, str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, but nobody listens
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}/{ACCOUNT}"
        settings["UsageStorage"] = f"AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};TableEndpoint={endpoint};"
        with WorkerProcess(settings) as worker:
            assert succeeded(worker.initialise())
            function = worker.load_functions()["collect_usage_events"]
            batch = event_hub_invocation(function, _events(_call("shop", 100, 20)))
            assert failure(worker.ask("invocation_request", batch)).startswith("StoreUnavailable: ")
    assert _batch_lines(worker) == []


def _bindings(function: Message) -> list[Any]:
    return [json.loads(binding) for binding in function["raw_bindings"]]


def _call(app: str, prompt: int, completion: int) -> bytes:
    """The body of a usage event."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return json.dumps(usage_event(app_id=app, timestamp=NOW.isoformat(), usage=usage)).encode()


def _waiting_for_the_log(app: str, call: str) -> bytes:
    """The body of a policy's event of mode B."""
    waiting = {"request_id": call, "usage": None, "usage_source": "gateway_log", "stream": True}
    return json.dumps(usage_event(app_id=app, timestamp=NOW.isoformat(), **waiting)).encode()


def _row_of_the_log(call: str, prompt: int, completion: int) -> dict[str, Any]:
    properties = {"modelName": "gpt-4o", "promptTokens": prompt, "completionTokens": completion}
    return {
        "time": NOW.isoformat(),
        "category": "GatewayLlmLogs",
        "correlationId": call.upper(),
        "properties": properties,
    }


def _events(*bodies: bytes) -> list[Event]:
    """Events in a row. Every other one has a partition key, and the offset is not always known."""
    return [
        Event(
            body,
            sequence_number=FIRST_SEQUENCE_NUMBER + number,
            enqueued=datetime.now(UTC),
            partition_key=f"key-{number}" if number % 2 else None,
            offset=str(4096 * number) if number else "-1",
        )
        for number, body in enumerate(bodies)
    ]


def _totals(worker: WorkerProcess, function: Message) -> dict[str, tuple[int, int, int]]:
    """Calls, prompt and completion tokens by app, as the API tells them."""
    times = {"from": NOW - timedelta(hours=1), "to": NOW + timedelta(hours=1)}
    query = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ") for name, time in times.items()}
    query |= {"granularity": "total", "group_by": "app"}
    status, answer = http_answer(worker.ask("invocation_request", http_invocation(function, "usage", query)))
    assert status == 200, answer
    return {row["app"]: (row["calls"], row["prompt_tokens"], row["completion_tokens"]) for row in answer["rows"]}


def _batch_lines(worker: WorkerProcess) -> list[dict[str, Any]]:
    """The structured lines in the log."""
    lines = [json.loads(line) for logger, line in worker.logs if logger == "usage_collector"]
    return [line for line in lines if line["event"] == "batch"]


def _dead_letters(azurite: Azurite, table_prefix: str) -> list[Any]:
    """The dead letters in the order of their rows."""
    with (
        TableServiceClient.from_connection_string(azurite.connection_string) as service,
        service.get_table_client(f"{table_prefix}deadletters") as table,
    ):
        return list(table.list_entities())
