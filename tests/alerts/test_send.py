"""alerts.send: real requests to a real server, and none to where none may go."""

import asyncio
import socket
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

import alerts.send
from alerts.send import MAX_TEXT, Answer, seconds_of, send
from tests.alerts.receiver import receiving


async def to(url: str, **options: Any) -> Answer:
    return await send(url, b"{}", {"Content-Type": "application/json"}, **{"allow_private": True, **options})


async def test_a_receiver_gets_the_body_as_it_is() -> None:
    async with receiving() as receiver:
        answer = await to(receiver.url, with_text=True)
        assert (answer.delivered, answer.status, answer.words, answer.text) == (True, 200, "status 200", "ok")
        [got] = receiver.got
        assert (got.body, got.headers["content-type"]) == (b"{}", "application/json")
        assert got.headers["user-agent"] == "llm-usage-collector"
        assert "cookie" not in got.headers


@pytest.mark.parametrize("status", [201, 202, 204, 299])
async def test_any_status_of_success_will_do(status: int) -> None:
    async with receiving() as receiver:
        receiver.says(status)
        assert (await to(receiver.url)).delivered


def test_a_wait_may_be_a_date() -> None:
    now = datetime(2026, 10, 21, 7, 27, 30, tzinfo=UTC)
    assert seconds_of("Wed, 21 Oct 2026 07:28:00 GMT", now) == 30
    assert seconds_of("Wed, 21 Oct 2026 07:27:00 GMT", now) == 0


@pytest.mark.parametrize("status", [300, 400, 404, 410, 429, 500, 503])
async def test_other_statuses_are_none(status: int) -> None:
    async with receiving() as receiver:
        receiver.says(status, **{"Retry-After": "30"})
        answer = await to(receiver.url)
        assert (answer.delivered, answer.words, answer.retry_after) == (False, f"status {status}", 30)


@pytest.mark.parametrize("wait", ["", "soon", "-1", "1" * 40, "٣", "Wed, 99 Oct 2026 07:28:00 GMT"])
async def test_a_wait_that_is_no_number_and_no_date_is_none(wait: str) -> None:
    async with receiving() as receiver:
        receiver.says(503, **{"Retry-After": wait})
        assert (await to(receiver.url)).retry_after is None


async def test_a_redirect_is_not_followed() -> None:
    async with receiving() as receiver, receiving() as other:
        for status in (301, 302, 303, 307, 308):
            receiver.says(status, Location=other.url)
            assert (await to(receiver.url)).words == f"status {status}"
        assert other.got == []


async def test_who_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.2)
    async with receiving() as receiver:
        receiver.hangs()
        assert (await to(receiver.url)).words == "timed out"


async def test_who_never_says_a_word_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert (await to(f"http://127.0.0.1:{silent.getsockname()[1]}/")).words == "timed out"


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    ended = asyncio.Event()

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"\x1b<x>\n" * 10_000)
        except (ConnectionError, asyncio.CancelledError):
            ended.set()
            raise

    async with receiving() as receiver:
        receiver.answer = flood
        answer = await to(receiver.url, with_text=True)
        assert answer.delivered
        assert answer.text is not None
        assert 0 < len(answer.text) <= MAX_TEXT
        assert answer.text.isprintable()
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_status_counts_although_its_body_never_comes() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(30)
        return response

    async with receiving() as receiver:
        receiver.answer = half
        assert (await to(receiver.url)).delivered


async def test_who_is_not_there_and_who_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert (await to(f"http://127.0.0.1:{port}/")).words == "not connected"

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"nonsense\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as rude_server:
        port = rude_server.sockets[0].getsockname()[1]
        assert (await to(f"http://127.0.0.1:{port}/")).words == "broken off"
        assert (await to(f"https://127.0.0.1:{port}/")).words == "TLS failed"


async def test_a_name_that_does_not_exist() -> None:
    assert (await to("https://nowhere.invalid/hook")).words == "name not found"


# ------------------------------------------------------------------------------------------------ where none may go


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::1]",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "LOCALHOST."],
)  # fmt: skip
async def test_this_machine_by_any_name_is_refused(host: str) -> None:
    async with receiving() as receiver:
        answer = await to(f"http://{host}:{receiver.port}/", allow_private=False)
        assert (answer.status, receiver.got) == (None, [])
        assert answer.words in ("address not allowed", "name not found", "not connected", "broken off")


def resolves_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names mean these addresses, each time they are asked for the next ones. Gives the names that were asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        kinds = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in found]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port) + ((0, 0) if family == socket.AF_INET6 else ()))
            for family, address in kinds
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "168.63.129.16"])
async def test_a_name_that_means_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    async with receiving() as receiver:
        asked = resolves_to(monkeypatch, [address])
        answer = await to(f"http://hook.example:{receiver.port}/", allow_private=False)
        assert (asked, answer.words, receiver.got) == (["hook.example"], "address not allowed", [])


async def test_a_name_that_changes_its_meaning_has_no_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is of the Internet (and nobody is there), any later one is this machine."""
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 1.0)
    async with receiving() as receiver:
        asked = resolves_to(monkeypatch, ["192.0.2.1", "127.0.0.1"], ["127.0.0.1"])
        answer = await to(f"http://rebinding.example:{receiver.port}/", allow_private=False)
        assert (len(asked), answer.status, receiver.got) == (1, None, [])


async def test_what_is_judged_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket is made for each address, after it was judged, and for no other."""
    made: list[str] = []

    def judge(address: str) -> bool:
        made.append(address)
        return address != "::1"

    monkeypatch.setattr(alerts.send, "is_public", judge)
    async with receiving() as receiver:
        resolves_to(monkeypatch, ["::1", "127.0.0.1"])
        assert (await to(f"http://two.example:{receiver.port}/", allow_private=False)).delivered
        assert sorted(made) == ["127.0.0.1", "::1"]


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert (await to(receiver.url)).delivered
        assert proxy.got == []
