"""The sample data and the traffic made from it: honest about its sources, the same each time, and it adds up."""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.parts import GATEWAY_LOGS_HUB, USAGE_HUB
from local.sample.records import RECORDED, Record, load_records
from local.sample.traffic import DAYS, Traffic, build_traffic
from local.sample.truth import Counts, differences

NOW = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
NOTES = (RECORDED.parent / "NOTES.md").read_text("utf-8")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return load_records()


@pytest.fixture(scope="module")
def traffic(records: list[Record]) -> Traffic:
    return build_traffic(records, seed="one", now=NOW)


def test_the_notes_list_every_source_with_its_commit_licence_and_number_of_records(records: list[Record]) -> None:
    listed = {
        (repository, commit, licence): int(number)
        for repository, commit, licence, number in re.findall(
            r"^\| (\S+/\S+) \| ([0-9a-f]{40}) \| (\S+) \| (\d+) \|$", NOTES, re.MULTILINE
        )
    }
    found = Counter((re.split("[@ ]", r.source, maxsplit=1)[0], r.commit, r.license) for r in records)
    assert listed == dict(found)
    assert f"holds {len(records)} answers" in NOTES
    assert {r.license for r in records} == {"Apache-2.0"}
    assert (RECORDED.parent / "LICENSE-APACHE-2.0.txt").is_file()


def test_the_records_hold_no_request_bodies_and_stay_small() -> None:
    assert RECORDED.stat().st_size < 600_000
    for line in RECORDED.read_text("utf-8").split("\n")[:-1]:
        assert json.loads(line)["request"].keys() == {"method", "path", "deployment", "model", "stream"}


def test_the_normalised_total_of_a_record_is_the_one_its_provider_implies(records: list[Record]) -> None:
    for record in records:
        if record.expected is not None:
            assert Counts.of_call(record, record.status).total_tokens == record.expected["total_tokens"], record.source


def test_the_same_seed_makes_the_same_traffic_and_another_seed_makes_other_calls(records: list[Record]) -> None:
    first, again = (build_traffic(records, seed="one", now=NOW, calls=200) for _ in range(2))
    other = build_traffic(records, seed="two", now=NOW, calls=200)
    assert first == again
    assert not request_ids(first) & request_ids(other)


def test_events_and_truth_agree_on_how_many_there_are(traffic: Traffic) -> None:
    bodies = [event.body for event in traffic.events if event.hub == USAGE_HUB]
    assert len(bodies) == traffic.truth.usage_events == 1_180 + 18 + 6
    assert len(bodies) - len(set(bodies)) == traffic.truth.duplicates
    assert len(request_ids(traffic)) == traffic.truth.totals.calls
    assert len({body for body in bodies if not is_sound(body)}) == traffic.truth.malformed


def test_truth_adds_up_and_covers_every_kind_of_call(traffic: Traffic) -> None:
    for counts in [*traffic.truth.apps.values(), traffic.truth.totals]:
        assert counts.calls == counts.usage_reported + counts.usage_missing
        assert counts.total_tokens == counts.prompt_tokens + counts.completion_tokens
        assert counts.cached_prompt_tokens + counts.cache_write_prompt_tokens <= counts.prompt_tokens
        assert counts.reasoning_tokens <= counts.completion_tokens
    totals = traffic.truth.totals
    assert min(vars(totals).values()) > 0
    assert totals.failed_calls < totals.usage_missing, "streams without usage are missing too, and have not failed"

    events = sound_events(traffic)
    assert {event["stream"] for event in events} == {True, False}
    assert any("usage" in event for event in events)
    assert any("body_offset" in event for event in events)
    assert {event["status"] for event in events} >= {200, 400, 401, 404, 429}


def test_calls_lie_in_the_last_days(traffic: Traffic) -> None:
    times = [datetime.fromisoformat(event["timestamp"]) for event in sound_events(traffic)]
    assert NOW - timedelta(days=DAYS, milliseconds=1) <= min(times) < NOW - timedelta(days=DAYS - 1)
    assert NOW - timedelta(hours=1) < max(times) <= NOW


def test_the_last_event_of_each_key_is_the_first_of_its_call(traffic: Traffic) -> None:
    """So that copies and malformed events have been seen when all calls are counted."""
    last = {(event.hub, event.key): event.body for event in traffic.events}
    assert {key for hub, key in last if hub == USAGE_HUB} == traffic.truth.apps.keys()
    times_sent = Counter(event.body for event in traffic.events)
    for (hub, _), body in last.items():
        assert times_sent[body] == 1
        assert is_sound(body) if hub == USAGE_HUB else "promptCachedTokens" in last_row_of_a_call(json.loads(body))


def test_streams_told_in_halves_have_one_row_with_counts_and_none_of_their_own(traffic: Traffic) -> None:
    waiting = {event["request_id"]: event for event in sound_events(traffic) if "usage_source" in event}
    assert len(waiting) == traffic.truth.joined > 50
    assert not any({"usage", "body", "response_model"} & event.keys() for event in waiting.values())
    messages = [event.body for event in traffic.events if event.hub == GATEWAY_LOGS_HUB]
    assert len(messages) == traffic.truth.logs + traffic.truth.repeated_logs
    assert len(set(messages)) == traffic.truth.logs
    rows = [row for body in set(messages) for row in json.loads(body)["records"]]
    counted = Counter(
        row["correlationId"].lower() for row in rows if row.get("category") and row["properties"].get("totalTokens")
    )
    assert counted == dict.fromkeys(waiting, 1)
    assert {"metricName" in row for row in rows} == {True, False}
    assert "" in {row.get("correlationId") for row in rows}, "a probe"


def test_logs_come_before_their_events_and_after_them(traffic: Traffic) -> None:
    places: dict[str, int] = {}
    before = after = 0
    for place, event in enumerate(traffic.events):
        if event.hub == USAGE_HUB and is_sound(event.body):
            places.setdefault(json.loads(event.body)["request_id"], place)
    for place, event in enumerate(traffic.events):
        if event.hub == GATEWAY_LOGS_HUB:
            row = last_row_of_a_call(json.loads(event.body))
            before += place < places[row["correlationId"].lower()]
            after += place > places[row["correlationId"].lower()]
    assert min(before, after) > 10


def test_a_difference_names_the_app_and_the_number() -> None:
    assert differences({"a": Counts(calls=2)}, {"a": Counts(calls=2)}) == []
    assert differences({"a": Counts(calls=1_200)}, {"a": Counts(calls=1_201), "b": Counts(calls=1)}) == [
        "a: calls should be 1,200 and is 1,201",
        "b: calls should be 0 and is 1",
    ]


def last_row_of_a_call(message: dict[str, Any]) -> dict[str, Any]:
    """The last of its rows that tells of a call, with what it tells of it."""
    rows = [row for row in message["records"] if row.get("correlationId")]
    return rows[-1] | rows[-1]["properties"]  # type: ignore[no-any-return]


def sound_events(traffic: Traffic) -> list[dict[str, Any]]:
    return [json.loads(event.body) for event in traffic.events if event.hub == USAGE_HUB and is_sound(event.body)]


def is_sound(body: bytes) -> bool:
    try:
        event = json.loads(body)
    except ValueError:
        return False
    return "request_id" in event and "gateway_id" in event  # the malformed ones have no gateway


def request_ids(traffic: Traffic) -> set[str]:
    return {event["request_id"] for event in sound_events(traffic)}
