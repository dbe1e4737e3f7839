"""The API over HTTP."""

import json
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

Parameters = Mapping[str, str | Sequence[str]]

TIMEOUT_SECONDS: Final = 240
"""Azure ends a request after 230."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class ClientError(Exception):
    """Says in one line why there is no answer."""


class Client:
    """Asks the function app at `url`, with headers that say who asks."""

    def __init__(self, url: str, headers: Mapping[str, str]):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(
                f"{url!r} is no address of a function app, expected one such as https://x.azurewebsites.net"
            )
        local = parts.hostname in _LOOPBACK
        if headers and parts.scheme == "http" and not local:
            raise ClientError(f"{url} is not encrypted: a key or a token is sent over https only")
        self._url = url.rstrip("/").removesuffix("/api")
        self._headers = headers
        self._opener = _opener(local=local)

    def get(self, path: str, parameters: Parameters) -> Any:
        """An answer as JSON."""
        body, _ = self._ask(path, parameters)
        try:
            return json.loads(body)
        except ValueError:
            raise ClientError(f"{self._url} did not answer with JSON: is it a usage collector?") from None

    def pages(self, path: str, parameters: Parameters) -> Iterator[str]:
        """The answer in another format, page after page."""
        cursor: dict[str, str] = {}
        while True:
            body, headers = self._ask(path, {**parameters, **cursor})
            yield body
            if not (following := headers.get("X-Next-Cursor")):
                return
            cursor = {"cursor": following}

    def _ask(self, path: str, parameters: Parameters) -> tuple[str, HTTPMessage]:
        url = f"{self._url}/api/{path}?{urlencode(parameters, doseq=True)}"
        try:
            with self._opener.open(Request(url, headers=dict(self._headers)), timeout=TIMEOUT_SECONDS) as response:
                return response.read().decode(), response.headers
        except HTTPError as error:
            with error:
                raise ClientError(_refusal(error.code, error.read(64 * 1024))) from None
        except (URLError, OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ClientError(f"{self._url} does not answer: {reason}") from None


def _refusal(status: int, body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return f"{error['message']} ({error['code']})"
    except (ValueError, KeyError, TypeError):
        pass
    if status in (301, 302, 303, 307, 308, 401):
        return f"the function app wants to know who asks (status {status}): set USAGE_FUNCTION_KEY, or --audience"
    return f"the function app answered with status {status}" + (": is the address right?" if status == 404 else "")


class _NoRedirects(HTTPRedirectHandler):
    """A key must not follow to where somebody points."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _opener(*, local: bool) -> OpenerDirector:
    return build_opener(_NoRedirects, *([ProxyHandler({})] if local else []))


def credentials(function_key: str | None, audience: str | None) -> dict[str, str]:
    """The headers that say who asks: a function key, a token of Entra for `audience`, both or none."""
    headers = {"x-functions-key": function_key} if function_key else {}
    if audience:
        headers["Authorization"] = f"Bearer {_token(audience)}"
    return headers


def _token(audience: str) -> str:
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise ClientError("--audience needs azure-identity: pip install -r usage_cli/requirements.txt") from None
    scope = audience if audience.endswith("/.default") else f"{audience.rstrip('/')}/.default"
    try:
        return DefaultAzureCredential().get_token(scope).token
    except ClientAuthenticationError as error:
        told = " ".join((error.message or "").split())[:200]
        raise ClientError(f"no token for {audience}: sign in with `az login` ({told})") from None
