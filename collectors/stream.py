"""A streamed response: server-sent events, read from the end, where the usage is.

The last usage that is not null is the call's: providers that repeat it send running totals, never parts. A running
total is believed only where the stream shows its end.
"""

import re
from collections.abc import Mapping
from typing import Any

from collectors import sse
from collectors.fragment import read_fragment
from collectors.reading import BodyReading, loads, text_of
from collectors.shapes import recognise
from models.usage import MissingReason


def read_stream(body: bytes, *, is_tail: bool) -> BodyReading:
    """`is_tail` if the body is only the last part of the response: then its first line may be half a chunk."""
    ended = False
    if b'"usage"' in body:
        for data in sse.data_from_end(body):
            chunk = loads(data) if b'"usage"' in data else None
            if isinstance(chunk, dict):
                reading = _usage_of_chunk(chunk, body)
                if reading is not None:
                    if not ended and _is_running_total(chunk, body):
                        break
                    return reading
            ended = ended or _is_end(data)
        else:
            if is_tail and ended:  # the tail may start inside the chunk with the usage
                rest = read_fragment(body.splitlines()[0], is_tail=True)
                if rest.usage is not None and _is_whole(rest.usage):
                    return rest._replace(model=rest.model or _stream_model(body))
    return BodyReading(None, _stream_model(body), _why_no_usage(body))


def _is_whole(usage: Mapping[str, Any]) -> bool:
    """False where it may be Anthropic's update of what message_start said."""
    stated = {name for name, count in usage.items() if count is not None}
    return not stated.isdisjoint({"prompt_tokens", "total_tokens"}) or stated >= _WHOLE_PROMPT


def _is_running_total(chunk: Mapping[str, Any], body: bytes) -> bool:
    """True for a chunk that carries usage while the answer goes on: only the last such chunk tells the whole."""
    if chunk.get("type") == "message_delta":
        delta = chunk.get("delta")
        return not (isinstance(delta, dict) and delta.get("stop_reason"))
    choices = chunk.get("choices")
    return isinstance(choices, list) and bool(choices) and not _all_choices_finished(body)


def _all_choices_finished(body: bytes) -> bool:
    finished: dict[str, bool] = {}
    for data in sse.data_from_start(body):
        chunk = loads(data)
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = str(choice.get("index"))
                finished[index] = finished.get(index, False) or bool(choice.get("finish_reason"))
    return all(finished.values())


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
    return BodyReading(usage, text_of(holder.get("model")) or _stream_model(body), None)


def _anthropic_usage(delta: Mapping[str, Any], body: bytes) -> BodyReading | None:
    """message_start gives the prompt's counts, message_delta then updates them: set what it states, never add."""
    update = delta.get("usage")
    if not isinstance(update, dict) or update.get("output_tokens") is None:
        return None
    start: Mapping[str, Any] = {}
    for data in sse.data_from_start(body):
        if b"message_start" in data:
            chunk = loads(data)
            message = chunk.get("message") if isinstance(chunk, dict) else None
            start = message if isinstance(message, dict) else {}
            break
    opening = start.get("usage")
    stated = {name: count for name, count in update.items() if count is not None}
    usage = {**opening, **stated} if isinstance(opening, dict) else stated
    if usage.get("input_tokens") is None or not (isinstance(opening, dict) or stated.keys() >= _WHOLE_PROMPT):
        # the tail of a stream that lost its start, so the prompt is not known
        return BodyReading(None, None, "truncated")
    return BodyReading(usage, text_of(start.get("model")), None)


_WHOLE_PROMPT = frozenset({"input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"})
_FINISHED = re.compile(
    rb'"(finish|stop)_reason"\s*:\s*"|"type"\s*:\s*"(message_stop|response\.(completed|incomplete))"'
)
_USAGE_NULL = re.compile(rb'"usage"\s*:\s*null')


def _is_end(data: bytes) -> bool:
    return data.strip() == sse.DONE or (_FINISHED.search(data) is not None and loads(data) is not None)


def _why_no_usage(body: bytes) -> MissingReason:
    done = False
    for data in sse.data_from_end(body):
        if data.strip() == sse.DONE:
            done = True
            continue
        if done and b'"error"' not in data:
            return "not_requested"
        if _FINISHED.search(data) is not None:
            # Chunks say "usage": null where usage was asked for: then the chunk with the numbers was cut off.
            return "truncated" if _USAGE_NULL.search(body) else "not_requested"
        if b'"error"' in data:
            chunk = loads(data)
            if isinstance(chunk, dict) and (chunk.get("error") or chunk.get("type") in ("error", "response.failed")):
                return "error_response"
    return "truncated"


def _stream_model(body: bytes) -> str | None:
    """The first model named at a chunk's top or in its response; Azure's first chunk has an empty one."""
    for data in sse.data_from_start(body):
        if b'"model"' not in data:
            continue
        chunk = loads(data)
        if not isinstance(chunk, dict):
            continue
        for holder in (chunk, chunk.get("response"), chunk.get("message")):
            model = text_of(holder.get("model")) if isinstance(holder, dict) else None
            if model:
                return model
    return None
