"""GET /api/openapi.json and GET /api/docs: what the API is, without any data, made when first asked."""

import asyncio
import json

from api.response import Request, Response
from queries.parameters import Query
from queries.question import refuse_unknown


async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    refuse_unknown(request.parameters, Query.names())
    from api.openapi.document import document  # half a second of work, that no other answer waits for

    return Response(json.dumps(await asyncio.to_thread(document), ensure_ascii=False))


async def docs(request: Request) -> Response:
    """The same as a page. Its address can hold a key, so it tells nobody where it was."""
    refuse_unknown(request.parameters, Query.names())
    from api.openapi.document import document
    from api.openapi.page import POLICY, as_page

    text = as_page(await asyncio.to_thread(document))
    safe = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
    return Response(text, content_type="text/html; charset=utf-8", more=safe)
