"""Shared access signatures: the token a client derives from its connection string's key."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote


def is_valid(token: str, keys: Mapping[str, str], now: float) -> bool:
    """Whether `token` is signed with one of `keys` (by name) and has not expired.

    The resource the token is for is covered by the signature but not compared with the entity it is used on.
    """
    scheme, _, rest = token.partition(" ")
    fields = dict(part.partition("=")[::2] for part in rest.split("&"))
    if scheme != "SharedAccessSignature" or not {"sr", "sig", "se", "skn"} <= fields.keys():
        return False
    key = keys.get(unquote(fields["skn"]))
    if key is None:
        return False
    expected = hmac.new(key.encode(), f"{fields['sr']}\n{fields['se']}".encode(), hashlib.sha256).digest()
    try:
        given = base64.b64decode(unquote(fields["sig"]), validate=True)
        return hmac.compare_digest(given, expected) and int(fields["se"]) > now
    except (binascii.Error, ValueError):
        return False
