"""`python -m commands replay --file`, as an operator runs it: real tables, real files."""

import asyncio
import gzip
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import services
from commands.__main__ import main
from ledger.dead_letters import Wanted
from local.azurite import Azurite
from pipeline import ingest
from services import Services
from tests.queries.filled import environment
from tests.support.events import NOON, raw_event, usage_event
from tests.support.ledger import sums_by_level

EVER = Wanted(frozenset(), NOON - timedelta(days=9000), NOON + timedelta(days=9000))
T = TypeVar("T")


@pytest.fixture(autouse=True)
def settings(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the environment, as the command finds them."""
    for name, value in environment(azurite).items():
        monkeypatch.setenv(name, value)
    yield
    assert asyncio.run(with_app(lambda app: app.dead_letters.page(EVER, 10))).letters == []  # there is the file


async def with_app(do: Callable[[Services], Awaitable[T]]) -> T:
    found = services.build(os.environ)
    try:
        return await do(found)
    finally:
        await found.close()


def count(*records: dict[str, Any]) -> None:
    """As the function app does, when the hub delivers them."""
    events = [raw_event(record, sequence_number=at) for at, record in enumerate(records)]
    asyncio.run(with_app(lambda app: ingest(events, app, now=lambda: NOON)))


def calls_and_tokens(month: str = "202611") -> tuple[int, int]:
    async def run(app: Services) -> tuple[int, int]:
        levels = await sums_by_level(app.usage, f"app-1|{month}")
        assert levels["h"] == levels["d"] == levels["m"]
        return levels["m"].get("calls", 0), levels["m"].get("total_tokens", 0)

    return asyncio.run(with_app(run))


def changed_at(path: Path, days: float) -> None:
    time = (NOON + timedelta(days=days)).timestamp()
    os.utime(path, (time, time))


def figures(printed: str) -> dict[str, int]:
    """Of the last line."""
    parts = printed.strip().splitlines()[-1].replace(":", ",").replace(" (", ", ").replace(")", "").split(", ")
    return {name: int(number) for number, name in (part.split(" ", 1) for part in parts)}


def test_what_was_counted_stays_as_it_is_and_what_cannot_be_counted_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = [usage_event(request_id=f"r{number}") for number in range(600)]
    count(*known[:300])
    nameless = {"clientAppId": "a", "responseBody": {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}}
    bodies = [*known, {"records": [known[0], usage_event(request_id="in a wrapper")]}, nameless, {"some": "thing"}]
    path = tmp_path / "my events (1).jsonl"
    path.write_text("\n\n".join(map(json.dumps, bodies)) + "\nno json")
    for new in (301, 0):
        assert main(["replay", "--file", str(path)]) == 1
        printed = capsys.readouterr().out
        assert "line 1203 is left out: a record in it has no id of its own" in printed
        assert "line 1205 is left out: unknown_dialect: expected a record in one of the dialects" in printed
        assert "line 1206 is left out: not_json: expected a JSON object" in printed
        told = figures(printed)
        assert (told["received"], told["counted"], told["duplicate"]) == (604, new, 602 - new)
        assert told["dead-lettered"] == 2
        assert calls_and_tokens()[0] == 601


@pytest.mark.parametrize("logs", ["", "gateway-logs"])
def test_when_the_file_was_changed_says_nothing_of_calls_that_have_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, logs: str
) -> None:
    """It once was the time that no call may be later than, so that what was unpacked or touched counted twice."""
    monkeypatch.setenv("GATEWAY_LOGS_HUB", logs)
    ahead = usage_event(request_id="2", timestamp="9999-01-01T00:00:00Z")
    record = usage_event(request_id="1")
    count(record, ahead)
    path = tmp_path / "events"
    path.write_text(json.dumps(record) + "\n" + json.dumps(ahead))
    for days in (-1.5, -40, 40):
        changed_at(path, days)
        assert main(["replay", "--file", str(path)]) == 0
        assert figures(capsys.readouterr().out)["counted"] == 0
    assert calls_and_tokens() == (2, 30)


def test_records_without_a_time_are_dated_by_the_file_or_the_operator_and_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    path = tmp_path / "events"
    path.write_text(json.dumps({"id": "1", "app_id": "app-1", "response": {"object": "x", "usage": usage}}))
    changed_at(path, -30)
    assert main(["replay", "--file", str(path)]) == 0
    assert "1 records say no time: those not known yet are counted at 2026-10-21T12:00:00+00:00" in (
        capsys.readouterr().out
    )
    changed_at(path, -10)
    assert main(["replay", "--file", str(path)]) == 0
    assert main(["replay", "--file", str(path), "--sent", "2026-11-01T00:00:00Z"]) == 0
    assert (calls_and_tokens("202610"), calls_and_tokens()) == ((1, 15), (0, 0))


TWO = [usage_event(request_id="a"), usage_event(request_id="b")]
LINES = "\n".join(map(json.dumps, TWO)).encode()
FILES = {
    "lines": LINES,
    "lines with a BOM": b"\xef\xbb\xbf" + LINES,
    "compressed lines": gzip.compress(LINES),
    "an array": json.dumps(TWO).encode(),
    "a pretty array": json.dumps(TWO, indent=2).encode(),
    "an array with an object a line": b"[\n" + LINES.replace(b"\n", b",\n") + b"\n]\n",
    "a pretty wrapper": json.dumps({"records": TWO}, indent=2).encode(),
    "a compressed document": gzip.compress(json.dumps(TWO, indent=2).encode()),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_events_are_read_as_files_have_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = tmp_path / "events"
    path.write_bytes(content)
    assert main(["replay", "--file", str(path)]) == 0
    assert figures(capsys.readouterr().out)["counted"] == 2
    assert calls_and_tokens() == (2, 30)


NO_EVENTS = {
    "UTF-16": LINES.decode().encode("utf-16"),
    "Avro": b"Obj\x01\x04\x14avro.codec\x08null\x16avro.schema\n{}\n",
    "text": b"no json\n[1, 2]\n5\n",
    "nothing": b"",
    "half an archive": gzip.compress(LINES)[:30],
    "a cut document": json.dumps(TWO, indent=2).encode()[:-40],
}


@pytest.mark.parametrize("content", NO_EVENTS.values(), ids=NO_EVENTS)
def test_what_holds_no_events_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert main(["replay", "--file", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert calls_and_tokens() == (0, 0)
