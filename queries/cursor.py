"""Where a page ended, as text that only we can make. Pure.

A cursor is no permission: it holds the range and the position of the last row, and every other part of the question
comes with the request, which is judged as any other. It is bound to its question by a digest, and signed, so that it
can be used neither with another question nor by another caller. What this one may see is found out for every page.
"""

import base64
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any, Final, NamedTuple

from models.errors import QueryError
from queries.question import PLATFORM_PARAMETERS, Parameters

UNBOUND: Final = ("cursor", "limit", "format", *PLATFORM_PARAMETERS)
"""What may change from page to page."""
_SIGNATURE_BYTES: Final = 16


class Place(NamedTuple):
    """The range that the first page answered, and the position of a page's last row."""

    start: datetime
    end: datetime
    after: list[Any]


class Cursors:
    """The cursors of one question. `caller` is who asks it, None for anybody who sees all apps."""

    def __init__(self, key: bytes, endpoint: str, parameters: Parameters, caller: str | None):
        bound = sorted((name, list(values)) for name, values in parameters.items() if name not in UNBOUND)
        self._key = key
        self._question = hashlib.sha256(json.dumps([endpoint, bound, caller]).encode()).hexdigest()[:32]

    def seal(self, place: Place) -> str:
        """The cursor for the page after `place`."""
        held = [place.start.isoformat(), place.end.isoformat(), place.after]
        return _text(self._signature(content := json.dumps(held, separators=(",", ":")).encode()) + content)

    def open(self, cursor: str, name: str = "cursor") -> Place:
        """The place that `seal` was given. Raises QueryError for every other text, of the parameter `name`."""
        try:
            sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except ValueError:
            sealed = b""
        signature, content = sealed[:_SIGNATURE_BYTES], sealed[_SIGNATURE_BYTES:]
        # Base64 has several texts for the same bytes; only the one that was given is taken.
        if _text(sealed) != cursor or not hmac.compare_digest(signature, self._signature(content)):
            expected = f"expected next_{name} of an answer, with the other parameters as they were"
            raise QueryError("invalid_cursor", f"{name} does not belong to this question; {expected}", name)
        start, end, after = json.loads(content)
        return Place(datetime.fromisoformat(start), datetime.fromisoformat(end), after)

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._key, self._question.encode() + content, "sha256")[:_SIGNATURE_BYTES]


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")
