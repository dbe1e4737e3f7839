"""From a URL to an endpoint, and from every error to the one error shape."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import services
from api import (
    access,
    alerts,
    budgets,
    calls,
    dashboard,
    dead_letters,
    docs,
    events,
    health,
    listings,
    metrics,
    openai_usage,
    prices,
    registry,
    usage,
)
from api.response import Request, Response, error_response
from ledger.store import StoreError
from models.errors import QueryError, SettingsError, StoreUnavailable, TablesOfAnotherVersion

log = logging.getLogger("usage_collector.api")

MAX_QUERY_LENGTH = 16 * 1024

LEAST_SECONDS = 60
"""For an answer. Azure's front end gives up after 230."""

Endpoint = Callable[[Request], Awaitable[Response]]

ENDPOINTS: dict[str, Endpoint] = {
    "usage": usage.get,
    "openai_completions": openai_usage.completions,
    "openai_embeddings": openai_usage.embeddings,
    "openai_costs": openai_usage.costs,
    "calls": calls.listed,
    "call": calls.one,
    "apps": listings.apps,
    "models": listings.models,
    "app_entry": registry.app,
    "model_entry": registry.model,
    "prices": prices.listed,
    "price": prices.one,
    "budgets": budgets.listed,
    "budget": budgets.one,
    "budget_status": budgets.status,
    "events": events.post,
    "dead_letters": dead_letters.page,
    "dead_letter": dead_letters.one,
    "redrive": dead_letters.redrive,
    "alerts": alerts.page,
    "alert_test": alerts.test,
    "alert_retry": alerts.retry,
    "health": health.get,
    "metrics": metrics.get,
    "openapi": docs.openapi,
    "docs": docs.docs,
    "dashboard": dashboard.page,
    "dashboard_file": dashboard.file,
}
WITHOUT_TABLES = frozenset({"events", "health", "openapi", "docs", "dashboard", "dashboard_file"})
"""These do not read the tables, or tell themselves whether they can be read."""


async def answer(
    endpoint: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    route: Mapping[str, str] | None = None,
    method: str = "GET",
) -> Response:
    """`route` holds the parts of the path by name. Never raises: what goes wrong becomes an error answer."""
    started = time.monotonic()
    response = await _answer(endpoint, url, headers, body, route or {}, method)
    with suppress(Exception):  # without services there is no telemetry, and the answer says what is wrong
        services.get().telemetry.answered(endpoint, response.status, time.monotonic() - started)
    return response


async def _answer(
    endpoint: str, url: str, headers: Mapping[str, str], body: bytes, parts: Mapping[str, str], method: str
) -> Response:
    try:
        # A slash in a part of the path stays encoded, as it must not part it in two.
        named = {name: re.sub("%2f", "/", value, flags=re.IGNORECASE) for name, value in parts.items()}
        request = Request(_parameters(url, parts.values()), headers, body, named, method, urlsplit(url).path)
        do = ENDPOINTS[endpoint]
        async with asyncio.timeout(_seconds()):
            admitted = await access.admitted(endpoint, request)
            if endpoint not in WITHOUT_TABLES:
                with suppress(StoreError):  # the endpoint itself says what it can without the tables
                    await services.get().schema.check()
            return await do(admitted)
    except QueryError as error:
        return error_response(error)
    except SettingsError as error:
        log.error("%s", error)
        return error_response(
            QueryError("misconfigured", "the app's settings have faults; its log lists them", None, 500)
        )
    except TimeoutError:
        log.error("%s: no answer within %d s", endpoint, _seconds())
        return error_response(
            QueryError("storage_unavailable", f"no answer within {_seconds()} seconds; try again", None, 503)
        )
    except TablesOfAnotherVersion as error:
        log.error("%s: %s", endpoint, error)
        return error_response(QueryError("unknown_schema_version", str(error), None, 503))
    except (StoreError, StoreUnavailable) as error:
        log.error("%s: %s", endpoint, error)
        return error_response(QueryError("storage_unavailable", "the tables do not answer; try again", None, 503))
    except Exception:
        log.exception("%s failed", endpoint)
        return error_response(QueryError("internal_error", "the question could not be answered", None, 500))


def _seconds() -> int:
    """How long any answer may take: after what a question may, which has a message of its own. At most 225."""
    try:
        return max(services.get().settings.query_max_seconds, LEAST_SECONDS) + 5
    except SettingsError:
        return LEAST_SECONDS


def _parameters(url: str, parts: Iterable[str]) -> dict[str, list[str]]:
    for part in parts:  # the host gives the path decoded, so that a ? or # in it would be taken for the query's
        url = url.replace(f"/{part}", "", 1)
    query = urlsplit(url).query
    if len(query) > MAX_QUERY_LENGTH:
        raise QueryError("query_too_long", f"the query string is longer than {MAX_QUERY_LENGTH} characters", None, 414)
    return parse_qs(query, keep_blank_values=True)
