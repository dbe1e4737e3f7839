"""What a provider's response body says: its usage, its model, and if it states no usage, why.

The body may be JSON or server-sent events, whole or cut: at its end (a message truncated on the way) or at its start
(only the tail was sent). A cut body never gives a count that the whole one would not give.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json

from collectors import sse
from collectors.shapes import recognise
from models.usage import MissingReason


class BodyReading(NamedTuple):
    """`usage` is the provider's own usage object, None if there is none; then `missing_reason` says why."""

    usage: Mapping[str, Any] | None
    model: str | None
    missing_reason: MissingReason | None


def read_body(text: str, *, is_tail: bool) -> BodyReading:
    """Read a whole body, or with `is_tail` the last part of one."""
    body = text.encode("utf-8", "replace").strip(b"\xef\xbb\xbf \t\r\n")
    if not body:
        return BodyReading(None, None, "unrecognised")
    if body[0] in b"{[" and not is_tail:
        return _read_json(body)
    if sse.is_event_stream(body):
        return _read_stream(body)
    if is_tail:
        return _read_fragment(body)
    return BodyReading(None, None, "unrecognised")


# --- JSON ---------------------------------------------------------------------------------------------------------


def _read_json(body: bytes) -> BodyReading:
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        return _read_fragment(body)
    if not isinstance(document, dict):
        return BodyReading(None, None, "unrecognised")
    model = _text(document.get("model"))
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
    return str(document.get("id", "")).startswith("modr-") or document.get("object") in _NOT_METERED_OBJECTS


_NOT_METERED_OBJECTS = frozenset({"model", "file", "thread", "thread.message", "assistant", "vector_store"})
_USAGE_KEY = re.compile(r'"usage"\s*:\s*(?=\{)')
_MODEL = re.compile(r'"model"\s*:\s*("(?:[^"\\]|\\.)*")')


def _read_fragment(body: bytes) -> BodyReading:
    """A JSON document that lost its end or its start: only a usage object that is there as a whole is believed."""
    text = body.decode("utf-8", "replace")
    model = _MODEL.search(text)
    name = _text(_loads(model[1])) if model else None
    for key in reversed(list(_USAGE_KEY.finditer(text))):
        try:
            usage, _ = json.JSONDecoder().raw_decode(text, key.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(usage, dict) and recognise(usage) is not None:
            return BodyReading(usage, name, None)
    return BodyReading(None, name, "truncated")


# --- server-sent events -------------------------------------------------------------------------------------------


def _read_stream(body: bytes) -> BodyReading:
    """The last usage of a stream that is not null: providers that repeat it send running totals, never parts."""
    ended = False
    if b'"usage"' in body:
        for data in sse.data_from_end(body):
            chunk = _loads(data) if b'"usage"' in data else None
            if isinstance(chunk, dict):
                reading = _usage_of_chunk(chunk, body)
                if reading is not None:
                    if _is_running_total(chunk) and not ended:
                        break
                    return reading
            ended = ended or _is_end(data)
    return BodyReading(None, _stream_model(body), _why_no_usage(body))


def _is_running_total(chunk: Mapping[str, Any]) -> bool:
    """True for a chunk that carries usage beside a choice that goes on: only the last such chunk tells the whole."""
    choices = chunk.get("choices")
    return (
        isinstance(choices, list)
        and bool(choices)
        and not any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)
    )


def _usage_of_chunk(chunk: Mapping[str, Any], body: bytes) -> BodyReading | None:
    if chunk.get("type") == "message_delta":
        return _anthropic_usage(chunk, body)
    holder: Any = chunk
    if "usage" not in chunk:
        holder = chunk.get("response")  # the responses API: response.completed, response.incomplete, response.failed
    if not isinstance(holder, dict):
        return None
    usage = holder.get("usage")
    if not isinstance(usage, dict) or recognise(usage) is None:
        return None
    return BodyReading(usage, _text(holder.get("model")) or _stream_model(body), None)


def _anthropic_usage(delta: Mapping[str, Any], body: bytes) -> BodyReading | None:
    """message_start gives the prompt's counts, message_delta then updates them: set what it states, never add."""
    update = delta.get("usage")
    if not isinstance(update, dict):
        return None
    start: Mapping[str, Any] = {}
    for data in sse.data_from_start(body):
        if b"message_start" in data:
            chunk = _loads(data)
            message = chunk.get("message") if isinstance(chunk, dict) else None
            start = message if isinstance(message, dict) else {}
            break
    opening = start.get("usage")
    usage = {
        **(opening if isinstance(opening, dict) else {}),
        **{name: count for name, count in update.items() if count is not None},
    }
    if usage.get("input_tokens") is None:  # the tail of a stream that lost its start, so the prompt is not known
        return BodyReading(None, None, "truncated")
    return BodyReading(usage, _text(start.get("model")), None)


_FINISHED = re.compile(
    rb'"(finish|stop)_reason"\s*:\s*"|"type"\s*:\s*"(message_stop|response\.(completed|incomplete))"'
)
_USAGE_NULL = re.compile(rb'"usage"\s*:\s*null')


def _is_end(data: bytes) -> bool:
    return data.strip() == sse.DONE or _FINISHED.search(data) is not None


def _why_no_usage(body: bytes) -> MissingReason:
    for data in sse.data_from_end(body):
        if data.strip() == sse.DONE:
            return "not_requested"
        if _FINISHED.search(data) is not None:
            # Chunks say "usage": null where usage was asked for: then the chunk with the numbers was cut off.
            return "truncated" if _USAGE_NULL.search(body) else "not_requested"
        if b'"error"' in data:
            chunk = _loads(data)
            if isinstance(chunk, dict) and (chunk.get("error") or chunk.get("type") in ("error", "response.failed")):
                return "error_response"
    return "truncated"


def _stream_model(body: bytes) -> str | None:
    """The first model named at a chunk's top or in its response; Azure's first chunk has an empty one."""
    for data in sse.data_from_start(body):
        if b'"model"' not in data:
            continue
        chunk = _loads(data)
        if not isinstance(chunk, dict):
            continue
        for holder in (chunk, chunk.get("response"), chunk.get("message")):
            model = _text(holder.get("model")) if isinstance(holder, dict) else None
            if model:
                return model
    return None


# --- helpers ------------------------------------------------------------------------------------------------------


def _loads(data: bytes | str) -> Any:
    """The JSON value, or None if it is not whole."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
