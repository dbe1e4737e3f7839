"""Who asks: what App Service authentication says of a signed-in caller, and the roles this API knows. Pure."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

READ_ALL: Final = "Usage.Read.All"
ADMIN: Final = "Usage.Admin"
WRITE: Final = "Usage.Write"
ROLES: Final = (READ_ALL, ADMIN, WRITE)
"""App roles of the app registration: see everything; see and edit everything; post events."""

PRINCIPAL_HEADER: Final = "x-ms-client-principal"

_CLAIMS: Final = "http://schemas.microsoft.com/identity/claims/"
_WS_CLAIMS: Final = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
_ROLE: Final = ("roles", f"{_WS_CLAIMS}role")
_APP: Final = ("appid", "azp")
_OBJECT: Final = ("oid", f"{_CLAIMS}objectidentifier")
_GROUP: Final = ("groups", f"{_WS_CLAIMS}groups")
_SCOPE: Final = ("scp", f"{_CLAIMS}scope")
"""Names of claims, in tokens and as App Service maps them."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`apps` are the caller's own, as the collector names them. `ids` are those under which it can be granted others:
    of its object, its groups and its application, in lower case. `name` is the one of them that is its own and stays:
    its object, else its application (else all of them)."""

    roles: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    name: str = ""

    @property
    def sees_all(self) -> bool:
        """Whether it sees every app."""
        return not self.roles.isdisjoint((READ_ALL, ADMIN))


KEY_HOLDER: Final = Caller(frozenset(ROLES))
"""Whoever has a function key, where nobody signs in."""


class _Claim(BaseModel):
    model_config = ConfigDict(strict=True)

    typ: str
    val: str


class _Principal(BaseModel):
    model_config = ConfigDict(strict=True)

    claims: list[_Claim]
    role_typ: str | None = None


def read_principal(header: str) -> Caller:
    """The caller of an `X-MS-CLIENT-PRINCIPAL` header. Raises ValueError for what is none.

    It is base64 of `{"claims": [{"typ", "val"}], "role_typ", ...}`, and only App Service sets it
    (learn.microsoft.com, "Work with user identities in Azure App Service authentication"). `role_typ` names the claim
    of roles; claims are not always mapped to it, so the names of the tokens count beside it.

    An application that acts for a user (a delegated token, which has scopes) does not lend the user its own numbers:
    else everybody with a public client such as the Azure CLI would see what all others used through it.
    """
    principal = _Principal.model_validate_json(base64.b64decode(header, validate=True))

    def values(*names: str | None) -> Iterable[str]:
        return (claim.val.strip() for claim in principal.claims if claim.typ in names and claim.val.strip())

    apps = frozenset() if any(values(*_SCOPE)) else frozenset(values(*_APP))
    objects = frozenset(values(*_OBJECT))
    ids = (*objects, *values(*_GROUP), *apps)
    return Caller(
        roles=frozenset(values(principal.role_typ or None, *_ROLE)),
        apps=apps,
        ids=frozenset(each.lower() for each in ids),
        name=",".join(sorted(objects or apps or ids)).lower(),
    )
