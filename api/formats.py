"""In which format an answer is wanted: the parameter `format`, else the header Accept (RFC 9110, 12.5.1)."""

import re
from collections.abc import Sequence
from typing import Final

from api.response import Request
from queries.question import one_of

_MEDIA_TYPES: Final = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/*": "json",
    "text/csv": "csv",
    "text/csv;profile=focus": "focus",
    "text/*": "csv",
    "*/*": "json",
}
_WEIGHT: Final = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)", re.ASCII)


def wanted_format(request: Request, formats: Sequence[str]) -> str:
    """One of `formats`; raises QueryError for a parameter that names none of them."""
    return one_of(request.parameters, "format", formats, "") or _preferred(request.headers.get("accept", ""), formats)


def _preferred(accept: str, formats: Sequence[str]) -> str:
    """The format that weighs most in an Accept header, the first of equals; else json."""
    best, wanted = 0.0, "json"
    for choice in accept.lower().split(","):
        name = _MEDIA_TYPES.get(_media_type(choice), "")
        weight = _WEIGHT.search(choice)
        if name in formats and (value := float(weight[1]) if weight else 1.0) > best:
            best, wanted = value, name
    return wanted


def _media_type(choice: str) -> str:
    """With the one parameter that tells formats apart."""
    name, *parameters = re.split(r"\s*;\s*", choice.strip())
    return f"{name};profile=focus" if "profile=focus" in (each.replace('"', "") for each in parameters) else name
