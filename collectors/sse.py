"""Server-sent events (WHATWG HTML, section 9.2): the data of a whole body's events."""

import re
from collections.abc import Iterator

DONE = b"[DONE]"
"""What OpenAI-compatible streams send as their last data."""

_FIELD = re.compile(rb"(?:\A|[\r\n])(?:data|event):")


def is_event_stream(body: bytes) -> bool:
    """True if `body` has a line that only an event stream has."""
    return _FIELD.search(body) is not None


def data(body: bytes) -> Iterator[bytes]:
    """The data of each event in order; lines of one event are joined with LF as the standard says.

    bytes.splitlines splits on CR, LF and CRLF only, which is what the standard asks; str.splitlines would also split
    at U+2028 inside a JSON string. An event that the body ends in the middle of is given as far as it goes.
    """
    lines: list[bytes] = []
    for line in body.splitlines():
        if line.startswith(b"data:"):
            lines.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line and lines:
            yield lines[0] if len(lines) == 1 else b"\n".join(lines)
            lines = []
    if lines:
        yield lines[0] if len(lines) == 1 else b"\n".join(lines)
