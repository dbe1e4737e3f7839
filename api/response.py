"""What an endpoint gets and gives."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import QueryError
from queries.question import Parameters

NEXT_CURSOR = "X-Next-Cursor"
"""The header that gives the cursor of the next page in every format."""

COUNTED_AT = "X-Counted-At"
"""The header that tells how old an answer's data is: when the newest of it was counted."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request's query string, headers (names in lower case), body, parts of the path by name, method and path; and
    the apps that its caller may see (None: all) and who it is (None: one who sees all), which api/access.py says."""

    parameters: Parameters
    headers: Mapping[str, str]
    body: bytes = b""
    route: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    path: str = ""
    allowed: frozenset[str] | None = frozenset()
    caller: str | None = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A body of `content_type`, with `more` headers."""

    body: str
    status: int = 200
    content_type: str = "application/json"
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Numbers change and are not for everyone: no cache may keep them."""
        return {"Content-Type": self.content_type, "Cache-Control": "no-store", **self.more}


def json_response(value: Any, status: int = 200, more: Mapping[str, str] | None = None) -> Response:
    """A value as JSON, with `more` headers."""
    return Response(json.dumps(value, ensure_ascii=False), status, more=more or {})


def cursor_header(next_cursor: str | None) -> dict[str, str]:
    """None at the end."""
    return {} if next_cursor is None else {NEXT_CURSOR: next_cursor}


def error_response(error: QueryError) -> Response:
    """The one shape of every error."""
    challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return json_response(error_shape(error.code, str(error), error.parameter), error.status, challenge)


def error_shape(code: str, message: str, parameter: str | None) -> dict[str, Any]:
    """`code` is for programs, `message` for people, `parameter` is the part of the request that is at fault."""
    return {"error": {"code": code, "message": message, "parameter": parameter}}
