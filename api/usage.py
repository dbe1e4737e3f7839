"""GET /api/usage: token totals over a range, by time and dimension."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

import services
from api.formats import wanted_format
from api.registry import names
from api.response import COUNTED_AT, Request, Response, cursor_header
from asker import asker_of
from ledger.rows import utc_text
from queries.answer import FIGURES, Answer, Position
from queries.compare import previous
from queries.cursor import Cursors, Place
from queries.export import export
from queries.focus import FOCUS_TYPE, as_focus, focus_parameters, refuse_unfit
from queries.parameters import UsageParameters
from queries.present import CSV_TYPE, JSON_TYPE, NDJSON_TYPE, as_csv, as_json, as_ndjson, attachment, shown
from queries.question import Terms, UsageQuery, single, usage_query
from queries.read import in_time


async def get(request: Request) -> Response:
    """Read the question, the rows and the format; raises QueryError and StoreError."""
    wanted = wanted_format(request, UsageParameters.choices("format"))
    async with in_time(services.get().settings.query_max_seconds):
        return await _answer(request, wanted)


async def _answer(request: Request, wanted: str) -> Response:
    found = services.get()
    now = services.now()
    settings = found.settings
    terms = Terms(settings.dimensions, FIGURES, settings.query_max_days, settings.query_max_rows)
    parameters = focus_parameters(request.parameters) if wanted == "focus" else request.parameters
    query = usage_query(parameters, now, terms)
    if wanted == "focus":
        refuse_unfit(query)
    cursors, cursor = None, single(parameters, "cursor")
    if cursor is not None or query.limit is not None:
        cursors = Cursors(await found.directory.cursor_key(), "usage", parameters, request.caller)
    if cursors is not None and cursor is not None:
        place = cursors.open(cursor)
        query = replace(query, start=place.start, end=place.end, after=place.after)

    def sealed(position: Position | None) -> str | None:
        return None if cursors is None or position is None else cursors.seal(Place(query.start, query.end, position))

    if wanted == "json":  # with the totals of the whole, so that all of it is read for every page
        answer = await answered(query, now, request.allowed)
        next_cursor = sealed(answer.next_position)
        return _response(as_json(answer, next_cursor), JSON_TYPE, next_cursor, answer.counted_at)
    page = await export(query, lambda part: answered(part, now, request.allowed))
    next_cursor = sealed(page.next_position)
    file = attachment("focus" if wanted == "focus" else "usage", query.start, query.end, query.zone)
    if wanted == "focus":
        return _response(
            as_focus(page, await names(), settings.focus_provider_name), FOCUS_TYPE, next_cursor, more=file
        )
    if wanted == "csv":
        return _response(as_csv(page.query, page.rows), CSV_TYPE, next_cursor, more=file)
    return _response(as_ndjson(shown(page.query, page.rows)), NDJSON_TYPE, next_cursor)


def _response(
    body: str,
    content_type: str,
    next_cursor: str | None,
    counted_at: datetime | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    more = {**more, **cursor_header(next_cursor)}
    if counted_at is not None:
        more[COUNTED_AT] = utc_text(counted_at)
    return Response(body, content_type=content_type, more=more)


async def answered(query: UsageQuery, now: datetime, allowed: Collection[str] | None) -> Answer:
    """The answer to a question, priced, of the apps that its caller may see (None: all). Raises QueryError and
    StoreError."""
    found = services.get()
    asker, max_rows = await asker_of(found, "usage"), found.settings.query_max_rows
    fold = await asker.fold(query, now, max_rows, allowed)
    before = await asker.fold(previous(query), now, max_rows, allowed) if query.compare else None
    return fold.answer(before)
