"""GET and PUT /api/apps/{app} and /api/models/{deployment}: what operators enter by hand."""

import hashlib
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

import services
from api.edits import body_within, refuse_changed, refuse_repeated
from api.response import Request, Response, json_response
from ledger.registry import Entries, Entry
from ledger.store import RowChanged, RowExists
from models.errors import QueryError, StoreUnavailable
from models.keys import MAX_ESCAPED_LENGTH, escape_key
from models.registry import Alias, AppEntry
from queries.asking import names_entered
from queries.names import Names
from queries.question import refuse_unknown

MAX_TRIES: Final = 5


async def app(request: Request) -> Response:
    """One app's entry, or a new one in its place."""
    return await _answered(request, services.get().apps, "app", AppEntry)


async def model(request: Request) -> Response:
    """The model of one deployment, or another in its place."""
    return await _answered(request, services.get().models, "deployment", Alias)


async def names() -> Names:
    """What is entered now, as answers need it. Raises StoreBusy."""
    found = services.get()
    return await names_entered(found.models, found.apps)


def etag_of(entry: Entry) -> str:
    """A strong validator, which If-Match asks for (RFC 9110, 13.1.1); those of Table Storage are weak."""
    return f'"{hashlib.sha256(entry.etag.encode()).hexdigest()[:20]}"'


def shown(entry: Entry | None, shape: type[AppEntry | Alias]) -> dict[str, Any]:
    """Every member that can be entered, null where it is not."""
    return shape.shown(entry.columns if entry else {})


async def _answered(request: Request, entries: Entries, part: str, shape: type[AppEntry | Alias]) -> Response:
    refuse_unknown(request.parameters, ())
    name = request.route[part]
    if len(escape_key(name)) > MAX_ESCAPED_LENGTH:
        raise QueryError("invalid_parameter", f"{part} is longer than the name of any can be", part)
    if request.method == "PUT":
        return await _put(request, entries, part, name, shape)
    # What the caller may not see is as if it were not there.
    entry = await entries.get(name) if request.allowed is None or name in request.allowed else None
    if entry is None:
        raise QueryError("not_found", f"nothing is entered for this {part}", part, 404)
    return _response(entry, part, shape, 200)


async def _put(request: Request, entries: Entries, part: str, name: str, shape: type[AppEntry | Alias]) -> Response:
    columns = _body(request.body, shape).columns()
    for _ in range(MAX_TRIES):
        before = await entries.get(name)
        refuse_changed(request.headers, before and etag_of(before), "entry")
        try:
            await entries.put(name, columns, before.etag if before else None)
        except (RowExists, RowChanged):  # by another caller meanwhile, or by ourselves in an attempt without answer
            continue
        after = await entries.get(name)
        assert after is not None
        return _response(after, part, shape, 200 if before else 201)
    raise StoreUnavailable(f"the entry changed {MAX_TRIES} times meanwhile")


def _body(body: bytes, shape: type[AppEntry | Alias]) -> AppEntry | Alias:
    try:
        entry = shape.model_validate_json(body_within(body))
        refuse_repeated(body)
        return entry
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = str(fault["loc"][0])[:60] if fault["loc"] else None
    known = ", ".join(shape.model_fields)
    if fault["type"] == "extra_forbidden":
        nearest = get_close_matches(field or "", shape.model_fields, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {known}"
        raise QueryError("invalid_body", f"there is no member {field!r}; {hint}", field)
    if field is None:
        raise QueryError("invalid_body", f"the body is no JSON object; expected one with {known}")
    raise QueryError("invalid_body", f"{field}: {fault['msg']}", field)


def _response(entry: Entry, part: str, shape: type[AppEntry | Alias], status: int) -> Response:
    return json_response({part: entry.name, **shown(entry, shape)}, status, {"ETag": etag_of(entry)})
