"""From a URL to an endpoint, and from every error to the one error shape."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from urllib.parse import parse_qs, unquote, urlsplit

import services
from api import dead_letters, events, health, listings, metrics, usage
from api.response import Request, Response, error_response
from ledger.store import StoreError
from models.errors import QueryError, SettingsError, StoreUnavailable

log = logging.getLogger("usage_collector.api")

MAX_QUERY_LENGTH = 16 * 1024

Endpoint = Callable[[Request], Awaitable[Response]]

ENDPOINTS: dict[str, Endpoint] = {
    "usage": usage.get,
    "apps": listings.apps,
    "models": listings.models,
    "events": events.post,
    "dead_letters": dead_letters.page,
    "dead_letter": dead_letters.one,
    "redrive": dead_letters.redrive,
    "health": health.get,
    "metrics": metrics.get,
}


async def answer(endpoint: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
    """Never raises: what goes wrong becomes an error answer."""
    started = time.monotonic()
    response = await _answer(endpoint, url, headers, body)
    with suppress(Exception):  # without services there is no telemetry, and the answer says what is wrong
        services.get().telemetry.answered(endpoint, response.status, time.monotonic() - started)
    return response


async def _answer(endpoint: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
    try:
        return await ENDPOINTS[endpoint](Request(_parameters(url), headers, body, unquote(urlsplit(url).path)))
    except QueryError as error:
        return error_response(error)
    except SettingsError as error:
        log.error("%s", error)
        return error_response(
            QueryError("misconfigured", "the app's settings have faults; its log lists them", None, 500)
        )
    except (StoreError, StoreUnavailable) as error:
        log.error("%s: %s", endpoint, error)
        return error_response(QueryError("storage_unavailable", "the tables do not answer; try again", None, 503))
    except Exception:
        log.exception("%s failed", endpoint)
        return error_response(QueryError("internal_error", "the question could not be answered", None, 500))


def _parameters(url: str) -> dict[str, list[str]]:
    query = urlsplit(url).query
    if len(query) > MAX_QUERY_LENGTH:
        raise QueryError("query_too_long", f"the query string is longer than {MAX_QUERY_LENGTH} characters", None, 414)
    return parse_qs(query, keep_blank_values=True)
