"""GET /api/dashboard and GET /api/dashboard/{file}: the page in folder `dashboard`. It holds no data, and asks the API
for it with the rights of who looks at it (docs/dashboard.md)."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from api.response import Request, Response
from models.errors import QueryError

FOLDER: Final = Path(__file__).resolve().parents[1] / "dashboard"
PAGE: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # kept, and asked for anew: a page of yesterday's files would not fit together
}


@dataclass(frozen=True, slots=True)
class File:
    """A file that is served, and its strong validator."""

    text: str
    content_type: str
    etag: str


@cache
def files() -> dict[str, File]:
    """All that can be served, by name: no path is made of what a request names."""
    found = (path for path in sorted(FOLDER.rglob("*")) if path.suffix in _TYPES)
    return {path.name: _read(path) for path in found}


def _read(path: Path) -> File:
    text = path.read_text("utf-8")
    return File(text, _TYPES[path.suffix], f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"')


async def page(request: Request) -> Response:
    """The page itself. Its parameters are its own business. Its files and the API lie beside its path, whatever the
    prefix of routes: a path that ends in a slash is led to the one that does not."""
    if request.path.endswith("/"):
        return Response("", 308, _TYPES[".html"], {**HEADERS, "Location": "../dashboard"})
    return _answer(request, PAGE)


async def file(request: Request) -> Response:
    """What the page is made of. Raises QueryError (404)."""
    return _answer(request, request.route["file"])


def _answer(request: Request, name: str) -> Response:
    found = files().get(name)
    if found is None:
        raise QueryError("not_found", f"the dashboard has no file {name!r:.60}", "file", 404)
    more = {**HEADERS, "ETag": found.etag}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response("", 304, found.content_type, more)
    return Response(found.text, 200, found.content_type, more)
