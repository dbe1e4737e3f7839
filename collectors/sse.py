"""Server-sent events (WHATWG HTML, section 9.2) in a whole body, read from the end, where the usage is."""

import re
from collections.abc import Iterator

DONE = b"[DONE]"
"""What OpenAI-compatible streams send as their last data."""


_FIELD = re.compile(rb"(?:\A|[\r\n])(?:data|event):")


def is_event_stream(body: bytes) -> bool:
    """True if `body` has a line that only an event stream has."""
    return _FIELD.search(body) is not None


def data_from_end(body: bytes) -> Iterator[bytes]:
    """The data of each event, the last event first; lines of one event are joined with LF as the standard says.

    bytes.splitlines splits on CR, LF and CRLF only, which is what the standard asks; str.splitlines would also split
    at U+2028 inside a JSON string. An event that the body ends in the middle of is given as far as it goes.
    """
    data: list[bytes] = []
    for line in reversed(body.splitlines()):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line and data:
            yield _joined(data)
            data = []
    if data:
        yield _joined(data)


def data_from_start(body: bytes) -> Iterator[bytes]:
    """The data of each event in the order of sending."""
    return reversed(list(data_from_end(body)))


def _joined(data_from_last: list[bytes]) -> bytes:
    return data_from_last[0] if len(data_from_last) == 1 else b"\n".join(reversed(data_from_last))
