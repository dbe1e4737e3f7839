"""HTTP and timer functions of a running host."""

import asyncio
import json
import logging
import time

import aiohttp
import pytest

from local.functions_host.host import FunctionsHost
from local.functions_host.settings import ConfigurationError

from .conftest import AppFolder, eventually

HTTP_APP = """
    import json, threading

    def described(req: func.HttpRequest) -> str:
        return json.dumps({
            "method": req.method, "url": req.url, "params": dict(req.params), "route": dict(req.route_params),
            "headers": dict(req.headers), "body": req.get_body().decode(),
            "main_thread": threading.current_thread() is threading.main_thread(),
        })

    @app.route(route="echo/{name}/{id:int?}")
    async def echo(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse(described(req), mimetype="application/json", status_code=201, headers={"X-Own": "1"})

    @app.route(route="echo/fixed", methods=["GET"])
    def fixed(req: func.HttpRequest) -> str:
        return described(req)

    @app.route(route="files/{*path}", methods=["GET"])
    def files(req: func.HttpRequest) -> str:
        return req.route_params.get("path", "")

    @app.route(route="nothing")
    def nothing(req: func.HttpRequest): ...

    @app.route(route="fails")
    def fails(req: func.HttpRequest) -> str:
        raise RuntimeError("on purpose")

    @app.route(route="stops")
    def stops(req: func.HttpRequest) -> str:
        return next(iter(()))

    @app.route(route="odd")
    def odd(req: func.HttpRequest):
        return 42

    @app.route(route="cookies")
    def cookies(req: func.HttpRequest) -> func.HttpResponse:
        response = func.HttpResponse(b"ok")
        response.headers.add("Set-Cookie", "a=1; Path=/")
        response.headers.add("Set-Cookie", "b=2; HttpOnly")
        return response

    @app.route(route="context")
    def context_of(req: func.HttpRequest, context: func.Context) -> str:
        assert isinstance(context, func.Context) and context.thread_local_storage.invocation_id
        return json.dumps([
            context.function_name, context.invocation_id, context.function_directory,
            context.trace_context.trace_parent, context.retry_context.retry_count,
            context.retry_context.max_retry_count,
        ])
"""


async def test_what_a_function_sees_of_a_request(app: AppFolder) -> None:
    async with FunctionsHost(app.write(HTTP_APP), environ={}) as host, aiohttp.ClientSession(host.url) as session:
        path = "/api/echo/a%20b/7?q=1&q=2&empty=&x=%2B"
        async with session.post(path, data=b"body", headers={"X-Two": "v"}) as response:
            assert (response.status, response.content_type) == (201, "application/json")
            assert response.headers["X-Own"] == "1"
            seen = await response.json()
        assert seen["method"] == "POST"
        assert seen["url"].startswith(f"{host.url}/api/echo/a%20b/7?q=1&q=2&empty=&x=")
        assert seen["params"] == {"q": "1,2", "x": "+"}
        assert seen["route"] == {"name": "a b", "id": "7"}
        assert seen["headers"]["x-two"] == "v"
        assert seen["body"] == "body"
        assert seen["main_thread"]


async def test_the_fixed_route_wins_and_runs_in_a_thread(app: AppFolder) -> None:
    async with FunctionsHost(app.write(HTTP_APP), environ={}) as host, aiohttp.ClientSession(host.url) as session:
        async with session.get("/api/echo/fixed") as response:
            assert (response.status, response.content_type, response.charset) == (200, "text/plain", "utf-8")
            assert not json.loads(await response.text())["main_thread"]
        async with session.put("/api/echo/fixed") as response:
            assert response.status == 201  # not among its methods: the other route


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/api", 404),
        ("/api/unknown", 404),
        ("/echo/x", 404),
        ("/api/echo/x/notanumber", 404),
        ("/api/nothing", 204),
        ("/api/fails", 500),
        ("/api/stops", 500),
        ("/api/odd", 500),
    ],
)
async def test_answers_without_a_body(app: AppFolder, path: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        FunctionsHost(app.write(HTTP_APP), environ={}) as host,
        aiohttp.ClientSession(host.url) as session,
        session.get(path) as response,
    ):
        assert (response.status, await response.read()) == (status, b"")
    assert (status == 500) == any(record.exc_info for record in caplog.records)


async def test_rest_of_path_cookies_context_status_and_wrong_method(app: AppFolder) -> None:
    async with FunctionsHost(app.write(HTTP_APP), environ={}) as host, aiohttp.ClientSession(host.url) as session:
        async with session.get("/api/files/a/b.txt") as response:
            assert await response.text() == "a/b.txt"
        async with session.post("/api/files/a") as response:
            assert response.status == 404
        async with session.get("/api/cookies") as response:
            assert response.headers.getall("Set-Cookie") == ["a=1; Path=/", "b=2; HttpOnly"]
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        async with session.get("/api/context", headers={"traceparent": parent}) as response:
            name, invocation_id, directory, trace_parent, *retries = json.loads(await response.text())
            assert (name, directory, trace_parent, retries) == ("context_of", str(app.path), parent, [0, 0])
            assert len(invocation_id) == 36
        async with session.get("/admin/host/status") as response:
            assert (await response.json())["state"] == "Running"


async def test_route_prefix_of_host_json(app: AppFolder) -> None:
    folder = app.write(HTTP_APP, extensions={"http": {"routePrefix": ""}})
    async with FunctionsHost(folder, environ={}) as host, aiohttp.ClientSession(host.url) as session:
        assert f"fixed: [GET] {host.url}/echo/fixed" in host.describe()
        assert f"fails: [ALL] {host.url}/fails" in host.describe()
        async with session.get("/nothing") as response:
            assert response.status == 204


async def test_a_port_in_use_is_one_line(app: AppFolder) -> None:
    async with FunctionsHost(app.write(HTTP_APP), environ={}) as host:
        port = int(host.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"port {port} is already in use"):
            await FunctionsHost(app.path, port, environ={}).start()


async def test_two_hosts_in_a_row_import_the_app_anew(app: AppFolder) -> None:
    async with FunctionsHost(app.write(HTTP_APP), environ={}):
        first = app.module
    async with FunctionsHost(app.path, environ={}):
        assert app.module is not first


async def test_timers(app: AppFolder) -> None:
    """Each second, at start, and never twice at once."""
    source = """
        import asyncio
        ticks, slow, starts = [], [], []

        @app.timer_trigger(arg_name="timer", schedule="* * * * * *")
        def tick(timer: func.TimerRequest) -> None:
            ticks.append((timer.past_due, timer.schedule_status))

        @app.timer_trigger(arg_name="timer", schedule="* * * * * *")
        async def slow_tick(timer: func.TimerRequest) -> None:
            slow.append("start")
            await asyncio.sleep(1.2)
            slow.append("end")

        @app.timer_trigger(arg_name="timer", schedule="01:00:00", run_on_startup=True)
        async def at_start(timer: func.TimerRequest) -> None:
            starts.append(timer)
    """
    started = time.monotonic()
    async with FunctionsHost(app.write(source), environ={}):
        module = app.module
        await eventually(lambda: len(module.ticks) >= 2 and len(module.slow) >= 3)
        assert len(module.ticks) <= time.monotonic() - started + 1
    assert not any(past_due for past_due, _ in module.ticks)
    assert module.ticks[1][1]["Last"] < module.ticks[1][1]["Next"]
    assert all(
        event == ("start", "end")[place % 2] for place, event in enumerate(module.slow)
    )  # one ends before the next
    assert len(module.starts) == 1


async def test_timer_retries(app: AppFolder, caplog: pytest.LogCaptureFixture) -> None:
    """As often as its policy says, with the count in the context; a returned value is an error, as in the worker."""
    source = """
        counts, returned = [], []

        @app.timer_trigger(arg_name="timer", schedule="01:00:00", run_on_startup=True)
        @app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
        def fails(timer: func.TimerRequest, context: func.Context) -> None:
            counts.append((context.retry_context.retry_count, context.retry_context.max_retry_count))
            raise RuntimeError("on purpose")

        @app.timer_trigger(arg_name="timer", schedule="01:00:00", run_on_startup=True)
        def returns(timer: func.TimerRequest):
            returned.append(1)
            return "something"
    """
    with caplog.at_level(logging.ERROR):
        async with FunctionsHost(app.write(source), environ={}):
            await eventually(lambda: len(app.module.counts) == 3 and app.module.returned)
            await asyncio.sleep(0.2)
    assert app.module.counts == [(0, 2), (1, 2), (2, 2)]
    assert len(app.module.returned) == 1
    assert "non-None" in caplog.text


async def test_a_bad_schedule_is_refused(app: AppFolder) -> None:
    source = """
        @app.timer_trigger(arg_name="timer", schedule="whenever")
        def tick(timer: func.TimerRequest) -> None: ...
    """
    with pytest.raises(ConfigurationError, match=r"'tick'.*schedule.*whenever"):
        await FunctionsHost(app.write(source), environ={}).start()
