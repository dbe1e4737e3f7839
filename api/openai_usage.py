"""GET /api/v1/organization/usage/completions, .../usage/embeddings and .../costs, for OpenAI's own clients."""

from dataclasses import replace
from typing import Final

import services
from api.response import Request, Response, error_shape, json_response
from api.usage import answered
from models.errors import QueryError
from queries.cursor import Cursors, Place
from queries.openai_parameters import FILTERS, Kind
from queries.openai_usage import buckets_query, page_shape, plain_parameters
from queries.question import single
from queries.read import in_time

_PARAMETERS: Final = {dimension: name for name, dimension in FILTERS.items()}


async def completions(request: Request) -> Response:
    """Tokens of all calls but embeddings. Raises StoreError."""
    return await _answer("completions", request)


async def embeddings(request: Request) -> Response:
    """Tokens of embeddings. Raises StoreError."""
    return await _answer("embeddings", request)


async def costs(request: Request) -> Response:
    """What all calls cost. Raises StoreError."""
    return await _answer("costs", request)


async def _answer(kind: Kind, request: Request) -> Response:
    try:
        async with in_time(services.get().settings.query_max_seconds):
            return await _page(kind, request)
    except QueryError as error:
        # OpenAI's members beside our own, so that its clients and ours find the same.
        parameter = _PARAMETERS.get(error.parameter or "", error.parameter)
        shape = error_shape(error.code, str(error), parameter)
        shape["error"] |= {
            "param": parameter,
            "type": "invalid_request_error" if error.status < 500 else "server_error",
        }
        return json_response(shape, error.status)


async def _page(kind: Kind, request: Request) -> Response:
    found, now = services.get(), services.now()
    parameters = plain_parameters(request.parameters)
    query = buckets_query(kind, parameters, now, found.settings.query_max_days)
    bound = {name: values for name, values in parameters.items() if name != "page"}
    cursors = Cursors(await found.directory.cursor_key(), f"openai_{kind}", bound, request.caller)
    if (page := single(parameters, "page")) is not None:
        place = cursors.open(page, "page")
        query = replace(query, start=place.start, end=place.end)
    answer = await answered(query.question(found.settings.dimensions), now, request.allowed)
    reached = query.buckets[-1][1]
    next_page = cursors.seal(Place(reached, query.end, [])) if reached < query.end else None
    return json_response(page_shape(query, answer, next_page))
