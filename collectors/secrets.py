"""What is a secret: by the name that it stands under, or by how it looks. Better one too many than one kept."""

import re
from functools import lru_cache
from typing import Final

REMOVED: Final = "…(secret)"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS: Final = frozenset(
    {
        "assertion", "auth", "authentication", "authorization", "authz", "bearer", "cookie", "cookies",
        "credential", "credentials", "jwt",
        "key", "keys", "otp", "pass", "passcode", "passphrase", "passwd", "password", "pwd", "sas", "secret", "secrets",
        "sig", "signature",
    }
)  # fmt: skip
_IN_ONE_WORD = re.compile(
    r"(?<!mon)keys?$|^sas(?:ur[il])?$|password|secret|connectionstring|authorization|credential|cookie|signature|token$"
)
_OF_A_COUNT: Final = frozenset({"count", "counts", "details", "limit", "usage"})
"""What follows `token` in the name of a count: `inputTextTokenCount`, `output_token_details`."""
_OF_SECRET_TOKENS: Final = frozenset({"access", "api", "auth", "bearer", "refresh", "session"})
"""What stands before `tokens` where these are no counts."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True for names such as `Ocp-Apim-Subscription-Key`, `appSubscriptionKey`, `access_token`; not for numbers of
    tokens."""
    words = [word.lower() for word in _WORDS.findall(name[:256])]
    if words and not _SECRET_WORDS.isdisjoint(words):
        return True
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if (word == "token" and after not in _OF_A_COUNT) or (word == "tokens" and before in _OF_SECRET_TOKENS):
            return True
    together = "".join(words)
    if "connectionstring" in together or "clientprincipal" in together:
        return True
    return any(_IN_ONE_WORD.search(word) for word in words if word != "token")


_NAMED = r"[\w.-]{0,64}(?:key|token|secret|passw(?:or)?d|pwd|signature|sig|sas|credential|cookie|authorization)"
_MEMBER = (
    r"\"[\w.-]{0,64}(?:key|token(?!s|[\w.-]?(?:count|details))|secret|passw(?:or)?d|pwd|signature|sas|credential|cookie"
    r"|auth(?!or))[\w.-]{0,16}\\{0,8}\"\s{0,8}:\s{0,8}"
)
_SECRETS: Final = re.compile(
    # what says of itself that it is one
    r"(?P<scheme>\b(?:bearer|basic|sharedaccesssignature|apikey)[ \t]{1,8})[\w.~+/=:%&-]+"
    r"|\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?"  # JSON Web Token
    r"|\b(?:sk|rk|pk)[-_][\w-]{8,}|\b(?:AKIA|ASIA)[0-9A-Z]{12,}|\bAIza[\w-]{20,}|\bya29\.[\w.-]{10,}"
    r"|\bgh[oprsu]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abp]-[\w-]{8,}"
    r"|\b(?:gsk_|hf_|xai-|pplx-|nvapi-)[\w-]{20,}|\b\w{52}JQQJ99\w{26,}"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^-]*(?:-----END[^-]*-----)?"
    r"|(?P<user>\b[a-z][a-z0-9+.-]{1,15}://[^\s/?#@:\"']{0,128}:)[^\s/?#@\"']{1,256}(?=@)"
    r"|(?P<login>\b[a-z][a-z0-9+.-]{1,15}://)[^\s/?#@:\"']{1,256}(?=@)"
    r"|(?P<option>(?<!\S)(?:-u|--user)[ \t=]{1,4}['\"]?[^\s:'\"]{0,128}:)[^\s'\"]+"
    # what its name says it of: in the query of a URL or a connection string, as a member of JSON, in a header, in XML
    rf"|(?P<attribute>\b(?:key|name)\s{{0,4}}=\s{{0,4}}['\"]{_NAMED}['\"]\s{{1,8}}value\s{{0,4}}=\s{{0,4}}['\"])[^'\"]+"
    rf"|(?P<encoded>%(?:3F|26){_NAMED}%3D)[^&;\s\"'<>]+"
    rf"|(?P<query>(?<![\w.-])(?:{_NAMED}|code)=)[^&;\s\"'<>]+"
    rf"|(?P<container>{_MEMBER}[\[{{])[\s\S]*"  # where it ends cannot be told
    rf"|(?P<member>{_MEMBER}\\{{0,8}}\")(?:[^\"\\]|\\(?!\"))+"
    rf"|(?P<number>{_MEMBER})[0-9][^\s,}}\]]*"
    rf"|(?P<header>^[ \t]{{0,8}}(?:{_NAMED}|[\w.-]{{0,64}}auth)[ \t]{{0,8}}:(?:[ \t]{{0,8}}\r?\n[ \t]{{1,8}})?)[^\r\n]+"
    rf"|(?P<inside>(?<![\w.-]){_NAMED}['\"]?[ \t]{{0,8}}[:=][ \t]{{0,8}}['\"]?)[^\s\"'\\&;,<>]+"
    rf"|(?P<element><(?:[\w-]{{1,32}}:)?{_NAMED}(?:[ \t][^<>]{{0,128}})?>)[^<]+",
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
