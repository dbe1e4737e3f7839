"""What reading a response body gives, and the small steps that every way of reading takes."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json

from models.usage import MissingReason


class BodyReading(NamedTuple):
    """`usage` is the provider's own usage object, None if there is none; then `missing_reason` says why."""

    usage: Mapping[str, Any] | None
    model: str | None
    missing_reason: MissingReason | None


def parse(data: bytes) -> Any:
    """The JSON value. NaN and Infinity are numbers, which no count can be. Raises ValueError."""
    try:
        return from_json(data)
    except ValueError as error:
        if "hex escape" not in str(error):
            raise
        return from_json(_ESCAPE.sub(_without_half_a_letter, data))


def loads(data: bytes | str) -> Any:
    """The JSON value, or None if it is not whole."""
    try:
        return parse(data.encode("utf-8", "replace") if isinstance(data, str) else data)
    except ValueError:
        return None


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _without_half_a_letter(escape: re.Match[bytes]) -> bytes:
    """Half of a surrogate pair is no letter; who cuts a text by characters, or streams it, may leave one."""
    return b"\\ufffd" if escape["half"] else escape[0]


def text_of(value: object) -> str | None:
    """`value` if it is a string that says something."""
    return value if isinstance(value, str) and value else None
