"""A streamed response: its chunks, read from the end, where the usage is.

The last usage that is not null is the call's: providers that repeat it send running totals, never parts. A running
total is believed only where the stream shows its end. Of a stream that was cut, the last chunk is read as far as it
goes.
"""

import re
from collections.abc import Iterable, Mapping, Reversible
from decimal import Decimal
from functools import reduce
from itertools import islice
from typing import Any, Final

from pydantic_core import to_json

from collectors import sse
from collectors.cut import is_cut, loads_rest
from collectors.fragment import read_fragment
from collectors.places import PLACES, find_model, find_usage
from collectors.reading import BodyReading, loads, text_of
from collectors.shapes import LIKE_ANTHROPICS, SHAPES, TOP_LEVEL, recognise
from models.usage import MissingReason

_NAMES = {place.path[-1] for place in PLACES if place.path}.union(
    *(shape.marks for shape in SHAPES if shape.name in TOP_LEVEL)
)
_MAY_STATE_USAGE = re.compile(('"(?:' + "|".join(map(re.escape, sorted(_NAMES))) + r')"(?!\s*:\s*null)').encode())


def read_chunks(chunks: Reversible[bytes], *, rest_of_first: bytes | None = None) -> BodyReading:
    """`chunks` in the order of sending. `rest_of_first` is what is left of a chunk that lost its start, where only the
    tail of a response is there."""
    ended = False
    is_tail = rest_of_first is not None
    metrics: BodyReading | None = None
    for behind, data in enumerate(reversed(chunks)):
        chunk = loads_rest(data) if _MAY_STATE_USAGE.search(data) else None
        if isinstance(chunk, dict) and not (metrics and chunk.get("type") == "message_stop"):
            reading = _usage_of_chunk(chunk, chunks)
            if reading is not None and chunk.get("type") == "message_stop":
                metrics = reading  # Bedrock's own count beside Anthropic's, which it leaves tool calls out of
            elif reading is not None:
                if _is_of_a_session(chunk, chunks):
                    return _session_usage(chunks, is_tail=is_tail)
                goes_on = is_tail and behind and chunk.get("choices")  # others than these may be in what was lost
                if not ended and (goes_on or _is_running_total(chunk, islice(reversed(chunks), behind + 1, None))):
                    break
                return reading
        ended = ended or _is_end(data)
    else:
        if rest_of_first is not None and ended:  # the tail may start inside the chunk with the usage
            rest = read_fragment(rest_of_first, ended=True)
            if rest.usage is not None and _is_whole(rest.usage):
                return rest._replace(model=rest.model or _model(chunks))
    return metrics or BodyReading(None, _model(chunks), _why_no_usage(chunks))


def _usage_of_chunk(chunk: Mapping[str, Any], chunks: Reversible[bytes]) -> BodyReading | None:
    if chunk.get("type") == "message_delta":
        return _anthropic_usage(chunk, chunks)
    usage = find_usage(chunk)
    return None if usage is None else BodyReading(usage, find_model(chunk) or _model(chunks), None)


_RESPONSE_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_QUOTED_RESPONSE_ENDS: Final = tuple(f'"{kind}"'.encode() for kind in _RESPONSE_ENDS)
_SESSION_ENDS: Final = frozenset({"response.done", "conversation.item.input_audio_transcription.completed"})
"""What tells the usage of one answer, or of one transcription of what was said, in a realtime session."""
_RESPONSE_END: Final = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')


def _is_of_a_session(chunk: Mapping[str, Any], chunks: Reversible[bytes]) -> bool:
    """True where other answers may stand beside the one whose usage this is: OpenAI's realtime, its responses over a
    websocket if there are several, Gemini's Live API."""
    kind = text_of(chunk.get("type"))
    if kind in _SESSION_ENDS or _is_live(chunk):
        return True
    if kind not in _RESPONSE_ENDS:
        return False
    if isinstance(chunks, sse.EventStream) and sum(map(chunks.body.count, _QUOTED_RESPONSE_ENDS)) < 2:
        return False  # without splitting the whole body
    return sum(_RESPONSE_END.search(data) is not None for data in chunks) > 1


def _is_live(chunk: Mapping[str, Any]) -> bool:
    usage = chunk.get("usageMetadata")
    return isinstance(usage, dict) and "candidates" not in chunk and ("serverContent" in chunk or _LIVE in usage)


_LIVE: Final = "responseTokenCount"


def _session_usage(chunks: Reversible[bytes], *, is_tail: bool) -> BodyReading:
    """A session has many answers, each with a usage of its own: together, if none of them is missing. One that is told
    twice is one. In Gemini's a turn has no name, and the last that is told of it is its usage."""
    done: dict[tuple[object, ...], Mapping[str, Any]] = {}
    turn = 0
    for number, data in enumerate(chunks):
        chunk = loads(data)
        if is_tail or (chunk is None and data.strip() != sse.DONE):
            return BodyReading(None, _model(chunks), "truncated")
        if not isinstance(chunk, dict):
            continue
        usage = find_usage(chunk)
        kind = text_of(chunk.get("type"))
        if usage is not None and "usageMetadata" in chunk:
            done["turn", turn] = usage
        elif usage is not None and kind in _SESSION_ENDS | _RESPONSE_ENDS:
            response = chunk.get("response")
            name = text_of(response.get("id")) if isinstance(response, dict) else text_of(chunk.get("item_id"))
            done[(name, str(chunk.get("content_index"))) if name else (number,)] = usage
        content = chunk.get("serverContent")
        turn += isinstance(content, dict) and content.get("turnComplete") is True
    return BodyReading(reduce(_sum, done.values()), _model(chunks), None)


def _sum(one: Any, other: Any) -> Any:
    """Counts and the parts of them, member by member, and seconds; parts by modality too."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {name: _sum(one.get(name), other.get(name)) for name in {**one, **other}}
    if one is None or other is None:
        return one if other is None else other
    if isinstance(one, list) and isinstance(other, list):
        parts: dict[str, Any] = {}
        for part in (*one, *other):
            if isinstance(part, Mapping):
                name = str(part.get("modality"))
                parts[name] = _sum(parts.get(name), part.get("tokenCount"))
        return [{"modality": name, "tokenCount": count} for name, count in parts.items()]
    if type(one) is int and type(other) is int:
        return one + other
    numbers = type(one) in (int, float) and type(other) in (int, float)
    return float(Decimal(repr(one)) + Decimal(repr(other))) if numbers else one


def _is_running_total(chunk: Mapping[str, Any], before: Iterable[bytes]) -> bool:
    """True for a chunk that carries usage while the answer goes on: only the last such chunk tells the whole. What
    follows it does not matter: who sends running totals has one in the chunk that ends the answer too."""
    if chunk.get("type") == "message_delta":
        delta = chunk.get("delta")
        return not (isinstance(delta, dict) and delta.get("stop_reason"))
    candidates = chunk.get("candidates")
    if isinstance(candidates, list):
        finished = any(isinstance(each, dict) and each.get("finishReason") for each in candidates)
        return not (finished or _all_finished(chunk, before, *_ANSWERS[0]))
    choices = chunk.get("choices")
    if isinstance(choices, list):
        return bool(choices) and not _all_finished(chunk, before, *_ANSWERS[1])
    # Where a chunk was cut, the choices or candidates that go on may be in the rest.
    may_go_on = is_cut(chunk) and "type" not in chunk and not chunk.keys().isdisjoint({"usage", "usageMetadata"})
    return may_go_on and not (_FINISHED.search(to_json(chunk)) or _all_finished(chunk, before, *_ANSWERS[1]))


_ANSWERS: Final = (("candidates", "finishReason"), ("choices", "finish_reason"))


def _all_finished(last: Mapping[str, Any], before: Iterable[bytes], answers: str, end: str) -> bool:
    """By `last` and the chunks before it."""
    finished: dict[str, bool] = {}
    for chunk in (*map(loads, before), last):
        choices = chunk.get(answers) if isinstance(chunk, dict) else None
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = str(choice.get("index") or 0)
                finished[index] = finished.get(index, False) or bool(choice.get(end))
    return bool(finished) and all(finished.values())


_WHOLE_PROMPT = frozenset({"input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"})


def _anthropic_usage(delta: Mapping[str, Any], chunks: Reversible[bytes]) -> BodyReading | None:
    """message_start gives the prompt's counts, message_delta then updates them: set what it states, never add."""
    update = delta.get("usage")
    if not isinstance(update, dict) or is_cut(update) or update.get("output_tokens") is None:
        return None
    start: Mapping[str, Any] = {}
    for data in chunks:
        if b"message_start" in data:
            chunk = loads(data)
            message = chunk.get("message") if isinstance(chunk, dict) else None
            start = message if isinstance(message, dict) else {}
            break
    opening = start.get("usage")
    stated = {name: count for name, count in update.items() if count is not None}
    usage = {**opening, **stated} if isinstance(opening, dict) else stated
    if usage.get("input_tokens") is None or not (start or stated.keys() >= _WHOLE_PROMPT):
        # the tail of a stream that lost its start, so the prompt is not known
        return BodyReading(None, None, "truncated")
    return BodyReading(usage, find_model(start), None)


def _is_whole(usage: Mapping[str, Any]) -> bool:
    """False where it may be Anthropic's update of what message_start said."""
    shape = recognise(usage)
    stated = {name for name, count in usage.items() if count is not None}
    return shape is None or shape.name not in LIKE_ANTHROPICS or "total_tokens" in stated or stated >= _WHOLE_PROMPT


_FINISHED = re.compile(
    rb'"(?:finish_reason|stop_reason|finishReason|stopReason)"\s*:\s*"'
    rb'|"type"\s*:\s*"(?:message_stop|response\.(?:completed|incomplete)|thread\.run\.(?:completed|incomplete))"'
    rb'|"(?:done|is_finished)"\s*:\s*true'
)
_USAGE_NULL = re.compile(rb'"usage"\s*:\s*null')


def _is_end(data: bytes) -> bool:
    if data.strip() == sse.DONE:
        return True
    chunk = loads(data) if _FINISHED.search(data) else None
    return chunk is not None and not is_cut(chunk)


def _why_no_usage(chunks: Reversible[bytes]) -> MissingReason:
    done = False
    for data in reversed(chunks):
        if data.strip() == sse.DONE:
            done = True
            continue
        if _MAY_BE_ERROR.search(data) and _is_error(loads_rest(data)):
            return "error_response"
        if done or _FINISHED.search(data) is not None:
            if loads(data) is None:  # cut in its last event, which may have had the usage
                return "truncated"
            if _UNASKED.search(data) is not None:
                return "unrecognised"
            # Chunks say "usage": null where usage was asked for: then the chunk with the numbers was cut off.
            return "truncated" if not done and any(map(_USAGE_NULL.search, chunks)) else "not_requested"
    return "truncated"


_MAY_BE_ERROR = re.compile(rb'error"(?!\s*:\s*null)|"response\.failed"')
_UNASKED = re.compile(
    rb'"type"\s*:\s*"(?:message_|message-end|response\.)|"object"\s*:\s*"thread\.run|"candidates"\s*:'
)
"""Chunks of those APIs that report a stream's usage whether or not it is asked for, if there is any (yet)."""


def _is_error(chunk: object) -> bool:
    """True for an error in a stream: OpenAI's and OpenRouter's chunk, Groq's, a failed run or response."""
    if not isinstance(chunk, Mapping):
        return False
    groqs = chunk.get("x_groq")
    stated = (chunk.get("error"), chunk.get("last_error"), groqs.get("error") if isinstance(groqs, Mapping) else None)
    return any(stated) or chunk.get("type") in ("error", "response.failed")


def _model(chunks: Reversible[bytes]) -> str | None:
    """The first model that a chunk names."""
    if isinstance(chunks, sse.EventStream) and b'"model' not in chunks.body:
        return None  # without splitting the whole body
    for data in chunks:
        if b'"model' in data:
            chunk = loads_rest(data)
            model = find_model(chunk) if isinstance(chunk, dict) else None
            if model:
                return model
    return None
