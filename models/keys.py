"""Text as part of a Table Storage key, reversibly.

Keys may not hold `/ \\ # ?` or control characters and are at most 512 UTF-16 code units long; `%` and `'` are trouble
in URLs (learn.microsoft.com, "Understanding the Table Service data model"). `|` parts our own keys.
"""

import re
from typing import Final

MAX_ESCAPED_LENGTH: Final = 480
"""Leaves room in a key of 512 for the prefix and the suffix around the text."""

SURELY_SHORT: Final = MAX_ESCAPED_LENGTH // 12
"""So many characters take no more than that, whatever they are: four bytes of three."""

_SAFE = re.compile(r"[A-Za-z0-9._:@-]*", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9._:@-]", re.ASCII)
_ESCAPED = re.compile(r"(?:~[0-9A-F]{2})+")


def escape_key(text: str) -> str:
    """ASCII letters, digits and `._:@-` as they are, every other character as `~XX` per byte of its UTF-8."""
    if _SAFE.fullmatch(text):
        return text
    return _UNSAFE.sub(lambda match: "".join(f"~{byte:02X}" for byte in match[0].encode()), text)


def unescape_key(key: str) -> str:
    """The text that `escape_key` made `key` of."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[0].replace("~", "")).decode(), key)
