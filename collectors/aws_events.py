"""Amazon's binary event stream (`application/vnd.amazon.eventstream`), as a string in base64.

A message is: its length (4 bytes), the length of its headers (4), a CRC-32 of these eight bytes (4), the headers, the
payload, and a CRC-32 of all that (4); numbers are big-endian (smithy.io, "Amazon Event Stream Specification").
Bedrock's invoke wraps each chunk once more: `{"bytes": <base64 of the chunk>}`.
"""

import base64
import re
import struct
import zlib

from collectors.reading import loads

_PRELUDE = struct.Struct(">III")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{20,}={0,2}\s*", re.ASCII)


def payloads(text: bytes) -> list[bytes] | None:
    """The payloads of all whole messages in order, or None if `text` is no event stream in base64."""
    if not _BASE64.match(text) or b'"' in text:
        return None
    try:
        data = base64.b64decode(text[: len(text) // 4 * 4])  # a cut text ends within a group of four
    except ValueError:
        return None
    found = []
    start = 0
    while start + _PRELUDE.size <= len(data):
        length, headers, check = _PRELUDE.unpack_from(data, start)
        if zlib.crc32(data[start : start + 8]) != check or length < headers + 16:
            break
        if start + length > len(data):
            break
        found.append(_unwrapped(data[start + 12 + headers : start + length - 4]))
        start += length
    return found if found else None


def _unwrapped(payload: bytes) -> bytes:
    document = loads(payload)
    inner = document.get("bytes") if isinstance(document, dict) else None
    if not isinstance(inner, str):
        return payload
    try:
        return base64.b64decode(inner)
    except ValueError:
        return payload
