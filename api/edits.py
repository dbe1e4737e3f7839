"""What requests with a body have in common: how much they may bring, and that no editor overwrites another."""

from collections.abc import Mapping
from typing import Final

from models.errors import QueryError

MAX_BODY_BYTES: Final = 64 * 1024


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
