"""What reading a response body gives, and the two small steps that every way of reading takes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json

from models.usage import MissingReason


class BodyReading(NamedTuple):
    """`usage` is the provider's own usage object, None if there is none; then `missing_reason` says why."""

    usage: Mapping[str, Any] | None
    model: str | None
    missing_reason: MissingReason | None


def loads(data: bytes | str) -> Any:
    """The JSON value, or None if it is not whole. NaN and Infinity are numbers, which no count can be."""
    try:
        return from_json(data)
    except ValueError:
        return None


def text_of(value: object) -> str | None:
    """`value` if it is a string that says something."""
    return value if isinstance(value, str) and value else None
