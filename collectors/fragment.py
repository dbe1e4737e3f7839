"""A JSON document that lost its start: only the tail of a response was sent, or of a chunk of one.

What follows a name at the top of an object is an object again once its brace is put back; what follows a name deeper
inside closes more than it opens, and cannot be read. So nothing deeper is taken for what stands at the top: the steps
of a run, or the parts of a compound model, repeat or split the usage.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from collectors.cut import MARK
from collectors.places import MODEL_PATHS, PLACES, find_model, find_usage
from collectors.reading import BodyReading, loads
from collectors.shapes import SHAPES, TOP_LEVEL, recognise

_NAMES = {name for path in (*MODEL_PATHS, *(place.path for place in PLACES)) for name in path}.union(
    *(shape.marks for shape in SHAPES if shape.name in TOP_LEVEL)
)
_NAME = re.compile(('"(?:' + "|".join(map(re.escape, sorted(_NAMES))) + r')"\s*:').encode())
_MAX_STARTS = 32
_FINISHED = re.compile(rb'"(?:finish_reason|finishReason|stop_reason)"\s*:\s*"')
_UNFINISHED = re.compile(rb'"stop_reason"\s*:\s*null')
_GOES_ON = re.compile(rb'"finish_reason"\s*:\s*null')
_OUTER = ("delta", "interaction", "response")
"""What the events of PLACES hold that repeat a whole answer, or end one."""


def read_fragment(body: bytes, *, ended: bool = False) -> BodyReading:
    """The tail of a document, or of an array, whose last one tells. Only what is there as a whole is believed. `ended`
    where it is known by what follows that this is no chunk in the middle of an answer."""
    text = body.rstrip().removesuffix(b"]")
    model = None
    for document in _documents(text, [name.start() for name in _NAME.finditer(text)][-_MAX_STARTS:]):
        usage, model = find_usage(document), find_model(document)
        if usage is not None and not _is_unfinished(text, ended):
            return BodyReading(usage, model, None)
    return BodyReading(None, model, "truncated")


def _is_unfinished(text: bytes, ended: bool) -> bool:
    """True for Anthropic's message_start, and for a chunk with a running total: both say of no choice why it ended."""
    found = _UNFINISHED.search(text) or (not ended and _GOES_ON.search(text))
    return bool(found) and not _FINISHED.search(text)


def _documents(text: bytes, starts: list[int]) -> Iterator[dict[str, Any]]:
    """What may be at the end of `text`: an object, or an event around one, such as the responses API's last."""
    for start in starts:
        document = loads(b"{" + text[start:])
        if isinstance(document, dict):
            yield {MARK: None, **document}
            return
    for start in starts:
        event = loads(b'{"":{' + text[start:])
        if isinstance(event, dict) and isinstance(inner := event.pop(""), dict):
            yield from ({MARK: None, outer: inner, **event} for outer in _OUTER if _may_be(outer, inner, event))
            return


def _may_be(outer: str, inner: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Only the responses API's usage looks like others': those of a run, or of Anthropic's message_start."""
    usage = inner.get("usage")
    if outer != "response" or not isinstance(usage, dict) or (shape := recognise(usage)) is None:
        return True
    return shape.name == "openai_responses" and "total_tokens" in usage and event.keys() <= {"type", "sequence_number"}
