"""What providers' usage objects look like, as a table, and their one normalised meaning.

To add a provider, add a `Shape`. Sources: the `openai` (3.x) and `anthropic` (2.x) SDKs' response types, and recorded
responses (samples/NOTES.md).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from models.dead_letter import INVALID_FIELD
from models.errors import BadRecord
from models.event import describe
from models.usage import Usage

MAX_TOKENS = 10**12
"""A single count above this is taken for an error: no call has a trillion tokens, and sums must stay within 64 bits."""

Path = tuple[str, ...]


class Shape(NamedTuple):
    """One way to state usage.

    The shape is recognised by any of the members `marks`. `counts` says where each of our counts stands.
    `outside_prompt` names the parts that this provider leaves out of its prompt count; they are added to it, because
    our `prompt_tokens` contains them.
    """

    name: str
    marks: frozenset[str]
    counts: tuple[tuple[str, Path], ...]
    outside_prompt: tuple[str, ...] = ()


SHAPES: tuple[Shape, ...] = (
    Shape(
        # Chat completions, completions and embeddings, on OpenAI, Azure OpenAI and everything compatible.
        # cached_tokens is part of prompt_tokens; all completion details are parts of completion_tokens.
        name="openai_chat",
        marks=frozenset({"prompt_tokens", "completion_tokens"}),
        counts=(
            ("prompt_tokens", ("prompt_tokens",)),
            ("completion_tokens", ("completion_tokens",)),
            ("total_tokens_reported", ("total_tokens",)),
            ("cached_prompt_tokens", ("prompt_tokens_details", "cached_tokens")),
            ("cache_write_prompt_tokens", ("prompt_tokens_details", "cache_write_tokens")),
            ("audio_prompt_tokens", ("prompt_tokens_details", "audio_tokens")),
            ("image_prompt_tokens", ("prompt_tokens_details", "image_tokens")),
            ("reasoning_tokens", ("completion_tokens_details", "reasoning_tokens")),
            ("audio_completion_tokens", ("completion_tokens_details", "audio_tokens")),
            ("image_completion_tokens", ("completion_tokens_details", "image_tokens")),
            ("accepted_prediction_tokens", ("completion_tokens_details", "accepted_prediction_tokens")),
            ("rejected_prediction_tokens", ("completion_tokens_details", "rejected_prediction_tokens")),
        ),
    ),
    Shape(
        # Anthropic messages. input_tokens leaves out what was read from and written to the cache; there is no total.
        name="anthropic_messages",
        marks=frozenset({"cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"}),
        counts=(
            ("prompt_tokens", ("input_tokens",)),
            ("completion_tokens", ("output_tokens",)),
            ("cached_prompt_tokens", ("cache_read_input_tokens",)),
            ("cache_write_prompt_tokens", ("cache_creation_input_tokens",)),
            ("reasoning_tokens", ("output_tokens_details", "thinking_tokens")),
        ),
        outside_prompt=("cached_prompt_tokens", "cache_write_prompt_tokens"),
    ),
    Shape(
        # The responses API; cached_tokens is part of input_tokens. Anthropic's usage without cache counts reads alike.
        name="openai_responses",
        marks=frozenset({"input_tokens", "output_tokens"}),
        counts=(
            ("prompt_tokens", ("input_tokens",)),
            ("completion_tokens", ("output_tokens",)),
            ("total_tokens_reported", ("total_tokens",)),
            ("cached_prompt_tokens", ("input_tokens_details", "cached_tokens")),
            ("cache_write_prompt_tokens", ("input_tokens_details", "cache_write_tokens")),
            ("reasoning_tokens", ("output_tokens_details", "reasoning_tokens")),
        ),
    ),
)


def recognise(usage: Mapping[str, Any]) -> Shape | None:
    """The first shape of the table that has a mark in `usage` which is not null, or None."""
    stated = {name for name, value in usage.items() if value is not None}
    return next((shape for shape in SHAPES if not shape.marks.isdisjoint(stated)), None)


def normalise(usage: Mapping[str, Any], shape: Shape) -> Usage | None:
    """`usage` as our counts, or None if it states none of them.

    Raises BadRecord naming the member, if a count is not a whole number from 0 to MAX_TOKENS.
    """
    counts: dict[str, int] = {}
    for name, path in shape.counts:
        count = _count(usage, path)
        if count is not None:
            counts[name] = count
    if not counts:
        return None
    reported_total = counts.pop("total_tokens_reported", None)
    if "prompt_tokens" in counts:
        counts["prompt_tokens"] += sum(counts.get(part, 0) for part in shape.outside_prompt)
    if "prompt_tokens" in counts or "completion_tokens" in counts:
        total = counts.get("prompt_tokens", 0) + counts.get("completion_tokens", 0)
        counts["total_tokens"] = total
        if reported_total is not None and reported_total != total:
            counts["total_tokens_reported"] = reported_total
    elif reported_total is not None:
        counts["total_tokens"] = reported_total
    return Usage(**counts)  # type: ignore[arg-type]  # every name in a Shape is one of the whole numbers


def _count(usage: Mapping[str, Any], path: Path) -> int | None:
    value: Any = usage
    for depth, member in enumerate(path):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise BadRecord(INVALID_FIELD, ".".join(("usage", *path[:depth])), "an object", describe(value))
        value = value.get(member)
    if value is None:
        return None
    # bool is an int in Python, and 12.0 is a whole number in JSON: some gateways write counts as floats.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        expected = f"a whole number from 0 to {MAX_TOKENS}"
        raise BadRecord(INVALID_FIELD, ".".join(("usage", *path)), expected, describe(value))
    return value
