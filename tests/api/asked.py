"""Requests to the app as its callers make them: through the functions of function_app.py, with real requests."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import azure.functions as func

import function_app

Parameters = Mapping[str, str | list[str]]


@dataclass(frozen=True)
class Reply:
    """What the caller gets."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"].startswith("application/json"), self.headers
        return json.loads(self.text)

    @property
    def csv(self) -> list[dict[str, str]]:
        assert self.headers["Content-Type"].startswith("text/csv"), self.headers
        return list(csv.DictReader(io.StringIO(self.text, newline=""), strict=True))

    @property
    def error(self) -> dict[str, Any]:
        """The error, which has the one shape that all have."""
        assert self.status >= 400, self
        assert list(self.json) == ["error"]
        error: dict[str, Any] = self.json["error"]
        assert list(error) == ["code", "message", "parameter"]
        assert error["code"]
        assert error["message"]
        return error


async def ask(endpoint: str, parameters: Parameters | str = "", headers: Mapping[str, str] | None = None) -> Reply:
    """GET /api/{endpoint}. A string is sent as the query string that it is."""
    query = parameters if isinstance(parameters, str) else urlencode(parameters, doseq=True)
    url = f"https://usage.example.net/api/{endpoint}" + (f"?{query}" if query else "")
    return await _answer(endpoint, func.HttpRequest("GET", url, headers=headers, params={}, route_params={}, body=b""))


async def ask_one(
    endpoint: str,
    path: str,
    name: str,
    part: str,
    parameters: Parameters | str = "",
    *,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A request to /api/{path}/{part}, with `part` under `name` in the route. What is no bytes is sent as JSON."""
    query = parameters if isinstance(parameters, str) else urlencode(parameters, doseq=True)
    url = f"https://usage.example.net/api/{path}/{quote(part, safe='')}" + (f"?{query}" if query else "")
    sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = func.HttpRequest(method, url, headers=headers, params={}, route_params={name: part}, body=sent)
    return await _answer(endpoint, request)


async def post(body: object, headers: Mapping[str, str] | None = None) -> Reply:
    """POST /api/events. Bytes are sent as they are, anything else as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = "https://usage.example.net/api/events"
    request = func.HttpRequest("POST", url, headers=headers, params={}, route_params={}, body=sent)
    return await _answer("events", request)


async def _answer(endpoint: str, request: func.HttpRequest) -> Reply:
    response: func.HttpResponse = await getattr(function_app, endpoint)(request)
    return Reply(response.status_code, response.headers, response.get_body().decode(response.charset))
