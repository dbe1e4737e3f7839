"""GET /api/calls: one app's calls, newest first; GET /api/calls/{request_id}: all that is known of one."""

from dataclasses import replace
from datetime import timedelta

import services
from api.formats import wanted_format
from api.registry import names
from api.response import Request, Response, cursor_header, json_response
from asker import bounds_of
from collectors.identity import call_id
from ledger.rows import utc_text
from models.errors import QueryError
from queries.buckets import UTC_ZONE
from queries.calls import calls_query, find, newest
from queries.cursor import Cursors, Place
from queries.explain import CALL_COLUMNS, explained, flat_call, shown
from queries.parameters import CallParameters, CallsParameters
from queries.present import CSV_TYPE, NDJSON_TYPE, as_ndjson, attachment, csv_text
from queries.question import app_of, exact_range, refuse_unknown, single
from queries.read import in_time, refuse_purged


async def listed(request: Request) -> Response:
    """A page of calls. An app that the caller may not see is as one that has none. Raises QueryError and StoreError."""
    wanted = wanted_format(request, CallsParameters.choices("format"))
    found, now = services.get(), services.now()
    bounds = bounds_of(found)
    query = calls_query(request.parameters, now, bounds.max_call_days)
    cursors = Cursors(await found.directory.cursor_key(), "calls", request.parameters, request.caller)
    if (cursor := single(request.parameters, "cursor")) is not None:
        place = cursors.open(cursor)
        query = replace(query, start=place.start, end=place.end, after=place.after)
    async with in_time(bounds.max_seconds):
        await refuse_purged(found.directory, bounds, query.start, now)
        visible = request.allowed is None or query.app in request.allowed
        calls, more = (
            await newest(found.usage, found.directory, query, bounds, await names()) if visible else ([], False)
        )
    next_cursor = None
    if more:
        last = calls[-1]
        next_cursor = cursors.seal(Place(query.start, query.end, [utc_text(last.timestamp), last.request_id]))
    more_headers = cursor_header(next_cursor)
    rows = [shown(call) for call in calls]
    if wanted == "csv":
        file = attachment("calls", query.start, query.end, UTC_ZONE)
        text = csv_text(CALL_COLUMNS, map(flat_call, rows), CALL_COLUMNS)
        return Response(text, content_type=CSV_TYPE, more=more_headers | file)
    if wanted == "ndjson":
        return Response(as_ndjson(rows), content_type=NDJSON_TYPE, more=more_headers)
    span = {"from": utc_text(query.start), "to": utc_text(query.end)}
    answer = {"app": query.app, **span, "calls": rows, "next_cursor": next_cursor}
    return json_response(answer, more=more_headers)


async def one(request: Request) -> Response:
    """The call with the request_id of the path, wherever it is counted that the caller may see. Raises QueryError and
    StoreError."""
    refuse_unknown(request.parameters, CallParameters.names())
    found, now = services.get(), services.now()
    bounds = bounds_of(found)
    request_id = call_id(request.route["request_id"])
    app = app_of(request.parameters)
    days = timedelta(days=min(bounds.max_call_days, bounds.call_retention_days))
    start, end = exact_range(request.parameters, now + timedelta(minutes=15), bounds.max_call_days, days)
    async with in_time(bounds.max_seconds):
        await refuse_purged(found.directory, bounds, start, now)
        known = await find(
            found.usage,
            found.directory,
            found.pending if found.settings.gateway_logs_hub else None,
            request_id,
            app,
            start,
            end,
            allowed=request.allowed,
            bounds=bounds,
            concurrency=found.settings.query_concurrency,
        )
    if not known.rows and known.waiting is None:
        where = "of any app" if app is None else "of this app"
        message = f"no call {where} from {utc_text(start)} to {utc_text(end)} has this request_id"
        raise QueryError("not_found", message, "request_id", 404)
    entered = await names()
    waiting = None if known.waiting is None else shown(known.waiting)
    calls = [explained(columns, known.counted_as, entered) for columns in known.rows]
    if request.allowed is not None:  # numbers of a hub that counts everybody's events
        calls = [call | {"origin": None} for call in calls]
    return json_response({"request_id": request_id, "calls": calls, "waiting": waiting})
