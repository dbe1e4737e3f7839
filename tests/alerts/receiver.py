"""A receiver of alerts: a real HTTP server, which answers as it is told to and keeps what it was sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Got:
    """One request."""

    headers: dict[str, str]
    body: bytes


async def _ok(request: web.Request) -> web.Response:
    return web.Response(text="ok")


@dataclass
class Receiver:
    """`answer` may be changed at any time."""

    answer: Answering = _ok
    got: list[Got] = field(default_factory=list)
    port: int = 0
    hung: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?sig=secret"

    def says(self, status: int, text: str = "", **headers: str) -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, text=text, headers=headers)

        self.answer = answer

    def hangs(self) -> None:
        async def answer(request: web.Request) -> web.Response:
            await self.hung.wait()
            return web.Response()

        self.answer = answer

    async def _take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(headers, await request.read()))
        return await self.answer(request)


@asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", receiver._take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, 0)
        await site.start()
        address: Any = runner.addresses[0]
        receiver.port = address[1]
        yield receiver
    finally:
        receiver.hung.set()
        await runner.cleanup()
