"""The HTTP side: one aiohttp server for all HTTP functions of the app."""

import errno
import logging
from dataclasses import dataclass

from aiohttp import web
from azure.functions.http import HttpRequestConverter, HttpResponseConverter
from azure.functions.meta import Datum

from local.functions_host.app import FunctionSpec, HttpTrigger
from local.functions_host.invoke import Invoker, TraceContext
from local.functions_host.routes import Route, compile_route, joined_headers, query_parameters
from local.functions_host.settings import ConfigurationError

HOST = "127.0.0.1"
STATUS = {"id": "local", "state": "Running", "version": "4.0-local"}
_BODY_LIMIT_BYTES = 100 * 1024 * 1024
_LINE_LIMIT_BYTES = 64 * 1024  # of the request line: an app may have a limit of its own, and its own words for it
_SET_BY_THE_SERVER = {"content-length", "transfer-encoding", "connection", "date"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """An HTTP function at its full route."""

    spec: FunctionSpec
    path: str
    methods: frozenset[str] | None
    route: Route


def endpoints(specs: list[FunctionSpec], route_prefix: str) -> list[Endpoint]:
    """The HTTP functions among `specs`, the most specific route first."""
    found = []
    for spec in specs:
        if isinstance(spec.trigger, HttpTrigger):
            path = "/".join(part.strip("/") for part in (route_prefix, spec.trigger.route) if part.strip("/"))
            try:
                found.append(Endpoint(spec, path, spec.trigger.methods, compile_route(path)))
            except ValueError as error:
                raise ConfigurationError(f"function '{spec.name}': {error}") from error
    return sorted(found, key=lambda endpoint: endpoint.route.rank)


class HttpServer:
    """Answers with the functions' responses; 404 for an unknown route or method, as the real host does."""

    def __init__(self, endpoints: list[Endpoint], invoker: Invoker, port: int) -> None:
        self._endpoints = endpoints
        self._invoker = invoker
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        assert self._runner is not None
        port: int = self._runner.addresses[0][1]
        return port

    async def start(self, shutdown_seconds: float) -> None:
        application = web.Application(client_max_size=_BODY_LIMIT_BYTES)
        application.router.add_get("/admin/host/status", self._status)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=shutdown_seconds, max_line_size=_LINE_LIMIT_BYTES
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise ConfigurationError(f"port {self._port} is already in use; choose another with --port") from error
            raise

    async def stop(self) -> None:
        """Closes the port, waits the shutdown time for requests being answered, and ends those that are left."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(STATUS)

    async def _handle(self, request: web.Request) -> web.Response:
        for endpoint in self._endpoints:
            if endpoint.methods is None or request.method in endpoint.methods:
                route_parameters = endpoint.route.match(request.raw_path.partition("?")[0])
                if route_parameters is not None:
                    return await self._invoke(endpoint.spec, request, route_parameters)
        return web.Response(status=404)

    async def _invoke(self, spec: FunctionSpec, request: web.Request, route: dict[str, str]) -> web.Response:
        datum = await _request_datum(request, route)
        trace = None
        if parent := request.headers.get("traceparent"):
            trace = TraceContext(parent, request.headers.get("tracestate", ""))
        try:
            result = await self._invoker.call(
                spec, lambda: HttpRequestConverter.decode(datum, trigger_metadata={}), trace=trace
            )
            return _response(result)
        except Exception:
            logger.exception("Executed '%s' (Failed)", spec.name)
            return web.Response(status=500)


async def _request_datum(request: web.Request, route: dict[str, str]) -> Datum:
    """The request as the worker hands it to azure-functions."""

    def strings(values: dict[str, str]) -> dict[str, Datum]:
        return {name: Datum(value, "string") for name, value in values.items()}

    return Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(f"{request.scheme}://{request.host}{request.raw_path}", "string"),
            "headers": strings(joined_headers(request.headers.items())),
            "query": strings(query_parameters(request.raw_path.partition("?")[2])),
            "params": strings(route),
            "body": Datum(await request.read(), "bytes"),
        },
        "http",
    )


def _response(result: object) -> web.Response:
    """A function's return value as the real host answers it."""
    if result is None:
        return web.Response(status=204)
    encoded = HttpResponseConverter.encode(result, expected_type=None)
    if encoded.type == "string":
        return web.Response(text=encoded.value, content_type="text/plain", charset="utf-8")
    value = encoded.value
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value)
    for name, header in value["headers"].items():
        if name.lower() not in _SET_BY_THE_SERVER:
            response.headers[name] = header.value
    for cookies in value["cookies"] or ():
        for cookie in cookies.values():
            response.headers.add("Set-Cookie", cookie.OutputString())
    return response
