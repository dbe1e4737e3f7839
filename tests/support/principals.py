"""The header in which App Service says who signed in."""

import base64
import json
from collections.abc import Iterable

SIGN_IN = {"AUTHENTICATION": "app_service", "WEBSITE_AUTH_ENABLED": "True"}
"""The settings of an app whose callers sign in."""
ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
HEADER = "X-MS-CLIENT-PRINCIPAL"


def encoded(principal: object) -> dict[str, str]:
    """Anything as the header; bytes as they are."""
    content = principal if isinstance(principal, bytes) else json.dumps(principal).encode()
    return {HEADER: base64.b64encode(content).decode()}


def signed_in(*roles: str, app: str | None = None, ids: Iterable[str] = ()) -> dict[str, str]:
    """The header of an application with the id `app`, or of a user with the object and group `ids`."""
    claims = [("appid", app)] if app is not None else []
    claims += [("http://schemas.microsoft.com/identity/claims/objectidentifier", each) for each in ids]
    claims += [("name", "Ann"), *(("roles", role) for role in roles)]
    told = [{"typ": name, "val": value} for name, value in claims]
    return encoded({"auth_typ": "aad", "name_typ": "name", "role_typ": ROLE, "claims": told})
