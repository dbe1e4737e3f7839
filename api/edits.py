"""What requests with a body have in common: how much they may bring, and that no editor overwrites another; and
how what has versions is shown."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from api.response import Response, json_response
from ledger.versions import Version
from models.errors import QueryError

MAX_BODY_BYTES: Final = 64 * 1024
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of what operators enter by ids of their own."""


def body_within(body: bytes, most: int = MAX_BODY_BYTES) -> bytes:
    """The body, if it has at most so many bytes. Raises QueryError (413)."""
    if len(body) > most:
        message = f"the body has {len(body)} bytes; expected at most {most}"
        raise QueryError("body_too_large", message, None, 413)
    return body


def refuse_changed(headers: Mapping[str, str], tag: str | None, noun: str) -> None:
    """If-Match and If-None-Match (RFC 9110, 13.1) against the ETag of what is there now, None if nothing is; `noun`
    names it to the caller. Raises QueryError (412)."""
    tags = set() if tag is None else {"*", tag}
    wanted, unwanted = headers.get("if-match"), headers.get("if-none-match")
    if wanted is not None and not tags & _tags(wanted):
        message = f"there is no such {noun} yet" if tag is None else f"the {noun} is not as it was when you read it"
        raise QueryError("precondition_failed", f"{message}: read it again", "If-Match", 412)
    if unwanted is not None and tags & _tags(unwanted):
        raise QueryError("precondition_failed", f"there is such a {noun} already", "If-None-Match", 412)


def _tags(header: str) -> set[str]:
    return {tag.strip() for tag in header.split(",")}


def checked_id(name: str) -> str:
    """The id of a document, as it stands in the path. Raises QueryError."""
    if not ID.fullmatch(name):
        raise QueryError(
            "invalid_parameter", "id: expected 1 to 64 ASCII letters, digits and . _ -, a letter or digit first", "id"
        )
    return name


def json_body(body: bytes, what: str) -> object:
    """A body as JSON; `what` it should be goes into the message. Raises QueryError."""
    try:
        value = from_json(body_within(body), allow_inf_nan=False)
    except ValueError:
        raise QueryError("invalid_body", f"the body is no JSON; expected an object with {what}") from None
    refuse_repeated(body)
    return value


def refuse_repeated(body: bytes) -> None:
    """Of a body that is JSON: a member that comes twice is a mistake, and which of them is meant nobody knows. Raises
    QueryError."""

    def once(members: list[tuple[str, Any]]) -> None:
        names: set[str] = set()
        for name, _ in members:
            if name in names:
                raise QueryError("invalid_body", f"{name:.80}: expected once, got it twice", name[:80])
            names.add(name)

    json.loads(body, object_pairs_hook=once, parse_int=str, parse_float=str)


def version_etag(version: Version | None) -> str | None:
    """The ETag of a document is the number of its version."""
    return None if version is None else f'"{version.version}"'


def shown_version(version: Version) -> dict[str, Any]:
    """A document with its id, and since when it is so."""
    return {"id": version.id, "version": version.version, "edited_at": version.edited_at, **version.document}


def version_answer(version: Version, shown: Mapping[str, Any], status: int = 200) -> Response:
    """An answer of one document, as it is `shown`, with its ETag."""
    return json_response(shown, status, {"ETag": f'"{version.version}"'})
