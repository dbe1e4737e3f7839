"""A proxy between azure-data-tables and Azurite that does what Table Storage can do and Azurite does not.

It passes requests on as they are: a SharedKey signature covers the path, not the host. What it answers in the service's
place has the shape of the service's own answers (learn.microsoft.com, "Table Storage error codes", "Performing entity
group transactions", "Query timeout and pagination"; Azure/azure-sdk-for-net#20533 shows the part of a failed
transaction, whose message has no index when the first operation failed).
"""

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Literal, NamedTuple, Self
from urllib.parse import unquote
from uuid import uuid4

from aiohttp import ClientConnectionError, ClientSession, web
from yarl import URL

from local.azurite import Azurite

PATIENCE_SECONDS = 0.2
"""The read timeout that a client of this proxy should have: what is too slow takes longer."""

Kind = Literal["update", "transaction", "query", "other"]
"""`update` is a transaction that replaces a row under its ETag."""


class Fault(StrEnum):
    """One thing that can happen to a request."""

    INTERNAL_ERROR = "500, nothing done"
    TIMED_OUT = "500 OperationTimedOut, all done"
    BAD_GATEWAY = "502 with a page of a gateway, nothing done"
    SERVER_BUSY = "503, nothing done"
    SERVER_BUSY_XML = "503 from the front end, which speaks XML, nothing done"
    REQUEST_TIMEOUT = "408 without a body, nothing done"
    THROTTLED = "429 with Retry-After, nothing done"
    CUT_BEFORE = "connection cut, nothing done"
    CUT_AFTER = "connection cut, all done"
    CUT_MIDWAY = "connection cut in the middle of the answer, all done"
    SLOW = "answer in time, but late"
    TOO_SLOW = "answer after the client's timeout, all done"
    OVERDUE = "all done only when the client has given up"
    BUSY_INSIDE = "202 with 503 ServerBusy inside, nothing done"
    ERROR_INSIDE = "202 with 500 InternalError inside, nothing done"
    TIMED_OUT_INSIDE = "202 with 500 OperationTimedOut inside, all done"
    CHANGED_INSIDE = "202 with 412 for a row that is as the client thinks, nothing done"
    EMPTY_PAGE = "no rows and a continuation token"
    SHORT_PAGE = "one row and a continuation token"


OF_TRANSACTIONS = frozenset({Fault.BUSY_INSIDE, Fault.ERROR_INSIDE, Fault.TIMED_OUT_INSIDE, Fault.CHANGED_INSIDE})
OF_QUERIES = frozenset({Fault.EMPTY_PAGE, Fault.SHORT_PAGE})
_WEIGHTS = {Fault.TOO_SLOW: 0.5, Fault.OVERDUE: 0.5} | dict.fromkeys(OF_TRANSACTIONS | OF_QUERIES, 16)
"""How often a fault is drawn, else 4: rarely where the client has to wait, often where few requests can meet it."""

Choose = Callable[[int, Kind], Fault | None]
"""Which fault happens to the request of this number (from 1) and kind."""


def applies(fault: Fault, kind: Kind) -> bool:
    """Whether this fault can happen to a request of this kind."""
    if fault is Fault.CHANGED_INSIDE:
        return kind == "update"
    if fault in OF_TRANSACTIONS:
        return kind in ("update", "transaction")
    return kind == "query" if fault in OF_QUERIES else True


def no_fault(_number: int, _kind: Kind) -> None:
    """All goes well."""


def at(place: int, fault: Fault) -> Choose:
    """The fault happens to the request of that number, or to the first one after it that it can happen to."""
    happened = False

    def choose(number: int, kind: Kind) -> Fault | None:
        nonlocal happened
        if happened or number < place or not applies(fault, kind):
            return None
        happened = True
        return fault

    return choose


def every(*faults: Fault) -> Choose:
    """The first of the faults that can happen to a request happens to it."""
    return lambda _number, kind: next((fault for fault in faults if applies(fault, kind)), None)


def at_random(seed: int, share: float) -> Choose:
    """Any fault, to that share of the requests."""
    draw = random.Random(seed)

    def choose(_number: int, kind: Kind) -> Fault | None:
        if draw.random() >= share:
            return None
        able = [fault for fault in Fault if applies(fault, kind)]
        return draw.choices(able, [_WEIGHTS.get(fault, 4) for fault in able])[0]

    return choose


class _Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class TableProxy:
    """Between `async with` and its end it listens on a free port; `connection_string` leads through it.

    `choose` may be replaced at any time. `requests` counts what came, `injected` the faults that happened.
    """

    def __init__(self, azurite: Azurite, choose: Choose = no_fault) -> None:
        self.choose = choose
        self.requests = 0
        self.injected: Counter[Fault] = Counter()
        self._azurite = azurite
        self._overdue: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.settled()
        await self._runner.cleanup()
        await self._session.close()

    @property
    def connection_string(self) -> str:
        return self._azurite.connection_string.replace(f":{self._azurite.table_port}/", f":{self._port}/")

    async def settled(self) -> None:
        """Returns when nothing is under way any more that a client has given up on."""
        while self._overdue:
            await asyncio.gather(*self._overdue)

    # ------------------------------------------------------------------------------------------------ one request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests += 1
        fault = self.choose(self.requests, _kind(request, body))
        if fault is not None:
            self.injected[fault] += 1
        try:
            return await self._with_fault(fault, request, body)
        except ClientConnectionError:  # Azurite is not there
            return _cut(request)

    async def _with_fault(self, fault: Fault | None, request: web.Request, body: bytes) -> web.StreamResponse:
        match fault:
            case Fault.INTERNAL_ERROR | Fault.SERVER_BUSY | Fault.THROTTLED:
                return _response(_error(fault))
            case Fault.SERVER_BUSY_XML:
                return _response(_Answer(503, {"Content-Type": "application/xml"}, _BUSY_XML))
            case Fault.BAD_GATEWAY:
                return _response(_Answer(502, {"Content-Type": "text/html"}, b"<html><h1>502 Bad Gateway</h1></html>"))
            case Fault.REQUEST_TIMEOUT:
                return _response(_Answer(408, {}, b""))
            case Fault.CUT_BEFORE:
                return _cut(request)
            case Fault.BUSY_INSIDE | Fault.ERROR_INSIDE | Fault.CHANGED_INSIDE:
                return _response(_inside(fault, body))
            case Fault.EMPTY_PAGE:
                return _response(_empty_page(request))
            case Fault.SHORT_PAGE:
                return _response(await self._forward(request, body, top=1))
            case Fault.SLOW:
                await asyncio.sleep(PATIENCE_SECONDS / 10)
            case Fault.OVERDUE:
                task = asyncio.create_task(self._do_when_given_up(request, body))
                self._overdue.add(task)
                task.add_done_callback(self._overdue.discard)
                await asyncio.sleep(2 * PATIENCE_SECONDS)
                return _cut(request)
            case _:
                pass
        answer = await self._forward(request, body)
        match fault:
            case Fault.TIMED_OUT:
                return _response(_error(fault))
            case Fault.TIMED_OUT_INSIDE:
                return _response(_inside(fault, body))
            case Fault.CUT_AFTER:
                return _cut(request)
            case Fault.CUT_MIDWAY:
                return await _half(request, answer)
            case Fault.TOO_SLOW:
                await asyncio.sleep(2 * PATIENCE_SECONDS)
        return _response(answer)

    async def _do_when_given_up(self, request: web.Request, body: bytes) -> None:
        await asyncio.sleep(1.5 * PATIENCE_SECONDS)
        with contextlib.suppress(ClientConnectionError):
            await self._forward(request, body)

    async def _forward(self, request: web.Request, body: bytes, top: int | None = None) -> _Answer:
        """What Azurite answers. A page may be shortened to `top` rows; our own token for a query's start is taken out:
        the signature does not cover the query."""
        path, _, query = request.raw_path.partition("?")
        parts = [part for part in query.split("&") if part not in _FROM_START]
        parts += [f"$top={top}"] if top is not None else []
        async with self._session.request(
            request.method,
            URL(f"http://127.0.0.1:{self._azurite.table_port}{path}?{'&'.join(parts)}".removesuffix("?"), encoded=True),
            headers=request.headers,
            data=body or None,
            skip_auto_headers=("Content-Type",),
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_THE_CONNECTION}
            return _Answer(answer.status, kept, await answer.read())


_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_OPERATION = re.compile(rb"^(?:PUT|PATCH|POST|DELETE) .+?\r\n\r\n", re.MULTILINE | re.DOTALL)
_FROM_START = frozenset({"NextPartitionKey=start", "NextRowKey=start", ""})
_BUSY_XML = b"""<?xml version="1.0" encoding="utf-8"?>
<Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>"""
_SAYS = {
    Fault.INTERNAL_ERROR: (500, "InternalError", "Server encountered an internal error. Please try again later."),
    Fault.ERROR_INSIDE: (500, "InternalError", "Server encountered an internal error. Please try again later."),
    Fault.TIMED_OUT: (500, "OperationTimedOut", "Operation could not be completed within the specified time."),
    Fault.TIMED_OUT_INSIDE: (500, "OperationTimedOut", "Operation could not be completed within the specified time."),
    Fault.SERVER_BUSY: (503, "ServerBusy", "The server is busy."),
    Fault.BUSY_INSIDE: (503, "ServerBusy", "The server is busy."),
    Fault.THROTTLED: (429, "TooManyRequests", "The request rate is too large. Please retry after some time."),
    Fault.CHANGED_INSIDE: (
        412,
        "UpdateConditionNotSatisfied",
        "The update condition specified in the request was not satisfied.",
    ),
}


def _is_conditional(operation: bytes) -> bool:
    return b"\r\nIf-Match: " in operation and b"\r\nIf-Match: *" not in operation


def _kind(request: web.Request, body: bytes) -> Kind:
    if request.path.endswith("/$batch"):
        return "update" if any(map(_is_conditional, _OPERATION.findall(body))) else "transaction"
    return "query" if request.method == "GET" and request.path.endswith("()") else "other"


def _response(answer: _Answer) -> web.Response:
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _half(request: web.Request, answer: _Answer) -> web.StreamResponse:
    """The first half of an answer that is announced whole."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = max(len(answer.body), 2)
    try:
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
    except ClientConnectionError:
        pass
    if request.transport is not None:
        request.transport.close()
    return response


def _error_body(code: str, message: str) -> bytes:
    value = f"{message}\nRequestId:{uuid4()}\nTime:{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
    return json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": value}}}).encode()


_JSON = "application/json;odata=minimalmetadata;streaming=true;charset=utf-8"


def _error(fault: Fault) -> _Answer:
    status, code, message = _SAYS[fault]
    headers = {"Content-Type": _JSON, "x-ms-request-id": str(uuid4()), "x-ms-version": "2019-02-02"}
    if fault is Fault.THROTTLED:
        headers["Retry-After"] = "0.01"  # the service says whole seconds
    return _Answer(status, headers, _error_body(code, message))


def _inside(fault: Fault, body: bytes) -> _Answer:
    """A failed transaction: one part, about the operation that failed."""
    status, code, message = _SAYS[fault]
    operations = _OPERATION.findall(body)
    conditional = [index for index, found in enumerate(operations) if _is_conditional(found)]
    index = conditional[-1] if fault is Fault.CHANGED_INSIDE else len(operations) // 2
    part = _error_body(code, f"{index}:{message}" if index else message)
    batch, changes = f"batchresponse_{uuid4()}", f"changesetresponse_{uuid4()}"
    head = [
        f"--{batch}",
        f"Content-Type: multipart/mixed; boundary={changes}",
        "",
        f"--{changes}",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "",
        f"HTTP/1.1 {status} {code}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-cache",
        "Preference-Applied: return-no-content",
        "DataServiceVersion: 3.0;",
        f"Content-Type: {_JSON}",
        "",
        "",
    ]
    text = "\r\n".join(head).encode() + part + f"\r\n--{changes}--\r\n--{batch}--\r\n".encode()
    return _Answer(202, {"Content-Type": f"multipart/mixed; boundary={batch}"}, text)


def _empty_page(request: web.Request) -> _Answer:
    """`Go on where you wanted to go on.` Where that is the start there is no token yet, and ours stands for it."""
    table = unquote(request.path).rpartition("/")[2].removesuffix("()")
    headers = {
        "Content-Type": _JSON,
        "x-ms-continuation-NextPartitionKey": request.query.get("NextPartitionKey", "start"),
        "x-ms-continuation-NextRowKey": request.query.get("NextRowKey", "start"),
    }
    page = {"odata.metadata": f"http://127.0.0.1/$metadata#{table}", "value": []}
    return _Answer(200, headers, json.dumps(page).encode())
