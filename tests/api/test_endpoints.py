"""api.endpoints: every fault becomes an answer in the one error shape, with a status that says whose fault it is."""

import asyncio
import logging
import socket
import time
from typing import Self

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.data.tables.aio import TableServiceClient

import function_app
from api.endpoints import ENDPOINTS, answer
from ledger.directory import Directory
from ledger.store import TableStore
from local.azurite import ACCOUNT, ACCOUNT_KEY
from tests.api.asked import ask
from tests.api.conftest import Configure

ASKING = ("budgets", "usage", "apps", "models", "prices")
SECONDS_UNTIL_A_CALLER_GIVES_UP = 10


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def account_at(port: int, key: str = ACCOUNT_KEY) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"TableEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


def test_every_endpoint_has_a_function() -> None:
    assert all(hasattr(function_app, name) for name in ENDPOINTS)
    others = {"calls", "call", "app_entry", "model_entry", "price", "events", "health", "metrics"}
    others |= {"budget", "budget_status"}
    others |= {"openai_completions", "openai_embeddings", "openai_costs", "openapi", "docs"}
    others |= {"dashboard", "dashboard_file"}
    others |= {"budgets", "budget", "budget_status", "alerts", "alert_test", "alert_retry"}
    assert set(ENDPOINTS) == {*ASKING, *others, "dead_letters", "dead_letter", "redrive"}


@pytest.mark.parametrize("endpoint", ASKING)
async def test_without_settings_the_app_says_that_it_is_misconfigured_and_nothing_more(
    no_settings: pytest.MonkeyPatch, endpoint: str
) -> None:
    no_settings.setenv("UsageStorage", "AccountKey=c2VjcmV0")
    no_settings.setenv("QUERY_MAX_ROWS", "many")
    reply = await ask(endpoint)
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (500, "misconfigured", None)
    assert not any(told in reply.text for told in ("c2VjcmV0", "many", "UsageStorage"))


@pytest.mark.parametrize("endpoint", ASKING)
async def test_a_connection_string_without_its_parts_is_misconfigured_too(
    no_settings: pytest.MonkeyPatch, endpoint: str
) -> None:
    no_settings.setenv("USAGE_EVENTS_HUB", "usage-events")
    no_settings.setenv("UsageStorage", "AccountName=usage")
    reply = await ask(endpoint)
    assert (reply.status, reply.error["code"]) == (500, "misconfigured")


async def test_tables_that_cannot_be_reached_are_a_503_before_the_caller_gives_up(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer says to try again; where the tables should be stands in the log, not in the answer."""
    port = closed_port()
    await configure(UsageStorage=account_at(port))
    started = time.monotonic()
    with caplog.at_level(logging.ERROR, "usage_collector.api"):
        replies = await asyncio.gather(
            *(ask(endpoint) for endpoint in ASKING), ask("usage", "app=x&format=csv"), ask("usage", "granularity=total")
        )
    assert time.monotonic() - started < SECONDS_UNTIL_A_CALLER_GIVES_UP
    for reply in replies:
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (503, "storage_unavailable", None)
        assert str(port) not in reply.text
    assert str(port) in caplog.text


async def test_a_broken_answer_of_the_tables_is_a_503_not_an_internal_error(configure: Configure) -> None:
    """Something answers on the port, but not as Table Storage does."""

    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"value":')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
        await configure(UsageStorage=account_at(server.sockets[0].getsockname()[1]))
        for endpoint in ASKING:
            reply = await ask(endpoint)
            assert (reply.status, reply.error["code"]) == (503, "storage_unavailable")


async def test_a_refused_key_is_a_503_and_the_log_says_why(
    configure: Configure, caplog: pytest.LogCaptureFixture, azurite_port: int
) -> None:
    await configure(UsageStorage=account_at(azurite_port, key="d3Jvbmc="))
    with caplog.at_level(logging.ERROR, "usage_collector.api"):
        reply = await ask("apps")
    assert (reply.status, reply.error["code"]) == (503, "storage_unavailable")
    assert "403" in caplog.text


@pytest.mark.parametrize("query", ["%ff", "app=%ff%fe", "&&&", "?", "=", ";", "from", "%00=%00", "a" * 16_384])
async def test_no_query_string_breaks_an_endpoint(configure: Configure, query: str) -> None:
    await configure()
    for endpoint in ASKING:
        assert (await ask(endpoint, query)).status in (200, 400, 414)


async def test_an_endpoint_that_is_none_is_an_answer_too(no_settings: pytest.MonkeyPatch) -> None:
    """`answer` never raises, whatever it is given."""
    assert (await answer("nothing", "/api/nothing", {})).status in (404, 500)


async def test_where_the_app_has_no_identity_that_the_tables_take_the_log_says_so(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    """A credential that fails sends no request, so there is no status to log: an operator needs its own words."""

    class NoIdentity:
        async def get_token(self, *scopes: str, **options: object) -> AccessToken:
            raise ClientAuthenticationError("no managed identity is assigned")

        async def close(self) -> None:
            """Nothing is open."""

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            """Nothing is open."""

    found = await configure()
    async with TableServiceClient("https://usage.table.core.windows.net", credential=NoIdentity()) as tables:
        found.directory = Directory(TableStore(tables, "directory"))
        with caplog.at_level(logging.ERROR, "usage_collector.api"):
            reply = await ask("apps")
    assert (reply.status, reply.error["code"]) == (503, "storage_unavailable")
    assert "identity" not in reply.text
    assert "no managed identity is assigned" in caplog.text
