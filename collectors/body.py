"""What a provider's response body says: its usage, its model, and if it states no usage, why.

The body is JSON, or a stream in one of the framings below, whole or cut: at its end (a message truncated on the way,
cut.py) or at its start (only the tail was sent, fragment.py). A cut body never gives a count that the whole one would
not give, and one that holds the usage gives it.

    server-sent events     sse.py
    one JSON value a line  Ollama, Cohere v1
    one JSON array         Gemini without alt=sse
    Amazon's event stream  aws_events.py, in base64
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from collectors import aws_events, sse
from collectors.cut import MARK, is_cut, loads_rest
from collectors.fragment import read_fragment
from collectors.places import find_model, find_usage
from collectors.reading import BodyReading, loads
from collectors.skim import skim
from collectors.stream import read_chunks


def read_body(text: str, *, is_tail: bool) -> BodyReading:
    """Read a whole body, or with `is_tail` the last part of one."""
    body = text.encode("utf-8", "replace").strip(b"\xef\xbb\xbf \t\r\n")
    if not body:
        return BodyReading(None, None, "unrecognised")
    if body[0] in b"{[" and not is_tail:
        return _read_json(body)
    if sse.is_event_stream(body):
        rest_of_first = re.split(rb"[\r\n]", body, maxsplit=1)[0] if is_tail else None
        return read_chunks(sse.EventStream(body), rest_of_first=rest_of_first)
    payloads = aws_events.payloads(body)
    if payloads is not None:
        return read_chunks(payloads)
    if is_tail:
        lines = _lines(body)
        if lines[1:] and _is_object(lines[-1]):
            return read_chunks(lines, rest_of_first=lines[0])
        return read_fragment(body)
    return BodyReading(None, None, "unrecognised")


def _read_json(body: bytes) -> BodyReading:
    document = skim(body) or loads(body)
    if document is None:
        lines = _lines(body)
        if lines[1:] and _is_object(lines[0]):
            return read_chunks(lines)
        document = loads_rest(body)
        if document is None:
            return BodyReading(None, None, "truncated")
    if chunks := _objects(document):
        if is_cut(document):  # others may have followed
            chunks = [{MARK: None, **chunk} for chunk in chunks]
        return read_chunks([to_json(chunk) for chunk in chunks])
    if not isinstance(document, dict):
        return BodyReading(None, None, "unrecognised")
    model = find_model(document)
    cut = is_cut(document)
    if _is_not_metered(document):
        return BodyReading(None, model, "truncated" if cut else "not_metered")
    usage = find_usage(document)
    if usage is not None:
        return BodyReading(usage, model, None)
    if document.get("error") is not None:
        return BodyReading(None, model, "error_response")
    return BodyReading(None, model, "truncated" if cut else "unrecognised")


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.splitlines() if line.strip()]


def _is_object(line: bytes) -> bool:
    return isinstance(loads(line), dict)


_NOT_METERED_OBJECTS = frozenset(
    {
        *("assistant", "batch", "conversation", "eval.run", "file", "fine_tuning.job", "model", "thread"),
        *("thread.message", "upload", "vector_store"),
    }
)
_COUNT_TOKENS = frozenset({"input_tokens", "object", "context_management"})


def _is_not_metered(document: Mapping[str, Any]) -> bool:
    """Operations that use no tokens (lists of models, files and the like, moderations, counting tokens), or are billed
    by something else, whatever tokens they state (rerank, images that are billed each, batches call by call). What is
    asked for here is what skim.py leaves in."""
    kind = document.get("object")
    if isinstance(kind, str) and kind in _NOT_METERED_OBJECTS:
        return True
    if document.get("type") == "message_batch" or document.keys() == {"inputTokens"}:
        return True
    if "totalTokens" in document or ("input_tokens" in document and document.keys() <= _COUNT_TOKENS):
        return True
    if str(document.get("id", "")).startswith("modr-"):
        return True
    data, results = _objects(document.get("data")), _objects(document.get("results"))
    if (data or results) and any("relevance_score" in item for item in (*data, *results)):
        return True
    if document.get("usage") is not None:
        return False
    if any("url" in item or "b64_json" in item for item in data):
        return True
    return kind == "list" and not any(item.get("object") == "embedding" for item in data)


def _objects(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
