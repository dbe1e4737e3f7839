"""GET /api/usage: token totals over a range, by time and dimension."""

import asyncio
import re
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import services
from api.registry import names
from api.response import NEXT_CURSOR, Request, Response
from queries.answer import FIGURES, Answer, Fold
from queries.compare import previous
from queries.cursor import Cursors, Place
from queries.names import narrowed
from queries.present import CSV_TYPE, JSON_TYPE, as_csv, as_json
from queries.pricing import Pricing
from queries.question import Terms, UsageQuery, one_of, single, usage_query
from queries.read import Bounds, UsageReader, in_time
from services import Services

FORMATS = ("json", "csv")


async def get(request: Request) -> Response:
    """Read the question, the rows and the format; raises QueryError and StoreError."""
    wanted = _format(request)
    async with in_time(services.get().settings.query_max_seconds):
        answer, next_cursor = await _answered(request)
    return _presented(answer, wanted, next_cursor)


async def _answered(request: Request) -> tuple[Answer, str | None]:
    found = services.get()
    now = services.now()
    settings = found.settings
    terms = Terms(settings.dimensions, FIGURES, settings.query_max_days, settings.query_max_rows)
    query = usage_query(request.parameters, now, terms)
    cursors, cursor = None, single(request.parameters, "cursor")
    if cursor is not None or query.limit is not None:
        cursors = Cursors(await found.directory.cursor_key(), "usage", request.parameters, request.allowed)
    if cursors is not None and cursor is not None:
        place = cursors.open(cursor)
        query = replace(query, start=place.start, end=place.end, after=place.after)
    answer = await answered(query, now, request.allowed)
    next_cursor = None
    if cursors is not None and answer.next_position is not None:
        next_cursor = cursors.seal(Place(query.start, query.end, answer.next_position))
    return answer, next_cursor


async def answered(query: UsageQuery, now: datetime, allowed: Collection[str] | None) -> Answer:
    """The answer to a question, priced, of the apps that its caller may see (None: all). Raises QueryError and
    StoreError."""
    found = services.get()
    settings = found.settings
    pricing = Pricing(found.prices, found.catalogue, found.directory)
    entered, book = await asyncio.gather(names(), pricing.book())
    reader = UsageReader(found.usage, found.directory, concurrency=settings.query_concurrency, bounds=bounds_of(found))

    async def folded(question: UsageQuery) -> Fold:
        cut = await pricing.cut(question, book, entered)
        fold = Fold(cut, settings.query_max_rows, book, entered)
        found.telemetry.entities_read("usage", await reader.read(narrowed(cut, entered, allowed), fold.take, now))
        return fold

    fold = await folded(query)
    return fold.answer(await folded(previous(query)) if query.compare else None)


def bounds_of(found: Services) -> Bounds:
    """The bounds that the settings give every question."""
    settings = found.settings
    return Bounds(
        max_entities=settings.query_max_entities,
        max_calls=settings.query_max_calls,
        max_call_days=settings.query_max_call_days,
        max_requests=settings.query_max_requests,
        max_seconds=settings.query_max_seconds,
        call_retention_days=settings.call_retention_days,
    )


def _presented(answer: Answer, wanted: str, next_cursor: str | None) -> Response:
    more = {NEXT_CURSOR: next_cursor} if next_cursor else {}
    if wanted == "csv":
        return Response(as_csv(answer), content_type=CSV_TYPE, more=more)
    return Response(as_json(answer, next_cursor), content_type=JSON_TYPE, more=more)


_MEDIA_TYPES = {
    "text/csv": "csv",
    "text/*": "csv",
    "application/json": "json",
    "application/*": "json",
    "*/*": "json",
}
_WEIGHT = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)", re.ASCII)


def _preferred(accept: str) -> str:
    """The format that weighs most in an Accept header (RFC 9110, 12.5.1), the first of equals; else json."""
    best, wanted = 0.0, "json"
    for choice in accept.lower().split(","):
        name = _MEDIA_TYPES.get(choice.partition(";")[0].strip())
        weight = _WEIGHT.search(choice)
        if name and (value := float(weight[1]) if weight else 1.0) > best:
            best, wanted = value, name
    return wanted


def _format(request: Request) -> str:
    wanted = one_of(request.parameters, "format", FORMATS, "")
    return wanted or _preferred(request.headers.get("accept", ""))
