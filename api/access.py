"""Who may do what: docs/security.md. What the table does not name is refused."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

import services
from api.response import Request
from models.caller import ADMIN, KEY_HOLDER, PRINCIPAL_HEADER, READ_ALL, WRITE, Caller, read_principal
from models.errors import QueryError, SettingsError
from models.registry import readers_of
from services import Services

log = logging.getLogger("usage_collector.api")


class Need(Enum):
    """What a request needs: nothing; a caller, who sees the apps it may see; or one of some roles."""

    NOTHING = None
    APPS = ()
    READ_ALL = (READ_ALL, ADMIN)
    WRITE = (WRITE, ADMIN)
    ADMIN = (ADMIN,)


NEEDS: Final[Mapping[str, Mapping[str, Need]]] = {
    "usage": {"GET": Need.APPS},
    "openai_completions": {"GET": Need.APPS},
    "openai_embeddings": {"GET": Need.APPS},
    "openai_costs": {"GET": Need.APPS},
    "calls": {"GET": Need.APPS},
    "call": {"GET": Need.APPS},
    "apps": {"GET": Need.APPS},
    "models": {"GET": Need.APPS},
    "app_entry": {"GET": Need.APPS, "PUT": Need.ADMIN},
    "model_entry": {"GET": Need.READ_ALL, "PUT": Need.ADMIN},
    "prices": {"GET": Need.APPS},
    "price": {"GET": Need.READ_ALL, "PUT": Need.ADMIN, "DELETE": Need.ADMIN},
    "budgets": {"GET": Need.APPS},
    "budget": {"GET": Need.APPS, "PUT": Need.ADMIN, "DELETE": Need.ADMIN},
    "budget_status": {"GET": Need.APPS},
    "events": {"POST": Need.WRITE},
    "dead_letters": {"GET": Need.ADMIN},
    "dead_letter": {"GET": Need.ADMIN, "DELETE": Need.ADMIN},
    "redrive": {"POST": Need.ADMIN},
    "alerts": {"GET": Need.APPS},
    "alert_test": {"POST": Need.ADMIN},
    "alert_retry": {"POST": Need.ADMIN},
    "health": {"GET": Need.NOTHING},
    "metrics": {"GET": Need.READ_ALL},
    "openapi": {"GET": Need.NOTHING},
    "docs": {"GET": Need.NOTHING},
    "dashboard": {"GET": Need.NOTHING},
    "dashboard_file": {"GET": Need.NOTHING},
}
"""By endpoint and method. An endpoint with `Need.APPS` answers of `Request.allowed` only."""


async def admitted(endpoint: str, request: Request) -> Request:
    """The request, with the apps that its caller may see. Raises QueryError (401, 403), SettingsError, StoreBusy."""
    need = NEEDS.get(endpoint, {}).get(request.method)
    if need is None:
        log.error("%s %s: api/access.py does not say who may", request.method, endpoint)
        raise QueryError("forbidden", "nobody may do this", None, 403)
    if need is Need.NOTHING:
        return request
    caller = require(need, request)
    return replace(request, allowed=await _allowed(caller), caller=None if caller.sees_all else caller.name)


def require(need: Need, request: Request) -> Caller:
    """Who asks, if that is enough. Raises QueryError (401, 403), SettingsError."""
    caller = _caller(request.headers, services.get())
    roles = need.value or ()
    if roles and caller.roles.isdisjoint(roles):
        raise QueryError("forbidden", f"this needs the role {' or '.join(roles)}", None, 403)
    return caller


def has(need: Need, request: Request) -> bool:
    """Whether one who was admitted has also what this needs."""
    try:
        require(need, request)
    except QueryError:
        return False
    return True


def refuse_unprotected(found: Services) -> None:
    """Raises SettingsError if callers are to sign in, and the platform lets everyone pass."""
    if found.settings.authentication == "app_service" and not found.settings.app_service_authenticates:
        message = "AUTHENTICATION is app_service, and WEBSITE_AUTH_ENABLED is not true: expected App Service "
        raise SettingsError([f"{message}authentication to be on, which sets it"])


def _caller(headers: Mapping[str, str], found: Services) -> Caller:
    refuse_unprotected(found)
    if found.settings.authentication == "function_key":
        return KEY_HOLDER
    header = headers.get(PRINCIPAL_HEADER)
    if header is None:
        raise QueryError("unauthenticated", "sign in: this needs a token of Microsoft Entra ID", None, 401)
    try:
        return read_principal(header)
    except ValueError:  # its content may be private
        message = "expected base64 of a JSON object with claims, as App Service sends it"
        raise QueryError("unauthenticated", message, PRINCIPAL_HEADER, 401) from None


async def _allowed(caller: Caller) -> frozenset[str] | None:
    """The apps that it may see, None for all: its own, and those whose entries name it among their readers."""
    if caller.sees_all:
        return None
    entries = await services.get().apps.all() if caller.ids else []
    return caller.apps | {entry.name for entry in entries if not caller.ids.isdisjoint(readers_of(entry.columns))}
