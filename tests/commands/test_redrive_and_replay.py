"""`python -m commands redrive` and `replay`, as an operator runs them: a real hub, real tables, real files."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import commands.replay
import ledger.retry
import ledger.store
import services
from commands.__main__ import main
from hub_sender import HubSender
from hub_state import PartitionState
from ledger.dead_letters import Wanted
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint, HubSpec
from models.dead_letter import Kept, letter_id
from models.origin import RawEvent
from pipeline import ingest
from services import Services
from tests.queries.filled import environment
from tests.support.events import NOON, usage_event
from tests.support.hub import watched
from tests.support.ledger import sums_by_level

HUB = "usage-events"
EVER = Wanted(frozenset(), NOON - timedelta(days=9000), NOON + timedelta(days=9000))
T = TypeVar("T")
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as in tests/api/test_events.py


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[EventHubsEndpoint]:
    """A hub of the test's own, with two partitions."""
    with EventHubsEndpoint(tmp_path / "hub", [HubSpec(HUB, 2, ("usage-collector",)), HubSpec("other", 1)]) as endpoint:
        yield endpoint


@pytest.fixture
def settings(azurite: Azurite, hub: EventHubsEndpoint, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """In the environment, as the command finds them."""
    values = environment(azurite, EventHubConnection=hub.connection_string())
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def with_app(do: Callable[[Services], Awaitable[T]]) -> T:
    """Do something with the app of the environment."""

    async def run() -> T:
        found = services.build(os.environ)
        try:
            return await do(found)
        finally:
            await found.close()

    return asyncio.run(run())


def send(hub: EventHubsEndpoint, *records: object, name: str = HUB) -> None:
    async def run() -> None:
        sender = HubSender.from_connection_string(hub.connection_string(), name)
        bodies = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        try:
            assert set(await sender.send([(body, str(at)) for at, body in enumerate(bodies)])) <= {"sent"}
        finally:
            await sender.close()

    asyncio.run(run())


def held(hub: EventHubsEndpoint, name: str = HUB) -> list[RawEvent]:
    async def run() -> list[RawEvent]:
        async with watched(hub, name) as watching:
            return [each.event for each in await watching.held()]

    return sorted(asyncio.run(run()), key=lambda event: (event.origin.partition, event.origin.sequence_number))


def collect_live(hub: EventHubsEndpoint, wanted: Callable[[RawEvent], bool] = lambda event: True) -> None:
    """What the function app does with the hub's events, or with some of them."""
    events = [event for event in held(hub) if wanted(event)]

    async def run(app: Services) -> None:
        for partition in ("0", "1"):
            await ingest([event for event in events if event.origin.partition == partition], app)

    with_app(run)


def letters() -> list[Kept]:
    async def run(app: Services) -> list[Kept]:
        return (await app.dead_letters.page(EVER, 1000)).letters

    return with_app(run)


def totals(app_id: str = "app-1", month: str = "202611") -> dict[str, Any]:
    """Which every level of aggregates agrees on."""

    async def run(app: Services) -> dict[str, Any]:
        levels = await sums_by_level(app.usage, f"{app_id}|{month}")
        assert levels["h"] == levels["d"] == levels["m"]
        return dict(levels["m"])

    return with_app(run)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1]


def figures(line: str) -> dict[str, int]:
    """`5 events: 5 received, ... (0 corrected, 1 ignored)` by name."""
    parts = line.replace(":", ",").replace(" (", ", ").replace(")", "").split(", ")
    return {name: int(number) for number, name in (part.split(" ", 1) for part in parts)}


# -------------------------------------------------------------------------------------------------------------- replay


def test_replay_adds_what_was_missed_and_moves_nothing_else(
    settings: dict[str, str], hub: EventHubsEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    send(hub, *(usage_event(request_id=f"r{number}") for number in range(40)), b"no json")
    collect_live(hub, lambda event: event.origin.sequence_number % 5 != 3)
    before = totals()["calls"]
    assert before < 40
    assert main(["replay"]) == 0
    told = figures(said(capsys))
    assert (told["events"], told["received"], told["counted"], told["duplicate"], told["dead-lettered"]) == (
        *(41, 41),
        *(40 - before, before),
        1,
    )
    after = totals()
    assert after["calls"] == 40
    assert main(["replay"]) == 0
    told = figures(said(capsys))
    assert (told["counted"], told["duplicate"], told["dead-lettered"]) == (0, 40, 1)
    assert totals() == after
    assert main(["verify", "--month", "202611"]) == 0


def test_replay_writes_under_a_name_of_its_own(settings: dict[str, str], hub: EventHubsEndpoint) -> None:
    send(hub, usage_event(), usage_event())
    assert main(["replay"]) == 0

    async def run(app: Services) -> tuple[set[str], set[str]]:
        rows = [row.columns["RowKey"] async for row in app.usage.range("app-1|202611", "h|", "h~")]
        noted = app.stores["directory"].range("progress", "", "~~")
        return {key.split("|")[-1] for key in rows}, {row.columns["noted_by"] async for row in noted}

    writers, noted_by = with_app(run)
    assert noted_by == {"replay"}
    assert writers <= {"replay-usage-events-0", "replay-usage-events-1"}
    assert writers


def test_replay_takes_out_the_dead_letters_of_what_it_could_count(
    settings: dict[str, str], hub: EventHubsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = usage_event(timestamp="2016-11-20T12:00:00Z", request_id="old")
    send(hub, usage_event(), [usage_event(), bad], {"some": "thing"})
    collect_live(hub)
    assert sorted(kept.letter.reason for kept in letters()) == ["too_old", "unknown_dialect"]
    monkeypatch.setattr(commands.replay, "ingest", _ingest_in_2017)
    assert main(["replay"]) == 0
    [kept] = letters()
    assert (kept.letter.reason, kept.times_seen) == ("unknown_dialect", 2)
    assert totals(month="201611")["calls"] == 1


async def _ingest_in_2017(events: Any, app: Services, **options: Any) -> Any:
    """With a clock by which nothing is old yet."""
    return await ingest(events, app, now=lambda: datetime(2017, 1, 1, tzinfo=UTC), **options)


def test_replay_of_a_part(settings: dict[str, str], hub: EventHubsEndpoint, capsys: pytest.CaptureFixture[str]) -> None:
    send(hub, *(usage_event() for _ in range(30)))
    in_0 = [event for event in held(hub) if event.origin.partition == "0"]
    assert len(in_0) > 6

    def replayed(*words: str) -> int:
        assert main(["replay", *words]) == 0
        return figures(said(capsys))["events"]

    assert replayed("--partition", "0", "--from-sequence", "2", "--to-sequence", "4") == 3
    some, last = in_0[3].origin.enqueued_time, in_0[-1].origin.enqueued_time
    later = [event for event in in_0 if event.origin.enqueued_time >= some]
    assert replayed("--partition", "0", "--from", some.isoformat()) == len(later)
    assert replayed("--partition", "0", "--to", some.isoformat()) == len(in_0) - len(later)
    assert replayed("--from", (last + timedelta(days=1)).isoformat()) == 0


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [
        (None, None, range(10, 21)),
        (12, None, range(12, 21)),
        (0, 12, range(10, 13)),
        (15, 15, range(15, 16)),
        (None, 100, range(10, 21)),
        (21, None, range(0)),
        (None, 9, range(0)),
        (15, 12, range(0)),
    ],
)
def test_sequence_numbers_are_those_that_the_hub_has(first: int | None, last: int | None, numbers: range) -> None:
    assert commands.replay._numbers(PartitionState("0", False, 10, 20, NOON), first, last) == numbers


def test_replay_of_another_hub(
    settings: dict[str, str], hub: EventHubsEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    send(hub, usage_event(), name="other")
    assert main(["replay", "--hub", "other"]) == 0
    assert figures(said(capsys))["counted"] == 1
    assert main(["replay"]) == 0
    assert figures(said(capsys))["events"] == 0


def test_replay_leaves_the_function_apps_group_and_checkpoints_alone(
    settings: dict[str, str], hub: EventHubsEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    send(hub, usage_event())
    assert main(["replay", "--consumer-group", "usage-collector"]) == 0
    assert main(["replay", "--consumer-group", "nobody"]) == 1
    said_by = capsys.readouterr().out
    assert "The consumer group 'nobody' of event hub 'usage-events' could not be found" in said_by
    assert "go on with --partition" in said_by


def test_replay_that_is_stopped_says_where_to_go_on(
    settings: dict[str, str],
    hub: EventHubsEndpoint,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send(hub, usage_event())
    [event] = held(hub)
    monkeypatch.setenv(
        "UsageStorage",
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:1/a;",
    )
    monkeypatch.setattr(ledger.retry, "LONGEST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(ledger.store, "_waits", lambda: {"retry_backoff_factor": 0.0})
    assert main(["replay"]) == 1
    assert f"go on with --partition {event.origin.partition} --from-sequence 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from-sequence", "5"], "expected one --partition"),
        (["--partition", "7"], "--partition is '7': expected one of 0, 1 of the hub usage-events"),
        (["--partition", "0", "--from-sequence", "5", "--from", "2026-01-01T00:00:00Z"], "expected one of them"),
        (["--from", "yesterday"], "--from is 'yesterday': expected an RFC 3339 time"),
        (["--from", "2026-11-20T08:00:00Z", "--to", "2026-11-20T07:00:00Z"], "expected a time before --to"),
        (["--partition", "0", "--from-sequence", "5", "--to-sequence", "4"], "expected at most --to-sequence"),
        (["--sent", "2026-11-20T08:00:00Z"], "expected --file beside it"),
        (["--file", "x", "--sent", "soon"], "--sent is 'soon'"),
        (["--file", "x", "--hub", "h"], "--file is read as a whole"),
        (["--file", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--hub", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_replayed(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["replay", *words]) == 2
    assert message in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- redrive


def test_redrive_from_the_command_line(
    settings: dict[str, str],
    hub: EventHubsEndpoint,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = [usage_event(timestamp="2026-08-01T12:00:00Z", request_id=f"r{number}") for number in range(120)]
    monkeypatch.setenv("CALL_RETENTION_DAYS", "30")
    send(hub, *old, b"no json")
    collect_live(hub)
    assert len(letters()) == 121
    assert main(["redrive", "--all"]) == 0
    printed = capsys.readouterr().out
    assert "not_redrivable (no_payload)" in printed
    assert printed.splitlines()[-1] == "120 redriven, 1 not_redrivable, 0 not_found, 0 not_sent"
    monkeypatch.setenv("CALL_RETENTION_DAYS", "3650")
    collect_live(hub, lambda event: event.redriven is not None)
    [left] = letters()
    assert left.letter.reason == "not_json"
    assert totals(month="202608")["calls"] == 120
    # all of it once more, by the hub's own retention
    assert main(["replay"]) == 0
    told = figures(said(capsys))
    assert (told["counted"], told["duplicate"]) == (0, 240)


def test_redrive_of_some(settings: dict[str, str], hub: EventHubsEndpoint, capsys: pytest.CaptureFixture[str]) -> None:
    send(hub, usage_event(timestamp="2006-08-01T12:00:00Z"), usage_event(status=5000), usage_event(status=6000))
    collect_live(hub)
    by_reason = {kept.letter.reason: letter_id(kept.letter.origin, kept.letter.position) for kept in letters()}

    def redriven(*words: str) -> str:
        assert main(["redrive", *words]) == 0
        return said(capsys)

    assert redriven("--reason", "too_old").startswith("1 redriven")
    assert redriven("--reason", "too_old", "--reason", "invalid_field").startswith("3 redriven")
    assert redriven("--id", by_reason["too_old"]).startswith("1 redriven")
    assert redriven("--id", "h:0:1:2:3").startswith("0 redriven, 0 not_redrivable, 1 not_found")
    assert redriven("--to", "2020-01-01T00:00:00Z").startswith("0 redriven")
    assert redriven("--from", "2020-01-01T00:00:00Z").startswith("3 redriven")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say which"),
        (["--id", "x"], "not the id of a dead letter"),
        (["--id", "h:0:1:2:3", "--all"], "--id stands alone"),
        (["--from", "yesterday"], "--from is 'yesterday': expected an RFC 3339 time"),
        (["--from", "2026-11-20T08:00:00Z", "--to", "2026-11-20T08:00:00Z"], "expected a time before --to"),
    ],
)
def test_what_cannot_be_redriven(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["redrive", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_hub_that_takes_nothing_is_a_fault(
    settings: dict[str, str], hub: EventHubsEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    send(hub, usage_event(status=5000))
    collect_live(hub)
    hub.stop()
    assert main(["redrive", "--all"]) == 1
    assert said(capsys) == "0 redriven, 0 not_redrivable, 0 not_found, 1 not_sent"
    assert len(letters()) == 1


# ------------------------------------------------------------------------------------------------------------- discard


def test_discard_deletes_and_says_what(
    settings: dict[str, str], hub: EventHubsEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    send(hub, b"no json", usage_event(status="x", request_id="r-1"))
    collect_live(hub)
    ids = [letter_id(kept.letter.origin, kept.letter.position) for kept in letters()]
    assert main(["discard", "--id", ids[0], "--id", "x"]) == 2
    assert len(letters()) == 2
    assert main(["discard", *(word for each in ids for word in ("--id", each))]) == 0
    printed = capsys.readouterr().out
    assert "deleted (invalid_field, request_id r-1; " in printed
    assert "deleted (not_json, request_id unknown; nothing of the record was kept)" in printed
    assert letters() == []
    assert main(["discard", "--id", ids[0]]) == 1
    assert "not_found" in capsys.readouterr().out
