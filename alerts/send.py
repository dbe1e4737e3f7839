"""One request to a webhook: to an address of the Internet, quickly, without following where it sends us.

The address is judged when the socket to it is made, so that there is no moment between the check and the connection in
which a name could come to mean something else (DNS rebinding), and no way around it for numbers in a URL. Redirects are
not followed and no proxy of the environment is asked.
"""

import asyncio
import math
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from models.webhook import is_public

MAX_SECONDS: Final = 10.0
"""Of one request, from looking up the name to the answer's status."""
NOT_ALLOWED: Final = "address not allowed"
TIMED_OUT: Final = "timed out"
MAX_DIGITS: Final = 7
MAX_TEXT: Final = 300
"""Characters of an answer's text that are read."""


class Answer(NamedTuple):
    """What came of a request: the HTTP status, or the `fault` for which there is none. `retry_after` is how many
    seconds the receiver asks us to wait. `text` is the beginning of what it said, if that was asked for."""

    status: int | None
    fault: str | None = None
    retry_after: int | None = None
    text: str | None = None
    seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def words(self) -> str:
        """In a word or two, nothing of them the receiver's own."""
        return self.fault or f"status {self.status}"


async def send(
    url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool, with_text: bool = False
) -> Answer:
    """Never raises for what receiver or network do. No error text of the client's is kept: it can hold the URL."""
    import aiohttp  # loaded only where something is sent

    gate = _Gate(allow_private)
    started = time.monotonic()

    def failed(fault: str) -> Answer:
        return Answer(None, fault, seconds=time.monotonic() - started)

    try:
        async with (
            asyncio.timeout(MAX_SECONDS),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=gate.socket, force_close=True, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            ) as session,
            session.post(
                url,
                data=body,
                headers={"User-Agent": "llm-usage-collector", "Accept-Encoding": "identity", **headers},
                allow_redirects=False,
            ) as response,
        ):
            text = await _text(response.content) if with_text else None
            wait = seconds_of(response.headers.get("Retry-After", ""), datetime.now(UTC))
            return Answer(response.status, None, wait, text, time.monotonic() - started)
    except TimeoutError:
        return failed(TIMED_OUT)
    except aiohttp.ClientConnectorDNSError:
        return failed("name not found")
    except aiohttp.ClientSSLError:
        return failed("TLS failed")
    except aiohttp.ClientConnectorError:
        return failed(NOT_ALLOWED if gate.refused else "not connected")
    except (aiohttp.ClientError, OSError, ValueError):
        return failed("broken off")


def seconds_of(retry_after: str, now: datetime) -> int | None:
    """How many seconds to wait, of a number or a date (RFC 9110, 10.2.3); None for anything else."""
    if retry_after.isascii() and retry_after.isdigit():
        return int(retry_after) if len(retry_after) < MAX_DIGITS else None
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(math.ceil((until - now).total_seconds()), 0)


class _Gate:
    """Makes sockets to allowed addresses only."""

    def __init__(self, allow_private: bool):
        self._allow_private = allow_private
        self.refused = False

    def socket(self, address: Any) -> socket.socket:
        """`address` is what getaddrinfo gives; its host is a number, and the one that is then connected to."""
        family, kind, protocol, _, place = address
        if not self._allow_private and not is_public(str(place[0])):
            self.refused = True
            raise OSError("the address is not allowed")
        return socket.socket(family, kind, protocol)


async def _text(content: Any) -> str:
    """The beginning of an answer, in one line; what comes late is not waited for."""
    try:
        async with asyncio.timeout(1.0):
            start: bytes = await content.read(MAX_TEXT)
    except TimeoutError:
        return ""
    return "".join(each if each.isprintable() else " " for each in start.decode(errors="replace"))
