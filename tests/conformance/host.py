"""The host's side of the conversation with Microsoft's worker: starts it, asks it, encodes events as the host does."""

import base64
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / ".conformance"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
ANSWER_SECONDS = 60.0

Message = dict[str, Any]
"""A protobuf message in its JSON form, fields named as in the .proto."""


def require_library() -> None:
    """Fails the test if Microsoft's library is not installed in the versions of requirements.txt."""
    lines = REQUIREMENTS.read_text().splitlines()
    wanted = {line for line in lines if line and not line.startswith("#")}
    found = {f"{distribution.name}=={distribution.version}" for distribution in distributions(path=[str(LIBRARY)])}
    if missing := sorted(wanted - found):
        pytest.fail(f"Microsoft's worker library is not in {LIBRARY} ({', '.join(missing)}): run `make install`")


class WorkerProcess:
    """A running worker.

    `settings` are all the environment that it has, besides what the platform sets. `placeholder` starts it as the
    platform starts workers in advance: it learns its app later, with the settings. `logs` are the messages that were
    logged, by logger.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, offline: bool = False, placeholder: bool = False
    ) -> None:
        require_library()
        self.logs: list[tuple[str, str]] = []
        self._environment = {"FUNCTIONS_WORKER_RUNTIME": "python", **(settings or {})}
        if not placeholder:
            self._environment["AzureWebJobsScriptRoot"] = str(ROOT)
        self._command = [sys.executable, "-I", str(Path(__file__).with_name("worker.py")), str(LIBRARY)]
        self._command += ["--offline"] if offline else []

    def __enter__(self) -> Self:
        self._stderr = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def ask(self, kind: str, content: Message) -> Message:
        """Sends a request and returns the response to it. Fails the test if the worker ends or does not answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request_id = str(uuid4())
        watchdog = threading.Timer(ANSWER_SECONDS, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps({"request_id": request_id, kind: content}) + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                message: Message = json.loads(line)
                if "rpc_log" in message:
                    self.logs.append((message["rpc_log"]["category"], message["rpc_log"]["message"]))
                    continue
                assert message.pop("request_id") == request_id
                response: Message = message.popitem()[1]
                return response
        except BrokenPipeError:
            pass  # it has ended, as below
        finally:
            watchdog.cancel()
        code = self._process.wait()
        self._stderr.seek(0)
        pytest.fail(f"the worker ended with {code} instead of answering {kind}:\n{self._stderr.read()}")

    def initialise(self) -> Message:
        """The first request of all. An app's folder that is not there yet has no functions."""
        root = self._environment.get("AzureWebJobsScriptRoot", str(LIBRARY))
        capabilities = {"RpcHttpTriggerMetadataRemoved": "true", "RpcHttpBodyOnly": "true"}
        content = {"host_version": "4.1043.0", "function_app_directory": root, "capabilities": capabilities}
        return self.ask("worker_init_request", content)

    def specialise(self, settings: Mapping[str, str]) -> Message:
        """Tells a placeholder its app and its settings."""
        content = {"environment_variables": dict(settings), "function_app_directory": str(ROOT)}
        return self.ask("function_environment_reload_request", content)

    def load_functions(self) -> dict[str, Message]:
        """What the worker says of each function, by name, after it has loaded them all."""
        response = self.ask("functions_metadata_request", {"function_app_directory": str(ROOT)})
        assert succeeded(response), response
        functions: list[Message] = response["function_metadata_results"]
        for function in functions:
            content = {"function_id": function["function_id"], "metadata": {"name": function["name"]}}
            loaded = self.ask("function_load_request", content)
            assert succeeded(loaded), loaded
        return {function["name"]: function for function in functions}


def succeeded(response: Message) -> bool:
    """Whether a response says that what was asked for was done."""
    return bool(response["result"]["status"] == "Success")


def failure(response: Message) -> str:
    """The message of the exception that an invocation ended with."""
    assert response["result"]["status"] == "Failure", response
    return str(response["result"]["exception"]["message"])


@dataclass(frozen=True)
class Event:
    """An event in a partition. The offset is numeric, or -1 (extension 6.5.2 and later, geo-replicated namespace)."""

    body: bytes
    sequence_number: int
    enqueued: datetime
    partition_key: str | None = None
    offset: str = "-1"

    @property
    def enqueued_time(self) -> str:
        """In UTC without a zone: the extension serialises a DateTime of unspecified kind."""
        return self.enqueued.astimezone(UTC).replace(tzinfo=None).isoformat()


def event_hub_invocation(
    function: Message, events: Sequence[Event], partition: str = "0", retry: int = 0, hub: str = "usage-events"
) -> Message:
    """A batch as the host sends it for cardinality many and data type binary.

    Modelled on the source of the host and its Event Hubs extension (EventHubTriggerBindingStrategy), not on captured
    traffic: PartitionKeyArray leaves out events without a key, bodies do not leave out empty ones.
    """
    context = {
        "FullyQualifiedNamespace": "contoso.servicebus.windows.net",
        "EventHubName": hub,
        "ConsumerGroup": "usage-collector",
        "PartitionId": partition,
        "IsCheckpointingAfterInvocation": True,
    }
    system_properties = [
        {
            "SequenceNumber": event.sequence_number,
            "Offset": event.offset,
            "EnqueuedTimeUtc": event.enqueued_time,
            "PartitionKey": event.partition_key,
        }
        for event in events
    ]
    host = {"MethodName": function["name"], "UtcNow": datetime.now(UTC).isoformat(), "RandGuid": str(uuid4())}
    return {
        "invocation_id": str(uuid4()),
        "function_id": function["function_id"],
        "input_data": [
            {
                "name": "events",
                "data": {"collection_bytes": {"bytes": [base64.b64encode(event.body).decode() for event in events]}},
            }
        ],
        "trigger_metadata": {
            "PartitionContext": _json(context),
            "SequenceNumberArray": {"collection_sint64": {"sint64": [event.sequence_number for event in events]}},
            "OffsetArray": {"collection_string": {"string": [event.offset for event in events]}},
            "EnqueuedTimeUtcArray": _json([event.enqueued_time for event in events]),
            "PartitionKeyArray": {
                "collection_string": {"string": [event.partition_key for event in events if event.partition_key]}
            },
            "PropertiesArray": _json([{} for _ in events]),
            "SystemPropertiesArray": _json(system_properties),
            "sys": _json(host),
        },
        "retry_context": {"retry_count": retry, "max_retry_count": -1},
    }


def timer_invocation(function: Message) -> Message:
    """An occurrence of a timer, as the host hands it over."""
    timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
    return {
        "invocation_id": str(uuid4()),
        "function_id": function["function_id"],
        "input_data": [{"name": "timer", "data": _json(timer)}],
    }


def http_invocation(
    function: Message, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None
) -> Message:
    """A request as the host hands it over: names of headers in lower case, the body left out of a GET."""
    url = f"https://usage.azurewebsites.net/api/{path}"
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query.items())
    request = {
        "method": "GET" if body is None else "POST",
        "url": url,
        "headers": {"host": "usage.azurewebsites.net", "accept": "*/*"},
        "query": dict(query or {}),
    }
    if body:
        request["body"] = {"bytes": base64.b64encode(body).decode()}
    return {
        "invocation_id": str(uuid4()),
        "function_id": function["function_id"],
        "input_data": [{"name": "req", "data": {"http": request}}],
    }


def http_answer(response: Message) -> tuple[int, Any]:
    """Status and JSON body of an HTTP function's answer."""
    assert succeeded(response), response
    http = response["return_value"]["http"]
    body = http["body"]
    text = body["string"] if "string" in body else base64.b64decode(body["bytes"]).decode()
    return int(http["status_code"]), json.loads(text)


def _json(value: object) -> Message:
    return {"json": json.dumps(value)}
