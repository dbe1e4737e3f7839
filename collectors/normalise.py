"""A provider's usage object -> our counts, in one meaning whatever the provider; and what is a count at all."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from collectors.shapes import LIKE_ANTHROPICS, SHAPES, TOOL_USE, Path, Shape
from models.dead_letter import INVALID_FIELD
from models.errors import BadRecord
from models.event import describe
from models.usage import Usage

MAX_TOKENS = 10**12
"""A single count above this is taken for an error: no call has a trillion tokens, and sums must stay within 64 bits."""

MAX_SECONDS = 10**9

COUNT = f"a whole number from 0 to {MAX_TOKENS}"
COUNT_OR_TEXT = f"{COUNT}, or one written as text"

_DIGITS = re.compile(r"[0-9]{1,13}")


def as_count(value: object, *, as_text: bool = False) -> int:
    """`value` as a number of tokens; `as_text` says that its digits may be a string. docs/events.md has the rule.

    Raises ValueError for what is no count.
    """
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return value
    if as_text and isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    # bool is an int in Python, and 12.0 is a whole number in JSON: some gateways write counts as floats.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_TOKENS:
        raise ValueError("not a count")
    return value


def normalise(usage: Mapping[Any, Any], shape: Shape) -> Usage | None:
    """`usage` as our counts, or None if it states none of them.

    Raises BadRecord naming the member, if a count cannot be one (as_count). xAI, and its models in
    Azure AI Foundry, leave reasoning out of completion_tokens although the shape is OpenAI's: a total that is the sum
    of prompt, completion and reasoning shows it. Mistral's connector_tokens are no part of its prompt_tokens; where a
    total without them says otherwise, it is believed. Parts that exceed their whole are kept as they are reported.
    """
    if shape.name in LIKE_ANTHROPICS:
        usage = _with_compactions(_with_cache_writes(usage))
    counts: dict[str, int] = {}
    seconds: Decimal | None = None
    for _, name, path, first, second in _stated(usage, shape):
        value = usage[first]
        if second is not None:
            value = value.get(second) if type(value) is dict and len(path) == 2 else _within(value, path)
        if value is None or name in counts:
            continue
        if name == "audio_seconds":
            seconds = _seconds(value, path)
        else:
            counts[name] = _count(value, path, shape.as_text)
    if not counts and seconds is None:
        return None
    is_chat = shape.name == "openai_chat"
    tool_use = counts.pop(TOOL_USE, 0)
    reported_total = counts.pop("total_tokens_reported", None)
    prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if is_chat and reported_total == (prompt or 0) + (completion or 0):
        tool_use = 0
    if prompt is not None and shape.outside_prompt:
        prompt += sum([tool_use if part == TOOL_USE else counts.get(part, 0) for part in shape.outside_prompt])
        counts["prompt_tokens"] = prompt
    outside = sum([counts.get(part, 0) for part in shape.outside_completion]) if shape.outside_completion else 0
    if completion is not None or outside:
        counts["completion_tokens"] = completion = (completion or 0) + outside
    if prompt is not None or completion is not None:
        total = (prompt or 0) + (completion or 0)
        if is_chat and reported_total is not None and reported_total > total:
            reasoning = counts.get("reasoning_tokens", 0)
            if reported_total == total + reasoning:
                counts["completion_tokens"] = (completion or 0) + reasoning
                total = reported_total
        counts["total_tokens"] = total
        if reported_total is not None and reported_total != total:
            counts["total_tokens_reported"] = reported_total
    elif reported_total is not None:
        counts["total_tokens"] = reported_total
    return Usage(**counts, audio_seconds=seconds)


_Place = tuple[int, str, Path, str | int, str | int | None]
"""One of a shape's `counts` behind its rank among them, and the first two members of its path."""


class _Member(NamedTuple):
    """Which counts a member of the usage may hold: as it is, and as an object by its own members."""

    places: list[_Place]
    within: dict[str | int, list[_Place]]


def _members_of(shape: Shape) -> dict[str | int, _Member]:
    members: dict[str | int, _Member] = {}
    for rank, (name, path) in enumerate(shape.counts):
        second = path[1] if len(path) > 1 else None
        member = members.setdefault(path[0], _Member([], {}))
        member.places.append((rank, name, path, path[0], second))
        if second is not None:
            member.within.setdefault(second, []).append(member.places[-1])
    return members


_MEMBERS: Final = {shape.name: _members_of(shape) for shape in SHAPES}


def _stated(usage: Mapping[Any, Any], shape: Shape) -> list[_Place]:
    """Where `usage` may state the shape's counts, in their order. Most are not there, so the usage is gone through and
    not the table."""
    members = _MEMBERS[shape.name]
    stated: list[_Place] = []
    for name, value in usage.items():
        if value is None or name not in members:
            continue
        places, within = members[name]
        if within and type(value) is dict:
            for inner in value:
                if inner in within:
                    stated += within[inner]
        else:
            stated += places
    stated.sort()
    return stated


def _with_cache_writes(usage: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """What was written to Anthropic's caches, where it is stated by the time that they last only."""
    by_time = usage.get("cache_creation")
    if usage.get("cache_creation_input_tokens") is not None or not isinstance(by_time, Mapping):
        return usage
    written = [_count(count, ("cache_creation", name), False) for name, count in by_time.items() if count is not None]
    return {**usage, "cache_creation_input_tokens": sum(written)} if written else usage


_ITERATED: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def _with_compactions(usage: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """With what summing up a conversation took, which Anthropic leaves out of the counts beside `iterations` and bills
    (docs.aws.amazon.com, "Compaction": to be added). Iterations of other types are in these counts, or of other models.
    """
    iterations = usage.get("iterations")
    for one in iterations if isinstance(iterations, list) else ():
        if isinstance(one, Mapping) and one.get("type") == "compaction":
            stated = {name: one[name] for name in _ITERATED if one.get(name) is not None}
            more = {name: _count(count, ("iterations", name), False) for name, count in stated.items()}
            before = {name: _count(usage.get(name) or 0, (name,), False) for name in more}
            usage = {**usage, **{name: before[name] + count for name, count in more.items()}}
    return usage


def _count(value: object, path: Path, as_text: bool) -> int:
    try:
        return as_count(value, as_text=as_text)
    except ValueError:
        raise _bad(path, COUNT_OR_TEXT if as_text else COUNT, value) from None


def _seconds(value: object, path: Path) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise _bad(path, f"a number of seconds from 0 to {MAX_SECONDS}", value)
    return Decimal(repr(value))


def _within(value: Any, path: Path) -> Any:
    """What stands at `path`, whose first member is `value`, or None. In a list of objects with a modality, a name is
    that of the modality."""
    for depth, member in enumerate(path[1:], start=1):
        if value is None or value == []:  # PHP's way to write an object without members
            return None
        if isinstance(value, dict):
            value = value.get(member)
        elif isinstance(value, list) and (isinstance(member, int) or member.isupper()):
            value = _item(value, member)
        else:
            raise _bad(path[:depth], "an object", value)
    return value


def _item(items: list[Any], member: str | int) -> Any:
    if isinstance(member, int):
        return items[member] if len(items) > member else None
    for item in items:
        if isinstance(item, Mapping) and str(item.get("modality", "")).upper() == member:
            return item.get("tokenCount", item.get("tokens"))
    return None


def _bad(path: Path, expected: str, value: object) -> BadRecord:
    return BadRecord(INVALID_FIELD, ".".join(("usage", *map(str, path))), expected, describe(value))
