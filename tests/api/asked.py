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
    return await send(endpoint, endpoint, parameters, headers=headers)


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
    """A request to /api/{path}/{part}, with `part` under `name` in the route."""
    whole = f"{path}/{quote(part, safe='')}"
    return await send(endpoint, whole, parameters, method=method, route={name: part}, body=body, headers=headers)


async def post(body: object, headers: Mapping[str, str] | None = None) -> Reply:
    """POST /api/events."""
    return await send("events", "events", method="POST", body=b"null" if body is None else body, headers=headers)


async def send(
    endpoint: str,
    path: str,
    parameters: Parameters | str = "",
    *,
    method: str = "GET",
    route: Mapping[str, str] | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A request to /api/{path}, with the parts of the route as the host decodes them. Bytes are sent as they are, no
    body for None, anything else as JSON."""
    query = parameters if isinstance(parameters, str) else urlencode(parameters, doseq=True)
    url = f"https://usage.example.net/api/{path}" + (f"?{query}" if query else "")
    sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = func.HttpRequest(method, url, headers=headers, params={}, route_params=route or {}, body=sent)
    response: func.HttpResponse = await getattr(function_app, endpoint)(request)
    return Reply(response.status_code, response.headers, response.get_body().decode(response.charset))
