"""What all shapes of JSON answers share, and that of errors. A test holds real answers against them all
(tests/api/test_openapi_answers.py)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model


class Answer(BaseModel):
    """Members without a default are always there."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def answer(name: str, told: str, members: dict[str, Any], base: type[BaseModel] = Answer) -> type[BaseModel]:
    """A shape whose members are known by lists of names; each is a type and its default, as `create_model` takes it."""
    return create_model(name, __base__=base, __doc__=told, **members)


def always(names: Iterable[str], kind: Any) -> dict[str, Any]:
    """Members of one type that are always there."""
    return dict.fromkeys(names, (kind, ...))


Amount = Annotated[str, StringConstraints(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}$")]
NextCursor = Annotated[str | None, Field(description="Leads to the next page; null at the end.")]


class Error(Answer):
    """`code` is for programs, `message` for people; `parameter` is the part of the request that is at fault."""

    code: str
    message: str
    parameter: str | None


class ErrorAnswer(Answer):
    """The one shape of every error."""

    error: Error


class OpenAIError(Error):
    """With the members that OpenAI's clients read."""

    param: str | None = None
    type: str | None = None


class OpenAIErrorAnswer(Answer):
    """The one shape of every error, with OpenAI's members where the question itself is at fault."""

    error: OpenAIError


class Range(Answer):
    """`from` <= time < `to`."""

    from_: datetime = Field(alias="from")
    to: datetime
