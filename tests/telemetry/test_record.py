"""The metrics of a batch are what the tables came to; few series, whatever is sent; nothing private in them."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services as app_services
from local.azurite import Azurite
from models.dead_letter import REASONS
from models.errors import StoreUnavailable
from models.measures import ODDITIES
from models.origin import RawEvent
from models.usage import ESTIMATED_KINDS, MISSING_REASONS, TOKEN_KINDS, USAGE_STATES
from pipeline import ingest, settle
from services import Services
from telemetry.instruments import APP, METRICS
from telemetry.record import OUTCOMES
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyStore, at
from tests.support.ledger import ledger
from tests.support.metrics import Meter

LIMITS = {
    "usage_collector.outcome": len(OUTCOMES),
    "usage_collector.reason": len(REASONS),
    "usage_collector.usage_state": len(USAGE_STATES),
    "usage_collector.missing_reason": len(MISSING_REASONS),
    "usage_collector.oddity": len(ODDITIES),
    "usage_collector.kind": len(TOKEN_KINDS) + len(ESTIMATED_KINDS),
    "messaging.destination.name": 1,
}
"""How many values an attribute can have at the most, over everything a hub can hold."""


@asynccontextmanager
async def watched(azurite: Azurite, **changes: str) -> AsyncIterator[tuple[Services, Meter]]:
    """The app's services on tables of their own, and the metrics that they record."""
    environment = {
        "UsageStorage": azurite.connection_string,
        "USAGE_EVENTS_HUB": "usage-events",
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
    }
    found = app_services.build(environment | changes)
    meter = Meter(by_app=found.settings.metrics_by_app)
    found.telemetry = meter.telemetry
    try:
        yield found, meter
    finally:
        await found.close()


def without_usage(**changes: Any) -> dict[str, Any]:
    return usage_event(usage=None, **changes)


def waiting(call: str) -> dict[str, Any]:
    return usage_event(request_id=call, usage=None, response_model=None, usage_source="gateway_log", stream=True)


def llm_log(call: str) -> dict[str, Any]:
    counts = {"promptTokens": 10, "completionTokens": 5, "totalTokens": 15}
    names = {"correlationId": call, "modelName": "gpt-4o", "deploymentName": "chat"}
    return {"time": "2026-11-20T12:00:00Z", "category": "GatewayLlmLogs", "properties": names | counts}


async def test_a_batch_is_told_in_full(azurite: Azurite) -> None:
    again = usage_event()
    events = [
        raw_event(again, sequence_number=1),
        raw_event([again, without_usage(stream=True)], sequence_number=2),
        raw_event(b"no json", sequence_number=3),
        raw_event({"who": "knows"}, sequence_number=4),
        raw_event(waiting("waits"), sequence_number=5),
    ]
    async with watched(azurite) as (found, meter):
        report = await ingest(events, found, now=lambda: NOON + timedelta(seconds=7))
    assert report is not None
    values = meter.read()
    hub = ("messaging.destination.name", "usage-events")
    assert {name: value for (name, attributes), value in values.items() if attributes == {hub}} == {
        "usage_collector.events": 5,
        "usage_collector.records.received": 6,
        "usage_collector.commit.transactions": report.transactions,
        "usage_collector.commit.requests": report.requests,
        "usage_collector.commit.entities": report.entities,
        "usage_collector.commit.retries": report.retries,
        "usage_collector.batch.size": 5,
        "#usage_collector.batch.size": 1,
        "usage_collector.batch.duration": report.milliseconds / 1000,
        "#usage_collector.batch.duration": 1,
        "usage_collector.batch.lag": report.lag_seconds,
        "#usage_collector.batch.lag": 1,
    }
    assert meter.of("usage_collector.records.processed") == {
        ("usage-events", "counted"): 2,
        ("usage-events", "duplicate"): 1,
        ("usage-events", "dead_lettered"): 2,
        ("usage-events", "pending"): 1,
    }
    assert meter.of("usage_collector.dead_letters") == {
        ("usage-events", "not_json"): 1,
        ("usage-events", "unknown_dialect"): 1,
    }
    assert meter.of("usage_collector.calls.counted") == {("reported",): 1, ("not_requested", "missing"): 1}
    assert meter.of("usage_collector.tokens") == {
        ("prompt_tokens",): 10,
        ("completion_tokens",): 5,
        ("total_tokens",): 15,
    }


async def test_a_repeated_batch_counts_no_call_and_no_token_again(azurite: Azurite) -> None:
    events = [raw_event(usage_event()), raw_event(b"no json", sequence_number=1)]
    async with watched(azurite) as (found, meter):
        await ingest(events, found, now=lambda: NOON)
        before = meter.of("usage_collector.calls.counted"), meter.of("usage_collector.tokens")
        await ingest(events, found, now=lambda: NOON)
    assert (meter.of("usage_collector.calls.counted"), meter.of("usage_collector.tokens")) == before
    assert meter.of("usage_collector.records.processed", **{"usage_collector.outcome": "duplicate"}) == {
        ("usage-events",): 1
    }


async def test_usage_that_comes_late_adds_its_tokens_once(azurite: Azurite) -> None:
    """The call was counted without; its correction is no second call."""
    events = [raw_event(waiting("late")), raw_event(llm_log("late"), hub="gateway-logs")]
    async with watched(azurite, GATEWAY_LOGS_HUB="gateway-logs") as (found, meter):
        await ingest(events[:1], found, now=lambda: NOON)
        assert meter.of("usage_collector.calls.counted") == {}
        await settle(found, now=lambda: NOON + timedelta(hours=2))
        counted = meter.of("usage_collector.calls.counted", **{"usage_collector.usage_state": "missing"})
        assert list(counted.values()) == [1]
        assert meter.of("usage_collector.tokens") == {}
        for _ in range(2):
            await ingest(events[1:], found, now=lambda: NOON + timedelta(hours=3))
    assert meter.of("usage_collector.calls.counted", **{"usage_collector.usage_state": "missing"}) == counted
    assert len(meter.of("usage_collector.calls.counted")) == 1
    assert meter.of("usage_collector.calls.corrected") == {(): 1}
    assert meter.of("usage_collector.tokens", **{"usage_collector.kind": "total_tokens"}) == {(): 15}


async def test_calls_whose_numbers_or_time_cannot_be_right_are_told_once(azurite: Azurite) -> None:
    events = [
        raw_event(usage_event(timestamp=(NOON + timedelta(hours=1)).isoformat()), sequence_number=1),
        raw_event(
            usage_event(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 4}), sequence_number=2
        ),
        raw_event(
            usage_event(usage={"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}, "total_tokens": 1}),
            sequence_number=3,
        ),
        raw_event(usage_event(), sequence_number=4),
        raw_event(waiting("late") | {"timestamp": (NOON + timedelta(hours=1)).isoformat()}, sequence_number=5),
    ]
    async with watched(azurite, GATEWAY_LOGS_HUB="gateway-logs") as (found, meter):
        for _ in range(2):
            await ingest(events, found, now=lambda: NOON)
        await settle(found, now=lambda: NOON + timedelta(hours=2))
        assert meter.of("usage_collector.calls.odd") == {
            ("clamped_timestamps",): 2,
            ("disagreeing_totals",): 1,
            ("exceeding_parts",): 1,
        }
        log = llm_log("late")
        log["properties"]["totalTokens"] = 99
        await ingest([raw_event(log, hub="gateway-logs")], found, now=lambda: NOON + timedelta(hours=3))
    assert meter.of("usage_collector.calls.corrected") == {(): 1}
    assert meter.of("usage_collector.calls.odd") == {
        ("clamped_timestamps",): 2,
        ("disagreeing_totals",): 2,
        ("exceeding_parts",): 1,
    }


async def test_estimates_are_a_kind_of_tokens_of_their_own(azurite: Azurite) -> None:
    body = json.dumps({"choices": [{"message": {"content": "one two three"}}]})
    async with watched(azurite, ESTIMATE_USAGE="1") as (found, meter):
        await ingest([raw_event(usage_event(usage=None, body=body))], found, now=lambda: NOON)
    kinds = {kind for (kind,) in meter.of("usage_collector.tokens")}
    assert "estimated_completion_tokens" in kinds
    assert kinds <= set(ESTIMATED_KINDS)
    assert [state for *_, state in meter.of("usage_collector.calls.counted")] == ["estimated"]


async def test_a_batch_that_fails_is_told_as_one_with_the_kind_of_its_error(azurite: Azurite) -> None:
    async with watched(azurite) as (found, meter):
        found.ledger = ledger(FaultyStore(found.usage, at(*range(1, 100))))
        with pytest.raises(StoreUnavailable):
            await ingest([raw_event(usage_event())], found, now=lambda: NOON)
    assert meter.of("#usage_collector.batch.duration") == {("StoreUnavailable", "usage-events"): 1}
    assert {name for name, _ in meter.read()} == {"usage_collector.batch.duration", "#usage_collector.batch.duration"}


async def test_conflicts_and_retries_are_told(azurite: Azurite) -> None:
    async with watched(azurite) as (found, meter):
        first, second, faulty = ledger(found.usage), ledger(found.usage), ledger(FaultyStore(found.usage, at(1)))
        for number, found.ledger in enumerate((first, second, first, faulty)):  # the third has an old cache
            await ingest([raw_event(usage_event(), sequence_number=number)], found, now=lambda: NOON)
    assert meter.of("usage_collector.commit.conflicts") == {("usage-events",): 1}
    assert meter.of("usage_collector.commit.retries") == {("usage-events",): 2}  # one made the table
    assert meter.of("usage_collector.commit.transactions") == {("usage-events",): 4}


async def test_apps_are_told_apart_only_where_it_is_switched_on(azurite: Azurite) -> None:
    events = [raw_event(usage_event(app_id=app), sequence_number=n) for n, app in enumerate(["a", "b", "b"])]
    for switch, counted in ("0", {("reported",): 3}), ("1", {("a", "reported"): 1, ("b", "reported"): 2}):
        async with watched(azurite, METRICS_BY_APP=switch) as (found, meter):
            await ingest(events, found, now=lambda: NOON)
            assert meter.of("usage_collector.calls.counted") == counted
            by_app = meter.of("usage_collector.tokens", **{"usage_collector.kind": "total_tokens"})
            assert by_app == ({(): 45} if switch == "0" else {("a",): 15, ("b",): 30})


TEXT = st.text(max_size=20)
RECORDS = st.one_of(
    st.builds(
        usage_event,
        app_id=TEXT,
        deployment=TEXT,
        response_model=TEXT,
        product_id=TEXT,
        status=st.integers(0, 999),
        usage=st.one_of(st.none(), st.dictionaries(TEXT, st.integers(0, 9))),
    ),
    st.dictionaries(TEXT, TEXT),
    st.binary(max_size=20),
)


SHARED = f"t{uuid4().hex[:16]}"
"""Of all examples: each has a meter of its own, and making tables takes long."""


@settings(max_examples=25)
@given(records=st.lists(RECORDS, min_size=1, max_size=20))
async def test_whatever_is_sent_the_series_are_few(azurite: Azurite, records: list[Any]) -> None:
    """And received = counted + duplicate + joined + pending + dead-lettered, in the metrics too."""
    events: list[RawEvent] = [raw_event(record, sequence_number=n) for n, record in enumerate(records)]
    async with watched(azurite, TABLE_PREFIX=SHARED) as (found, meter):
        await ingest(events, found, now=lambda: NOON)
    declared = {metric.name: set(metric.attributes) for metric in METRICS}
    values: dict[str, set[Any]] = {}
    for metric in meter.metrics():
        for point in metric.data.data_points:
            assert set(point.attributes or {}) <= declared[metric.name] - {APP}
            for name, value in (point.attributes or {}).items():
                values.setdefault(name, set()).add(value)
    assert {name: len(found) for name, found in values.items() if len(found) > LIMITS[name]} == {}
    received = sum(meter.of("usage_collector.records.received").values())
    assert received == sum(meter.of("usage_collector.records.processed").values())


async def test_every_batch_line_has_one_correlation_and_no_line_has_content_or_a_secret(
    azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "c2VjcmV0LXRoYXQtbm9ib2R5LW1heS1zZWU="
    hub = f"Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=k;SharedAccessKey={secret};UseDevelopmentEmulator=true"
    body = json.dumps({"choices": [{"message": {"content": secret}}]})
    events = [
        raw_event(usage_event(body=body, usage=None), sequence_number=7),
        raw_event({"prompt": secret, "authorization": secret}, sequence_number=8),
    ]
    key = f"InstrumentationKey={uuid4()};IngestionEndpoint=http://127.0.0.1:9/;Key={secret}"
    with caplog.at_level(logging.DEBUG):
        settings = {"EventHubConnection": hub, "APPLICATIONINSIGHTS_CONNECTION_STRING": key}
        async with watched(azurite, **settings) as (found, _):
            await ingest(events, found, "invocation-1", now=lambda: NOON)
            found.ledger = ledger(FaultyStore(found.usage, at(*range(1, 100))))
            with pytest.raises(StoreUnavailable):
                await ingest([raw_event(usage_event(), sequence_number=9)], found, "invocation-2", now=lambda: NOON)
    assert secret not in caplog.text
    assert str(azurite.connection_string) not in caplog.text
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "usage_collector"]
    names = ("event", "invocation_id", "hub", "partition", "first_sequence_number", "last_sequence_number")
    assert [[line[name] for name in names] for line in lines] == [
        ["batch", "invocation-1", "usage-events", "0", 7, 8],
        ["batch_failed", "invocation-2", "usage-events", "0", 9, 9],
    ]
    assert lines[1]["error"] == "StoreUnavailable"
