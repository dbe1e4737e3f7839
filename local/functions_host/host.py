"""The host: wires settings, functions and triggers together, and starts and stops them in order."""

import asyncio
import os
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Self

from local.functions_host.app import EventHubTrigger, FunctionSpec, HttpTrigger, TimerTrigger, load_functions
from local.functions_host.eventhub_trigger import EventHubListener
from local.functions_host.http_trigger import HOST, HttpServer, endpoints
from local.functions_host.invoke import Invoker
from local.functions_host.settings import load_settings
from local.functions_host.timer_trigger import TimerListener

GRACE_SECONDS = 3.0
ROUTE_PREFIX = "api"


class FunctionsHost:
    """Runs the app in `app_dir` between `start` and `stop`; also an async context manager.

    Args:
        app_dir: the folder with function_app.py, and perhaps host.json and local.settings.json.
        port: of the HTTP server on 127.0.0.1; 0 takes a free one.
        environ: app settings. The values of local.settings.json are added to it; default: os.environ.
        grace_seconds: what a running invocation gets to end when the host stops.
    """

    def __init__(
        self,
        app_dir: Path | str,
        port: int = 0,
        environ: MutableMapping[str, str] | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._settings = load_settings(Path(app_dir).resolve(), os.environ if environ is None else environ)
        self._port = port
        self._grace_seconds = grace_seconds
        self._server: HttpServer | None = None
        self._listeners: list[EventHubListener | TimerListener] = []

    @property
    def url(self) -> str:
        """The base of all URLs, without a slash at its end."""
        assert self._server is not None
        return f"http://{HOST}:{self._server.port}"

    async def start(self) -> None:
        """Imports the app and returns when HTTP answers; the listeners connect in the background.

        Raises:
            ConfigurationError: this app cannot be run with these settings.
            Exception: whatever the import of function_app.py raises.
        """
        settings = self._settings
        self.functions = load_functions(settings)
        threads = settings.get("PYTHON_THREADPOOL_THREAD_COUNT")
        self._invoker = Invoker(settings.app_dir, int(threads) if threads else None)
        prefix = settings.extension("http").get("routePrefix", ROUTE_PREFIX)
        self.endpoints = endpoints(self.functions, prefix)
        for spec in self.functions:
            if isinstance(spec.trigger, TimerTrigger):
                self._listeners.append(TimerListener(spec, self._invoker))
            elif isinstance(spec.trigger, EventHubTrigger):
                self._listeners.append(EventHubListener(spec, spec.trigger, settings, self._invoker))
        self._server = HttpServer(self.endpoints, self._invoker, self._port)
        await self._server.start(self._grace_seconds)
        for listener in self._listeners:
            listener.start()

    async def stop(self) -> None:
        """Takes nothing new, gives what runs the grace, and ends the rest. Safe to call twice."""
        stops = [listener.stop(self._grace_seconds) for listener in self._listeners]
        self._listeners = []
        if self._server is not None:
            stops.append(self._server.stop())
            self._server = None
            await asyncio.gather(*stops)
            self._invoker.close()

    def describe(self) -> list[str]:
        """One line per function: its name and what triggers it."""
        return [f"{spec.name}: {self._describe_trigger(spec)}" for spec in self.functions]

    def _describe_trigger(self, spec: FunctionSpec) -> str:
        match spec.trigger:
            case HttpTrigger():
                endpoint = next(endpoint for endpoint in self.endpoints if endpoint.spec is spec)
                methods = ",".join(sorted(endpoint.methods)) if endpoint.methods else "ALL"
                return f"[{methods}] {self.url}/{endpoint.path}"
            case EventHubTrigger(event_hub=event_hub):
                return f"eventHubTrigger {event_hub}"
            case TimerTrigger(schedule=schedule):
                return f"timerTrigger {schedule}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()
