"""Server-sent events (WHATWG HTML, section 9.2): the data of a body's events, from its start or from its end."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

DONE = b"[DONE]"
"""What OpenAI-compatible streams send as their last data."""

_FIELD = re.compile(rb"(?:\A|[\r\n])(?:data|event):")
_FIRST_WINDOW: Final = 1024
"""Bytes that are split into lines at once, and each time twice as many: the usage is in the first for most streams."""


def is_event_stream(body: bytes) -> bool:
    """True if `body` has a line that only an event stream has."""
    return _FIELD.search(body) is not None


class EventStream:
    """The data of each event, in order or reversed; no more of the body is split into lines than is asked for.

    Lines of one event are joined with LF as the standard says. An event that the body ends in the middle of is given as
    far as it goes.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body

    def __iter__(self) -> Iterator[bytes]:
        return _data(_lines(self.body), 1)

    def __reversed__(self) -> Iterator[bytes]:
        return _data(_lines_from_end(self.body), -1)


def _data(lines: Iterable[bytes], step: int) -> Iterator[bytes]:
    """`step` is 1 for lines in order, -1 for lines from the end."""
    event: list[bytes] = []
    for line in lines:
        if line.startswith(b"data:"):
            event.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line and event:
            yield event[0] if len(event) == 1 else b"\n".join(event[::step])
            event = []
    if event:
        yield event[0] if len(event) == 1 else b"\n".join(event[::step])


# A window ends behind an LF, so that it holds whole lines and no CRLF is torn; a body that has only CRs is one window.
# bytes.splitlines splits on CR, LF and CRLF only, which is what the standard asks; str.splitlines would also split at
# U+2028 inside a JSON string.


def _lines(body: bytes) -> Iterator[bytes]:
    start, window = 0, _FIRST_WINDOW
    while start < len(body):
        end = body.find(b"\n", start + window) + 1 or len(body)
        yield from body[start:end].splitlines()
        start, window = end, 2 * window


def _lines_from_end(body: bytes) -> Iterator[bytes]:
    end, window = len(body), _FIRST_WINDOW
    while end:
        start = body.rfind(b"\n", 0, max(0, end - window)) + 1
        yield from reversed(body[start:end].splitlines())
        end, window = start, 2 * window
