"""GET /api/budgets: the budgets, with what is used of them. GET, PUT, DELETE /api/budgets/{id}: one of them.
GET /api/budgets/status: whether an app is within its budgets.

A budget is never overwritten: each edit makes a version, whose number is the ETag. A version without members says that
the budget was deleted, so that numbers go on where an id is used again.
"""

from collections.abc import Mapping
from typing import Any, Final

import services
from api.access import Need, has
from api.edits import checked_id, json_body, refuse_changed, shown_version, version_answer, version_etag
from api.response import Request, Response, cursor_header, json_response
from api.unseen import unseen
from budgets.entry import DELETED, read_budget
from budgets.status import status as status_of_app
from ledger.versions import Document, Version
from models.errors import QueryError
from queries.cursor import Cursors, Place
from queries.parameters import BudgetsParameters, BudgetStatusParameters
from queries.question import app_of, number, refuse_unknown, single

MAX_BUDGETS: Final = 2_000
"""All of them are read by the timer."""
RESERVED: Final = "status"
"""Another endpoint has this path, in whatever case: routes do not tell them apart."""


async def listed(request: Request) -> Response:
    """A page of those that the caller may see: who may not see all apps, the budgets of its apps."""
    parameters = request.parameters
    refuse_unknown(parameters, BudgetsParameters.names())
    found, now = services.get(), services.now()
    limit = number(parameters, "limit", BudgetsParameters.most("limit")) or BudgetsParameters.default("limit")

    async def cursors() -> Cursors:  # only where there is more than one page: its key is another read
        return Cursors(await found.directory.cursor_key(), "budgets", parameters, request.caller)

    cursor = single(parameters, "cursor")
    after = None if cursor is None else (await cursors()).open(cursor).after[0]
    following, page = None, list[Version]()
    async for version in found.budgets.after(after):
        if not _visible(version, request):
            continue
        if len(page) == limit:
            following = (await cursors()).seal(Place(now, now, [page[-1].id]))
            break
        page.append(version)
    states = await found.budget_notes.found([version.id for version in page])
    shown = [_shown(version, request) | _found(version, states.get(version.id)) for version in page]
    return json_response({"budgets": shown, "next_cursor": following}, more=cursor_header(following))


async def one(request: Request) -> Response:
    """A budget with its history, or a new version of it."""
    refuse_unknown(request.parameters, ())
    name = checked_id(request.route["id"])
    if name.lower() == RESERVED:
        raise QueryError("invalid_parameter", f"id: expected another than {RESERVED}, which is taken", "id")
    if request.method == "PUT":
        return await _put(request, name)
    if request.method == "DELETE":
        return await _delete(request, name)
    found = services.get()
    version = await found.budgets.get(name)
    if version is None or not _visible(version, request):
        raise _not_found()
    history = [_shown(each, request) for each in await found.budgets.history(name) if _visible(each, request)]
    state = await found.budget_notes.state(name)
    evaluated = _found(version, state.found if state is not None else None)
    return version_answer(version, _shown(version, request) | evaluated | {"history": history})


async def status(request: Request) -> Response:
    """Of one app: one point read. An app that the caller may not see is refused: that nothing is known of it would read
    as if it had no budget."""
    refuse_unknown(request.parameters, BudgetStatusParameters.names())
    app = app_of(request.parameters)
    if app is None:
        raise QueryError("missing_parameter", "app is missing, expected the name of an app", "app")
    if request.allowed is not None and app not in request.allowed:
        raise QueryError("forbidden", "you may not see this app; a gateway needs the role Usage.Read.All", "app", 403)
    return json_response(await status_of_app(services.get(), app, request.allowed is None, services.now()))


async def _put(request: Request, name: str) -> Response:
    found = services.get()
    entry = read_budget(json_body(request.body, "a budget"), found.settings.alert_webhook_allow_private)
    document = entry.model_dump(mode="json")
    existing = {version.id for version in await found.budgets.all()}
    if name not in existing and len(existing) >= MAX_BUDGETS:
        message = f"there are {MAX_BUDGETS} budgets, which is the most; ids of deleted ones count too: use one again"
        raise QueryError("too_many_budgets", message, None, 409)

    made_anew = 0  # the version that it gets if there is none and nobody is faster

    def change(before: Version | None) -> Document:
        nonlocal made_anew
        there = before if before is not None and before.document else None
        if there is None:
            made_anew = before.version + 1 if before else 1
        if there is None or there.document != document:
            refuse_changed(request.headers, version_etag(there), "budget")
        return document

    warnings = await unseen(entry, services.now())
    made = await found.budgets.edit(name, change, services.now())
    is_new = made.version == made_anew
    return version_answer(made, _shown(made, request) | {"warnings": warnings}, 201 if is_new else 200)


async def _delete(request: Request, name: str) -> Response:
    """Gives what it was. Its alerts stay."""
    was: list[Version] = []

    def change(before: Version | None) -> Document:
        if before is None or not before.document:
            if was:  # by us, in an attempt whose answer was lost, or by another caller meanwhile
                return DELETED
            raise _not_found()
        refuse_changed(request.headers, version_etag(before), "budget")
        was.append(before)
        return DELETED

    await services.get().budgets.edit(name, change, services.now())
    return version_answer(was[-1], _shown(was[-1], request))


def _visible(version: Version, request: Request) -> bool:
    """As it was stored: one that this version of the app cannot read is there all the same."""
    return bool(version.document) and (request.allowed is None or version.document.get("app") in request.allowed)


def _shown(version: Version, request: Request) -> dict[str, Any]:
    """Its webhook, which is often a secret, is for those only who may edit it."""
    shown = shown_version(version)
    return shown if has(Need.ADMIN, request) else {**shown, "webhook": None}


def _found(version: Version, found: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the timer found of this version last; null before its first run since the edit."""
    return {"status": found if found is not None and found["version"] == version.version else None}


def _not_found() -> QueryError:
    return QueryError("not_found", "there is no such budget", "id", 404)
