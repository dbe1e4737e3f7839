"""What somebody entered and cannot be taken -> an error that names the member, what is expected and what came."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models.errors import QueryError
from models.event import describe


def expected_object(expected: Mapping[str, str], got: object) -> QueryError:
    """Of a body that is no object; `expected` says what each member should be."""
    return QueryError("invalid_body", f"expected a JSON object with {_known(expected)}, got {describe(got)}")


def not_as_expected(field: str, expected: str, got: str) -> QueryError:
    """Of one member."""
    return QueryError("invalid_body", f"{field}: expected {expected}, got {got}", field)


def first_fault(error: ValidationError, expected: Mapping[str, str]) -> QueryError:
    """The first fault that a model found. Of a part of a member (`scope.app`) something of its own may be expected."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"] if part != "[key]"]
    if not path:  # of the members together
        return QueryError("invalid_body", first["msg"])
    field = ".".join(path)[:80]
    if path[0] not in expected:
        return QueryError("invalid_body", f"there is no {field}; known are {_known(expected)}", field)
    got = "nothing" if first["type"] == "missing" else describe(first["input"])
    return not_as_expected(field, expected.get(".".join(path), expected[path[0]]), got)


def _known(expected: Mapping[str, str]) -> str:
    return ", ".join(name for name in expected if "." not in name)
