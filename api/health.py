"""GET /api/health: whether the app runs and is configured; with `deep=1`, whether hubs and tables answer and how far
counting is behind. Where nobody signs in anyone may ask, so it tells no name and no reason; the log does."""

import logging
from typing import Final

import services
from api import access
from api.response import Request, Response, json_response
from models.errors import QueryError, SettingsError

log = logging.getLogger("usage_collector.api")


DEEP: Final = {"1": True, "true": True, "0": False, "false": False}


async def get(request: Request) -> Response:
    """200 if the app can work, 503 naming the part that is at fault. Without `deep=1` it touches nothing."""
    try:
        found = services.get()
        access.refuse_unprotected(found)
    except SettingsError as error:
        log.error("%s", error)
        fault = f"faults: {len(error.faults)}; the log lists them"
        return json_response({"status": "unhealthy", "parts": {"settings": fault}}, 503)
    if not _is_deep(request):
        return json_response({"status": "healthy", "parts": {"settings": "ok"}})
    access.require(access.Need.READ_ALL, request)
    from backlog import hubs_of, recent  # with azure-eventhub, which answers to other questions do not wait for

    backlog = await recent(found)
    roles = {hub: role for role, hub in hubs_of(found).items()}
    unknown = found.schema.fault(backlog.schema)
    healthy = all(backlog.parts.values()) and unknown is None
    told = {
        "status": "healthy" if healthy else "unhealthy",
        "parts": {"settings": "ok"}
        | ({"schema": unknown} if unknown else {})
        | {part: "ok" if answered else "no answer; the log says why" for part, answered in backlog.parts.items()},
        "lag": [lag._asdict() | {"hub": roles[lag.hub]} for lag in backlog.lags],
        "oldest_pending_seconds": backlog.oldest_pending,
        "schema_versions": backlog.schema and backlog.schema._asdict() | {"app": found.schema.version},
    }
    return json_response(told, 200 if healthy else 503)


def _is_deep(request: Request) -> bool:
    """Raises QueryError for anything that might have been meant otherwise."""
    stated = request.parameters.get("deep", ["0"])
    if len(stated) != 1 or stated[0] not in DEEP:
        raise QueryError("invalid_parameter", f"deep is {','.join(stated)!r:.40}: expected 1, or nothing", "deep")
    return DEEP[stated[0]]
