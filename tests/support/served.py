"""The functions of function_app.py over HTTP, behind the local host's own server, in this process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import azure.functions as func

import function_app
from api.openapi.document import all_operations
from local.functions_host.app import FunctionSpec, HttpTrigger
from local.functions_host.http_trigger import HttpServer, endpoints
from local.functions_host.invoke import Invoker
from local.functions_host.retry import NO_RETRY


@asynccontextmanager
async def served(prefix: str = "api") -> AsyncIterator[str]:
    """Where all endpoints answer below a prefix, on a free port. The settings are those that the app has first read."""
    invoker = Invoker(Path.cwd())
    specs = [
        FunctionSpec(endpoint, _of(endpoint), "req", False, HttpTrigger(each.route, frozenset([method])), NO_RETRY)
        for endpoint, method, each in all_operations()
    ]
    server = HttpServer(endpoints(specs, prefix), invoker, 0)
    await server.start(1)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()
        invoker.close()


def _of(endpoint: str) -> Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]:
    """The function, as the worker finds it behind its bindings."""

    async def call(req: func.HttpRequest) -> func.HttpResponse:
        response: func.HttpResponse = await getattr(function_app, endpoint)(req)
        return response

    return call
