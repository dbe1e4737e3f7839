"""redrive: from a dead letter over the hub to the totals, once, whatever is done twice and whatever fails."""

import gc
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

import redrive as module
from collectors.dialects import multiapp_logging
from ledger.dead_letters import DeadLetters, Wanted
from ledger.store import Refused, Write
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint
from models.batch_report import BatchReport
from models.dead_letter import Kept, letter_id
from models.errors import StoreUnavailable
from models.origin import Origin, RawEvent, Redriven
from pipeline import ingest, purge
from redrive import Redrive, redrive, redrive_wanted
from services import Services, build
from tests.queries.filled import environment
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyStore, at, never
from tests.support.hub import WatchedHub, watched
from tests.support.ledger import no_wait, sums_by_level

HUB = "usage-events"
EVER = Wanted(frozenset(), NOON - timedelta(days=3650), NOON + timedelta(days=3650))
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as in tests/api/test_events.py


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
async def watched_hub(event_hubs: EventHubsEndpoint) -> AsyncIterator[WatchedHub]:
    async with watched(event_hubs, HUB) as hub:
        yield hub


@pytest.fixture
async def hub(watched_hub: WatchedHub) -> WatchedHub:
    await watched_hub.start()
    return watched_hub


@pytest.fixture
async def app(azurite: Azurite, hub: WatchedHub) -> AsyncIterator[Services]:
    """Its calls are kept for 30 days."""
    settings = environment(azurite, CALL_RETENTION_DAYS="30", EventHubConnection=hub.endpoint.connection_string())
    found = build(settings)
    yield found
    await found.close()


async def take(app: Services, *events: RawEvent, now: datetime = NOON) -> BatchReport:
    report = await ingest(events, app, now=lambda: now)
    assert report is not None
    assert report.received == report.counted + report.duplicate + report.joined + report.pending + report.dead_lettered
    return report


async def letters(app: Services) -> list[Kept]:
    return (await app.dead_letters.page(EVER, 1000)).letters


async def ids(app: Services) -> list[str]:
    return [letter_id(each.letter.origin, each.letter.position) for each in await letters(app)]


async def sent(hub: WatchedHub) -> list[RawEvent]:
    """What the hub got in this test, as the trigger hands it over."""
    return [each.event for each in await hub.held()]


async def calls(app: Services, month: str = "202611", name: str = "app-1") -> int:
    """How many are counted, which every level of aggregates says."""
    levels = await sums_by_level(app.usage, f"{name}|{month}")
    assert levels["h"] == levels["d"] == levels["m"]
    return levels["h"].get("calls", 0)


def allow(app: Services, days: int) -> None:
    """The operator changes CALL_RETENTION_DAYS."""
    object.__setattr__(app.settings, "call_retention_days", days)


OLD = usage_event(request_id="old", timestamp="2026-08-01T12:00:00Z")


async def test_a_letter_that_can_be_counted_now_is_counted_once_and_gone(app: Services, hub: WatchedHub) -> None:
    await take(app, raw_event(OLD, sequence_number=4))
    [letter] = await ids(app)
    allow(app, 365)
    assert await redrive([letter], app) == [Redrive(letter, "redriven")]
    assert await redrive([letter], app) == [Redrive(letter, "redriven")]
    assert await ids(app) == [letter]  # until it is counted
    first, second = await sent(hub)
    report = await take(app, first)
    assert (report.counted, report.dead_lettered) == (1, 0)
    assert await ids(app) == []
    assert (await take(app, second)).duplicate == 1
    assert (await take(app, raw_event(OLD, sequence_number=4))).duplicate == 1
    assert await calls(app, "202608") == 1
    assert await redrive([letter], app) == [Redrive(letter, "not_found")]


async def test_what_fails_again_is_the_same_letter_with_one_more_try(app: Services, hub: WatchedHub) -> None:
    await take(app, raw_event(OLD))
    [letter] = await ids(app)
    for tries in (1, 2, 3):
        await redrive([letter], app)
        event = (await sent(hub))[-1]
        assert (await take(app, event, event)).dead_lettered == 2  # redelivered as well
        [kept] = await letters(app)
        assert await ids(app) == [letter]
        assert (kept.tries, kept.times_seen) == (tries, 1 + 2 * tries)
    await take(app, raw_event(OLD))
    [kept] = await letters(app)
    assert (kept.tries, kept.times_seen, kept.obstacle) == (3, 8, None)


async def test_of_an_event_with_several_records_only_the_bad_one_is_sent(app: Services, hub: WatchedHub) -> None:
    many = {"records": [usage_event(request_id="a"), OLD, usage_event(request_id="b"), {"no": "idea"}]}
    assert (await take(app, raw_event(many))).counted == 2
    await redrive(await ids(app), app)
    allow(app, 365)
    [event] = await sent(hub)
    assert json.loads(event.body) == OLD
    assert (await take(app, event)).counted == 1
    [kept] = await letters(app)
    assert (kept.letter.reason, kept.letter.position) == ("unknown_dialect", 3)


NAMELESS = {
    "appId": "app-1",
    "eventTime": "2026-08-01T12:00:00Z",
    "request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "the quick brown fox"}]},
    "response": {"model": "gpt-4o", "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
    "time": "2026-08-01T12:00:00Z",
}


async def test_a_record_without_an_id_keeps_the_identity_of_its_first_delivery(app: Services, hub: WatchedHub) -> None:
    first = raw_event([NAMELESS, NAMELESS], sequence_number=5)
    assert (await take(app, first)).dead_lettered == 2
    await redrive(await ids(app), app)
    await redrive(await ids(app), app)
    allow(app, 365)
    report = await take(app, *await sent(hub), first)
    assert (report.counted, report.duplicate) == (2, 4)
    assert await ids(app) == []
    assert await calls(app, "202608", "unattributed") == 2


async def test_what_a_cloud_event_said_is_not_lost(app: Services, hub: WatchedHub) -> None:
    data = {name: value for name, value in NAMELESS.items() if name != "time"}
    event = {"specversion": "1.0", "type": "t", "source": "s", "id": "i", "time": "2026-08-01T12:00:00Z", "data": data}
    await take(app, raw_event(event))
    await redrive(await ids(app), app)
    allow(app, 365)
    [again] = await sent(hub)
    report = await take(app, again, raw_event(event), raw_event(event, sequence_number=77))
    assert (report.counted, report.duplicate) == (1, 2)
    assert await calls(app, "202608", "unattributed") == 1


async def test_a_mended_collector_counts_what_it_could_not_read(
    app: Services, hub: WatchedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it read no exchanges at all."""
    with monkeypatch.context() as old:
        old.setattr("collectors.collect.DIALECTS", (multiapp_logging,))
        assert (await take(app, raw_event(NAMELESS))).dead_lettered == 1
    [kept] = await letters(app)
    assert (kept.letter.reason, kept.obstacle) == ("unknown_dialect", "content_removed")
    assert [each.status for each in await redrive(await ids(app), app)] == ["not_redrivable"]

    # what of the record could be text is not needed by this dialect, or is not there
    plain = {name: value for name, value in NAMELESS.items() if name != "appId"}
    with monkeypatch.context() as old:
        old.setattr("collectors.collect.DIALECTS", (multiapp_logging,))
        await take(app, raw_event(plain, sequence_number=8))
    allow(app, 365)
    letter = (await ids(app))[1]
    assert (await redrive([letter], app))[0].status == "redriven"
    [event] = await sent(hub)
    assert b"fox" not in event.body
    assert (await take(app, event)).counted == 1
    assert letter not in await ids(app)


async def test_a_fault_of_our_own_is_mended_and_redriven(
    app: Services, hub: WatchedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("the quick brown fox")

    body = "data: " + json.dumps({"choices": [{"delta": {"content": "the quick brown fox"}, "finish_reason": "stop"}]})
    body += '\n\ndata: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}\n\ndata: [DONE]\n\n'
    record = usage_event(usage=None, stream=True, body=body)
    with monkeypatch.context() as broken:
        broken.setattr("collectors.collect.read_call", fail)
        await take(app, raw_event(record))
    [kept] = await letters(app)
    assert (kept.letter.reason, kept.letter.got, kept.obstacle) == ("unreadable", "a fault of type KeyError", None)
    await redrive(await ids(app), app)
    [event] = await sent(hub)
    assert b"fox" not in event.body
    assert (await take(app, event)).counted == 1
    levels = await sums_by_level(app.usage, "app-1|202611")
    assert (levels["m"]["usage_reported"], levels["m"]["total_tokens"]) == (1, 7)
    assert await ids(app) == []


async def test_a_row_that_the_tables_refuse_is_set_aside_with_its_record(app: Services, hub: WatchedHub) -> None:
    """Here the second of three that one event has."""
    ledger = app.ledger

    class Refusing:
        async def commit(self, calls: Any, writer: str) -> Any:
            report = await ledger.commit([call for call in calls if call.request_id != "refused"], writer)
            refused = [(call, "400 InvalidInput") for call in calls if call.request_id == "refused"]
            object.__setattr__(report, "refused", refused)
            return report

    app.ledger = Refusing()  # type: ignore[assignment]
    event = raw_event([usage_event(request_id="a"), usage_event(request_id="refused"), usage_event(request_id="b")])
    report = await take(app, event)
    assert (report.counted, report.dead_lettered) == (2, 1)
    [kept] = await letters(app)
    assert (kept.letter.reason, kept.letter.position, kept.letter.dialect) == ("rejected_by_store", 1, "usage-event")
    await redrive(await ids(app), app)
    app.ledger = ledger
    assert (await take(app, *await sent(hub))).counted == 1
    assert await ids(app) == []
    assert await calls(app) == 3


async def test_each_half_of_a_call_that_the_tables_refuse_is_set_aside(app: Services, hub: WatchedHub) -> None:
    """Each is its own letter: a redrive of one that took the other for done would lose it."""
    counts = {"promptTokens": 10, "completionTokens": 5, "totalTokens": 15}
    names = {"correlationId": "call", "modelName": "gpt-4o", "deploymentName": "chat"}
    log = {"time": "2026-11-20T12:00:00Z", "category": "GatewayLlmLogs", "properties": names | counts}
    event = raw_event([usage_event(request_id="call", usage=None, usage_source="gateway_log"), log])
    store = app.pending.store
    app.pending.store = RefusingStore(store, never)
    assert (await take(app, event)).dead_lettered == 2
    assert [kept.letter.position for kept in await letters(app)] == [0, 1]
    app.pending.store = store
    await redrive(await ids(app), app)
    first, second = await sent(hub)
    assert (await take(app, second)).pending == 1
    assert (await take(app, first)).counted == 1
    assert await letters(app) == []
    assert await calls(app) == 1


class RefusingStore(FaultyStore):
    """Of a service that takes no row."""

    async def submit(self, writes: Sequence[Write]) -> list[str]:
        raise Refused("400 InvalidInput")


async def test_between_counting_and_removing_nothing_is_lost(app: Services, hub: WatchedHub) -> None:
    await take(app, raw_event(OLD))
    letter = await ids(app)
    await redrive(letter, app)
    [event] = await sent(hub)
    allow(app, 365)
    good = app.dead_letters
    app.dead_letters = DeadLetters(FaultyStore(good._store, at(*range(1, 100))), no_wait)
    with pytest.raises(StoreUnavailable):
        await take(app, event)
    app.dead_letters = good
    assert await ids(app) == letter
    assert (await take(app, event)).duplicate == 1
    assert await ids(app) == []
    assert await calls(app, "202608") == 1


async def test_what_cannot_be_sent_again_is_left_where_it_is(app: Services, hub: WatchedHub) -> None:
    await take(app, raw_event(b"no json", sequence_number=1), raw_event([{"a": 1}] * 105, sequence_number=2))
    await take(app, raw_event({"who": "am I?"}, sequence_number=3))
    outcomes = await redrive_wanted(EVER, app, limit=1000)
    assert {each.obstacle: each.status for each in outcomes.outcomes} == {
        None: "redriven",
        "no_payload": "not_redrivable",
        "several_records": "not_redrivable",
        "content_removed": "not_redrivable",
    }
    assert len(await sent(hub)) == 99


async def test_with_full_payloads_nothing_but_secrets_is_missing(app: Services, hub: WatchedHub) -> None:
    object.__setattr__(app.settings, "dead_letter_payloads", "full")
    record = {"who": "am I?", "api-key": "5ecret"}
    await take(app, raw_event(record))
    [kept] = await letters(app)
    assert kept.obstacle is None
    await redrive(await ids(app), app)
    [event] = await sent(hub)
    assert json.loads(event.body) == record | {"api-key": "…(secret)"}
    assert event.redriven is not None
    assert event.redriven.whole


async def test_with_none_nothing_is_kept(app: Services) -> None:
    object.__setattr__(app.settings, "dead_letter_payloads", "none")
    await take(app, raw_event(OLD))
    assert [each.obstacle for each in await letters(app)] == ["no_payload"]


async def test_what_the_hub_finds_too_large_says_so(
    app: Services, hub: WatchedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the tier Basic, which takes 256 KiB."""
    monkeypatch.setattr("collectors.letters.MAX_SENT_BYTES", 10**9)
    large = {"n": {f"n{number}": 1234567 for number in range(65_000)}}
    await take(app, raw_event(large, sequence_number=1), raw_event({"small": 1}, sequence_number=2))
    outcomes = await redrive(await ids(app), app)
    assert [(each.status, each.obstacle) for each in outcomes] == [("not_redrivable", "too_large"), ("redriven", None)]


async def test_a_sweep_takes_each_letter_once_and_stops_in_time(
    app: Services, hub: WatchedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(app, *(raw_event(OLD, sequence_number=number) for number in range(35)))
    monkeypatch.setattr(module, "SECONDS", -1.0)
    sweep = await redrive_wanted(EVER, app)
    assert len(sweep.outcomes) == module.AT_ONCE
    done = [each.id for each in sweep.outcomes]
    while sweep.next is not None:
        sweep = await redrive_wanted(EVER, app, after=sweep.next)
        done += [each.id for each in sweep.outcomes]
    assert done == await ids(app)
    assert len(await sent(hub)) == 35


async def test_properties_that_lie_count_nothing_twice(app: Services) -> None:
    """Whoever may send to the hub can name any dead letter: the ledger knows a call by what it is."""
    event = raw_event(usage_event(request_id="one"), sequence_number=1)
    await take(app, event)
    lie = Redriven(Origin(HUB, "9", 5, NOON), 0, 1, None, None, whole=True)
    assert (await take(app, event._replace(redriven=lie))).duplicate == 1
    assert await calls(app) == 1


async def test_the_timer_deletes_letters_as_old_as_call_rows(app: Services) -> None:
    await take(app, raw_event(b"no json", sequence_number=1))
    await purge(app, now=lambda: NOON + timedelta(days=30))
    assert len(await ids(app)) == 1
    await purge(app, now=lambda: NOON + timedelta(days=32))
    assert await ids(app) == []
