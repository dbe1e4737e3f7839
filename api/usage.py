"""GET /api/usage: token totals over a range, by time and dimension."""

import re
from collections.abc import Callable

import services
from api.response import Request, Response
from models.errors import QueryError
from queries.answer import Answer, Fold
from queries.present import CSV_TYPE, JSON_TYPE, as_csv, as_json
from queries.pricing import Pricing
from queries.question import single, usage_query
from queries.read import UsageReader


async def get(request: Request) -> Response:
    """Read the question, the rows and the format; raises QueryError and StoreError."""
    present, content_type = _format(request)
    found = services.get()
    query = usage_query(request.parameters, services.now(), found.settings.dimensions, found.settings.query_max_days)
    query, book = await Pricing(found.prices, found.catalogue, found.directory).priced(query)
    fold = Fold(query, found.settings.query_max_rows, book)
    reader = UsageReader(
        found.usage,
        found.directory,
        concurrency=found.settings.query_concurrency,
        max_entities=found.settings.query_max_entities,
    )
    await reader.read(query, fold.take)
    return Response(present(fold.answer()), content_type=content_type)


_FORMATS: dict[str, tuple[Callable[[Answer], str], str]] = {"json": (as_json, JSON_TYPE), "csv": (as_csv, CSV_TYPE)}


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


def _format(request: Request) -> tuple[Callable[[Answer], str], str]:
    wanted = single(request.parameters, "format")
    if wanted is None:
        wanted = _preferred(request.headers.get("accept", ""))
    if wanted not in _FORMATS:
        raise QueryError("invalid_parameter", f"format is {wanted!r:.60}, expected one of json, csv", "format")
    return _FORMATS[wanted]
