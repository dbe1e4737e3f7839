"""What is said of one operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.openapi.shapes import ErrorAnswer
from queries.parameters import Query


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of an endpoint.

    `gives` has the JSON shape of each status; `others` are other media types of 200, with what stands in them. `path`
    has the pattern of each part of the path, and an example. `refuses` are the statuses of its errors beside those that
    all have. `example` holds values of parameters that make sense together. `conditional`: it heeds If-Match, and gives
    an ETag. `anonymous`: no key is asked for.
    """

    route: str
    summary: str
    gives: Mapping[int, Any]
    told: str = ""
    takes: type[Query] = Query
    path: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    body: Any = None
    body_example: Any = None
    others: Mapping[str, str] = field(default_factory=dict)
    refuses: tuple[int, ...] = (400,)
    error: Any = ErrorAnswer
    example: Mapping[str, str] = field(default_factory=dict)
    paged: bool = False
    conditional: bool = False
    anonymous: bool = False
