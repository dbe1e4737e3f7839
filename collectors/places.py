"""Where in a response, or in a chunk of a stream, the usage stands, as a table; and the model's name.

Only these places are believed. Numbers that look like usage elsewhere are parts of it or repeat it: usage_breakdown,
context_details, iterations (but for compactions: normalise.py), tool_usage, the steps of a run, count_tokens.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from collectors.cut import is_cut
from collectors.normalise import normalise
from collectors.shapes import LIKE_ANTHROPICS, SHAPES, TOP_LEVEL, Shape, recognise
from models.errors import BadRecord


class Place(NamedTuple):
    """A path from the top of a document, and the shapes that may stand there (empty: any that is not TOP_LEVEL)."""

    path: tuple[str, ...]
    shapes: frozenset[str] = frozenset()


PLACES: tuple[Place, ...] = (
    Place(("usage",)),  # OpenAI, Azure, Anthropic, Mistral, DeepSeek, Groq, Together, Cohere v2, Bedrock converse, ...
    Place(("response", "usage")),  # events of the responses API: response.completed, .incomplete, .failed
    Place(("x_groq", "usage")),  # older Groq streams
    Place(("metadata", "usage"), frozenset({"bedrock_converse"})),  # ConverseStream, as boto3 gives its events
    Place(("usageMetadata",), frozenset({"gemini"})),
    Place(("interaction", "usage"), frozenset({"gemini_interactions"})),
    Place(("amazon-bedrock-invocationMetrics",), frozenset({"bedrock_invocation"})),
    Place(("delta", "usage"), frozenset({"cohere"})),  # Cohere v2 streams
    Place(("meta",), frozenset({"cohere"})),  # Cohere v1
    Place(("response", "meta"), frozenset({"cohere"})),  # Cohere v1 streams
    Place((), TOP_LEVEL),
)

MODEL_PATHS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("response", "model"),
    ("message", "model"),
    ("modelVersion",),
    ("interaction", "model"),
)

_TOP_LEVEL_MARKS = frozenset().union(*(shape.marks for shape in SHAPES if shape.name in TOP_LEVEL))
_REPEATS = frozenset({"thread.run.step", "thread.run.step.delta", "batch"})
"""Objects whose usage is part of another's, or the sum of others'."""


def find_usage(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The usage object of a response or chunk, in the provider's own shape, or None. Of a document that lost a part
    (cut.MARK), only one that is there as a whole."""
    kind = document.get("object")
    if isinstance(kind, str) and kind in _REPEATS:
        return None
    for place in PLACES:
        found = _at(document, place.path)
        if not isinstance(found, dict):
            continue
        shape = recognise({name: found[name] for name in _TOP_LEVEL_MARKS & found.keys()} if not place.path else found)
        if shape is not None and (shape.name in place.shapes if place.shapes else shape.name not in TOP_LEVEL):
            if is_cut(document) and not _is_whole(found, shape, document):
                return None
            return found if place.path else _told_of(found, shape)
    return None


def _told_of(answer: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Of an answer that has its usage at its top what the shape tells of, without the answer's text."""
    told: dict[str, Any] = {}
    for _, (member, *within) in shape.counts:
        value = answer.get(str(member))
        if within and isinstance(value, list):
            names = frozenset(within)
            value = [_members(item, names) if isinstance(item, dict) else item for item in value]
        if value is not None:
            told[str(member)] = value
    return told


def _members(item: dict[str, Any], names: frozenset[str | int]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name in names}


def _is_whole(usage: Mapping[str, Any], shape: Shape, document: Mapping[str, Any]) -> bool:
    """False where what was lost of `document` may say more: a further count, or that it is not billed by tokens."""
    if is_cut(usage) and shape.name not in TOP_LEVEL:
        return False
    try:
        counts = normalise(usage, shape)
    except BadRecord:
        return False
    if counts is None or (shape.name in TOP_LEVEL and None in (counts.prompt_tokens, counts.completion_tokens)):
        return False
    if shape.name == "total_only":  # a ranking states one too
        data = document.get("data")
        return isinstance(data, list) and any(
            isinstance(item, Mapping) and item.get("object") == "embedding" for item in data
        )
    return shape.name not in LIKE_ANTHROPICS or counts.prompt_tokens is not None


def find_model(document: Mapping[str, Any]) -> str | None:
    """The name of the model that answered, or None; an empty one is none (Azure's first chunk)."""
    for path in MODEL_PATHS:
        model = _at(document, path)
        if isinstance(model, str) and model:
            return model
    return None


def _at(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = document
    for member in path:
        if not isinstance(value, dict):
            return None
        value = value.get(member)
    return value
