"""A whole JSON answer, of which only the members are read that anybody asks for.

The texts of an answer, or an embedding's numbers, are most of it and nobody's business here. msgspec goes over them
without making anything of them.
"""

from typing import Any, Final, TypedDict

import msgspec

from collectors.cut import MARK
from collectors.places import MODEL_PATHS, PLACES
from collectors.shapes import SHAPES, TOP_LEVEL

_SAYS_WHAT_IT_IS: Final = ("id", "object", "type", "error", "totalTokens")
_ALONE: Final = frozenset({"inputTokens", "input_tokens"})
"""Of an answer with these at its top it matters that there is nothing else: all of it is to be read."""


class _Item(TypedDict, total=False):
    relevance_score: msgspec.Raw
    url: msgspec.Raw
    b64_json: msgspec.Raw
    object: Any
    tokenCount: Any


_LISTS: Final = dict.fromkeys(("data", "results"), list[_Item] | None)

_MEMBERS: Final = (
    {MARK, *_SAYS_WHAT_IT_IS, *_ALONE}.union(path[0] for path in MODEL_PATHS)
    .union(place.path[0] for place in PLACES if place.path)
    .union(str(path[0]) for shape in SHAPES if shape.name in TOP_LEVEL for _, path in shape.counts)
)

_decode: Final = msgspec.json.Decoder(
    TypedDict("_Answer", dict.fromkeys(sorted(_MEMBERS), Any) | _LISTS, total=False)  # type: ignore[operator]
).decode


def skim(body: bytes) -> dict[str, Any] | None:
    """What `body` says of its usage, its model and what it is, or None if all of it has to be read for that: it is no
    JSON object, or an unusual one."""
    try:
        document: dict[str, Any] = _decode(body)
    except (ValueError, RecursionError):
        return None
    return document if _ALONE.isdisjoint(document) else None
