"""GET /api/health: whether the app runs and is configured. It does not touch the tables."""

import logging

import services
from api.response import Request, Response, json_response
from models.errors import SettingsError

log = logging.getLogger("usage_collector.api")


async def get(request: Request) -> Response:
    """200 if the app can work, 503 naming the part that is at fault. Anyone may ask, so faults are told in the log."""
    try:
        services.get()
    except SettingsError as error:
        log.error("%s", error)
        fault = f"faults: {len(error.faults)}; the log lists them"
        return json_response({"status": "unhealthy", "parts": {"settings": fault}}, 503)
    return json_response({"status": "healthy", "parts": {"settings": "ok"}})
