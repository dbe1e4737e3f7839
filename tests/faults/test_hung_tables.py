"""Tables that take a request and never answer: nothing waits for them longer than it may."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from uuid import uuid4

import pytest

import backlog
import function_app
import pipeline
import services as app_services
from api import endpoints
from api.endpoints import answer
from local.azurite import ACCOUNT, ACCOUNT_KEY
from models.errors import StoreUnavailable
from pipeline import ingest
from services import Services
from tests.support.events import NOON, raw_event, usage_event
from tests.support.metrics import Meter


@asynccontextmanager
async def hung(**changes: str) -> AsyncIterator[Services]:
    """The app's services on an endpoint that reads what comes, and says nothing."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    table = f"TableEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    environment = {
        "UsageStorage": f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};{table}",
        "USAGE_EVENTS_HUB": "usage-events",
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
    }
    found = app_services.build(environment | changes)
    try:
        yield found
    finally:
        await found.close()
        server.close()


@pytest.mark.parametrize(
    ("endpoint", "path", "method"),
    [
        ("dead_letters", "dead-letters", "GET"),
        ("prices", "prices", "GET"),
        ("apps", "apps", "GET"),
        ("redrive", "dead-letters/redrive", "POST"),
        ("usage", "usage", "GET"),
    ],
)
async def test_every_endpoint_answers_in_the_one_error_shape(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, path: str, method: str
) -> None:
    monkeypatch.setattr(endpoints, "_seconds", lambda: 1)
    async with hung(EventHubConnection="Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b") as found:
        monkeypatch.setattr(app_services, "get", lambda: found)
        body = b'{"reason": "not_json"}' if method == "POST" else b""
        async with asyncio.timeout(30):
            response = await answer(endpoint, f"https://usage.example.net/api/{path}", {}, body, {}, method)
        assert (response.status, '"storage_unavailable"' in response.body) == (503, True)


@pytest.mark.parametrize("name", ["READ_SECONDS", "WRITE_SECONDS"])
async def test_an_attempt_at_a_batch_ends_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(pipeline, name, 0.5)
    async with hung() as found:
        if name == "WRITE_SECONDS":
            found.directory._known_since = NOON.replace(year=2020)
            found.schema._begun, found.schema._fits_until = True, float("inf")
        async with asyncio.timeout(30):
            with pytest.raises(StoreUnavailable, match="not done within"):
                await ingest([raw_event(usage_event())], found, now=lambda: NOON)


async def due(name: str) -> None:
    """What the host does when the timer of this function is due."""
    function = getattr(function_app, name)._function.get_user_function()
    await function(timer=None, context=SimpleNamespace(invocation_id="one"))


async def test_the_timer_that_looks_tells_each_minute_that_the_tables_do_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long what writes to them waits: without its points no rule on them fires."""
    monkeypatch.setattr(backlog, "SECONDS", 0.3)
    async with hung() as found:
        monkeypatch.setattr(app_services, "get", lambda: found)
        meter = Meter()
        found.telemetry = meter.telemetry
        settles = asyncio.create_task(due("settle_pending"))
        for _ in range(3):
            await due("watch_backlog")
            assert meter.of("usage_collector.up") == {("tables",): 0, ("usage_events_hub",): 0}
        assert not settles.done()
        settles.cancel()
        await asyncio.gather(settles, return_exceptions=True)


def test_a_look_ends_before_the_next_one_is_due() -> None:
    assert 3 * backlog.SECONDS < 60 / 2


def test_the_longest_answer_is_before_azures_front_end_gives_up() -> None:
    """And one attempt at a batch before the host ends the process, with some for what it reads."""
    assert endpoints.LEAST_SECONDS < 220
    assert pipeline.READ_SECONDS + pipeline.WRITE_SECONDS + 120 < 600
