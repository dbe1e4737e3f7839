"""What is a secret: by the name that it stands under, or by how it looks. Better one too many than one kept."""

import re
from functools import lru_cache
from typing import Final

REMOVED: Final = "…(secret)"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS: Final = frozenset(
    {
        "auth", "authentication", "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "jwt",
        "key", "keys", "passphrase", "passwd", "password", "pwd", "sas", "secret", "secrets", "sig", "signature",
    }
)  # fmt: skip
_IN_ONE_WORD = re.compile(
    r"(?:api|access|account|app|client|encryption|function|functions|host|master|private|shared|signing|subscription)keys?$"
    r"|password|secret|connectionstring|authorization|credential|cookie|signature|token$"
)
_OF_A_COUNT: Final = frozenset({"count", "counts", "details", "limit", "usage"})
"""What follows `token` in the name of a count: `inputTextTokenCount`, `output_token_details`."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True for names such as `Ocp-Apim-Subscription-Key`, `appSubscriptionKey`, `access_token`; not for numbers of
    tokens."""
    words = [word.lower() for word in _WORDS.findall(name[:256])]
    if words and not _SECRET_WORDS.isdisjoint(words):
        return True
    if any(word == "token" and not _OF_A_COUNT.intersection(words[at + 1 : at + 2]) for at, word in enumerate(words)):
        return True
    return any(_IN_ONE_WORD.search(word) for word in words if word != "token") or "connectionstring" in "".join(words)


_NAMED = r"[\w.-]{0,64}(?:key|token|secret|passw(?:or)?d|pwd|signature|sig|sas|credential|cookie|authorization|code)"
_MEMBER = (
    r"\"[\w.-]{0,64}(?:key|token(?!s|[\w.-]?(?:count|details))|secret|passw(?:or)?d|pwd|signature|sas|credential|cookie"
    r"|auth(?!or))[\w.-]{0,16}\\{0,8}\"\s{0,8}:\s{0,8}"
)
_SECRETS: Final = re.compile(
    # what says of itself that it is one
    r"(?P<scheme>\b(?:bearer|basic|sharedaccesssignature)[ \t]{1,8})[\w.~+/=:%&-]+"
    r"|\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?"  # JSON Web Token
    r"|\b(?:sk|rk|pk)-[\w-]{8,}|\bAKIA[0-9A-Z]{12,}|\bAIza[\w-]{20,}|\bgh[opsu]_\w{20,}|\bxox[abp]-[\w-]{8,}"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^-]*(?:-----END[^-]*-----)?"
    # what its name says it of: in the query of a URL or a connection string, as a member of JSON, in a header
    rf"|(?P<query>(?<![\w.-]){_NAMED}=)[^&;\s\"'<>]+"
    rf"|(?P<container>{_MEMBER}[\[{{])[\s\S]*"  # where it ends cannot be told
    rf"|(?P<member>{_MEMBER}\\{{0,8}}\")(?:[^\"\\]|\\(?!\"))+"
    rf"|(?P<number>{_MEMBER})[0-9][^\s,}}\]]*"
    rf"|(?P<header>^[ \t]{{0,8}}{_NAMED}[ \t]{{0,8}}:)[^\r\n]+",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)
"""Every repetition before a fixed sign is bounded, so that the time is linear in the text."""


def is_secret_value(text: str) -> bool:
    """True if there is a secret in `text` that shows by itself."""
    return _SECRETS.search(text) is not None


def without_secrets(text: str) -> str:
    """`text` with `REMOVED` for each secret in it that shows by itself."""
    return _SECRETS.sub(_named, text)


def _named(found: re.Match[str]) -> str:
    return next((name for name in found.groups() if name), "") + REMOVED
