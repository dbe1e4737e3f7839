"""A worker process that runs Microsoft's library for Python functions, azure-functions-runtime.

The host speaks to it on stdin and stdout in the real messages, each as one line of JSON (the real worker: over gRPC).
Every request gets one response; before it come the log lines that the app wrote meanwhile.

    python -I worker.py <folder of the library> [--offline]

--offline ends the process at once when anything in it connects or looks up a name.
"""

import asyncio
import importlib
import json
import logging
import os
import sys
import types
from pathlib import Path
from typing import Any, TextIO

RESPONSES = {
    "worker_init_request": "worker_init_response",
    "functions_metadata_request": "function_metadata_response",
    "function_load_request": "function_load_response",
    "function_environment_reload_request": "function_environment_reload_response",
    "invocation_request": "invocation_response",
}
OFFLINE_EXIT_CODE = 70


def message_classes(library: Path) -> Any:
    """The messages as Microsoft compiled them: a module as the library wants it, found without the package's __init__,
    which would import gRPC."""
    package = types.ModuleType("function_rpc")
    package.__path__ = [str(library / "tests" / "protos")]
    sys.modules[package.__name__] = package
    for name in ("shared.NullableTypes_pb2", "FunctionRpc_pb2"):
        vars(package).update(vars(importlib.import_module(f"function_rpc.{name}")))
    return package


class Channel(logging.Handler):
    """The line to the host. As a log handler it sends what is logged, as the real worker does."""

    def __init__(self, protos: Any, out: TextIO) -> None:
        super().__init__()
        self._protos = protos
        self._out = out
        self._as_dict = importlib.import_module("google.protobuf.json_format").MessageToDict

    def send(self, **content: Any) -> None:
        message = self._protos.StreamingMessage(**content)
        # Through its bytes, so that only what fits on the wire arrives.
        message = self._protos.StreamingMessage.FromString(message.SerializeToString())
        shown = self._as_dict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        self._out.write(json.dumps(shown) + "\n")
        self._out.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.send(rpc_log=self._protos.RpcLog(category=record.name, message=self.format(record)))


async def serve(library: Path, requests: TextIO, out: TextIO) -> None:
    protos = message_classes(library)
    parse = importlib.import_module("google.protobuf.json_format").Parse
    runtime = importlib.import_module("azure_functions_runtime")
    runtime.start_threadpool_executor()

    channel = Channel(protos, out)
    logging.getLogger().addHandler(channel)
    logging.getLogger().setLevel(logging.INFO)

    while line := await asyncio.to_thread(requests.readline):
        message = parse(line, protos.StreamingMessage())
        kind = message.WhichOneof("content")
        event = types.SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": protos})
        answer = await getattr(runtime, kind)(event)
        channel.send(request_id=message.request_id, **{RESPONSES[kind]: answer})
    runtime.stop_threadpool_executor()


def end_on_network_use(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: nothing in the process can swallow its verdict."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        sys.stderr.write(f"the network was used: {event} {arguments[1:] or arguments}\n")
        sys.stderr.flush()
        os._exit(OFFLINE_EXIT_CODE)


def main() -> None:
    library = Path(sys.argv[1])
    if "--offline" in sys.argv:
        sys.addaudithook(end_on_network_use)
    sys.path.insert(0, str(library))
    if script_root := os.environ.get("AzureWebJobsScriptRoot"):  # noqa: SIM112  # the host's name for the app's folder
        sys.path.append(script_root)
    to_host, sys.stdout = sys.stdout, sys.stderr  # what the app prints is no message
    asyncio.run(serve(library, sys.stdin, to_host))


if __name__ == "__main__":
    main()
