"""What a provider's response body says: its usage, its model, and if it states no usage, why.

The body may be JSON or server-sent events, whole or cut: at its end (a message truncated on the way) or at its start
(only the tail was sent). A cut body never gives a count that the whole one would not give.
"""

from collections.abc import Mapping
from typing import Any

from collectors import sse
from collectors.fragment import read_fragment
from collectors.reading import BodyReading, loads, text_of
from collectors.shapes import recognise
from collectors.stream import read_stream


def read_body(text: str, *, is_tail: bool) -> BodyReading:
    """Read a whole body, or with `is_tail` the last part of one."""
    body = text.encode("utf-8", "replace").strip(b"\xef\xbb\xbf \t\r\n")
    if not body:
        return BodyReading(None, None, "unrecognised")
    if body[0] in b"{[" and not is_tail:
        return _read_json(body)
    if sse.is_event_stream(body):
        return read_stream(body, is_tail=is_tail)
    if is_tail:
        return read_fragment(body, is_tail=True)
    return BodyReading(None, None, "unrecognised")


def _read_json(body: bytes) -> BodyReading:
    document = loads(body)
    if document is None:
        return read_fragment(body, is_tail=False)
    if not isinstance(document, dict):
        return BodyReading(None, None, "unrecognised")
    model = text_of(document.get("model"))
    usage = document.get("usage")
    if isinstance(usage, dict) and recognise(usage) is not None:
        return BodyReading(usage, model, None)
    if document.get("error") is not None:
        return BodyReading(None, model, "error_response")
    return BodyReading(None, model, "not_metered" if _is_not_metered(document) else "unrecognised")


def _is_not_metered(document: Mapping[str, Any]) -> bool:
    """Operations that use no tokens: lists of models, files and the like, moderations."""
    if document.get("object") == "list":
        data = document.get("data")
        return isinstance(data, list) and not any(
            isinstance(item, dict) and item.get("object") == "embedding" for item in data
        )
    kind = document.get("object")
    return str(document.get("id", "")).startswith("modr-") or (isinstance(kind, str) and kind in _NOT_METERED_OBJECTS)


_NOT_METERED_OBJECTS = frozenset({"model", "file", "thread", "thread.message", "assistant", "vector_store"})
