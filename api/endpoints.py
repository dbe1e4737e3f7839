"""From a URL to an endpoint, and from every error to the one error shape."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs, urlsplit

from api import events, health, listings, usage
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
    "health": health.get,
}


async def answer(endpoint: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
    """Never raises: what goes wrong becomes an error answer."""
    try:
        return await ENDPOINTS[endpoint](Request(_parameters(url), headers, body))
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
