"""Messages truncated on the way: what says whose call it was must be whole, and nothing cut is believed."""

import json
from typing import Any

import pytest

from collectors.collect import collect
from models.call import Call
from models.usage import Usage
from tests.collectors.dialects.fixtures import Case, cases, record_of
from tests.collectors.reading import LONG_AGO, collected
from tests.support.events import NOON, raw_event, usage_event

WRITTEN: list[dict[str, Any]] = [{}, {"indent": 2}, {"ensure_ascii": False}]
WRAPPERS: dict[str, Any] = {
    "bare": lambda record: record,
    "records": lambda record: {"records": [record]},
    "array": lambda record: [record],
    "CloudEvent": lambda record: {
        "specversion": "1.0",
        "id": "e1",
        "source": "/s",
        "type": "t",
        "time": "2026-11-20T12:00:00Z",
        "data": record,
    },
}


def believed(whole: Call, cut: Call) -> None:
    """What the cut left is as it was, or is not there."""
    if cut == whole:  # only its wrapper was cut
        return
    assert cut.usage in (whole.usage, Usage())
    if cut.usage == Usage() and whole.usage != Usage():
        assert cut.missing_reason == "truncated"
    if whole.missing_reason not in ("error_response", "not_metered"):
        assert cut.missing_reason in (None, "truncated")
    for name in ("request_id", "app", "app_source", "product", "subscription"):
        assert getattr(cut, name) == getattr(whole, name), name
    assert cut.timestamp in (whole.timestamp, NOON)
    assert cut.stage == ("final" if cut.usage_state == "reported" else "provisional")
    assert cut.undated in (whole.undated, cut.timestamp == NOON)  # it may have lost its time
    for name in set(Call._fields[Call._fields.index("deployment") :]) - {"stage", "undated"}:
        assert getattr(cut, name) in (None, getattr(whole, name)), name


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("case", [case for case in cases() if case.call], ids=lambda case: f"{case.module}.{case.name}")
def test_cut_anywhere_is_the_same_call_with_less_or_a_dead_letter(case: Case, wrapper: str) -> None:
    for written in WRITTEN if wrapper == "bare" else WRITTEN[:1]:
        text = json.dumps(WRAPPERS[wrapper](case.record), **written).encode()
        whole = collected(text).calls[0]
        for end in range(1, len(text), 13 if wrapper == "bare" else 29):
            result = collected(text[:end])
            assert result.received == 1, end
            for call in result.calls:
                believed(whole, call)
            for letter in result.dead_letters:
                assert letter.reason == "not_json"


@pytest.mark.parametrize("case", [case for case in cases() if case.half], ids=lambda case: f"{case.module}.{case.name}")
def test_a_log_that_was_cut_is_a_dead_letter_and_those_before_it_are_whole(case: Case) -> None:
    """Azure Monitor cuts none: what was cut elsewhere is not guessed at."""
    text = json.dumps(case.record).encode()
    both = json.dumps({"records": [case.record, case.record]}).encode()
    (whole,) = collected(text).halves
    for end in range(1, len(text), 13):
        result = collected(text[:end])
        assert (result.received, [letter.reason for letter in result.dead_letters]) == (1, ["not_json"])
        pair = collected(both[: len(both) - len(text) - 2 + end])
        assert pair.halves == [whole]
        assert [letter.reason for letter in pair.dead_letters] == ["not_json"]


def test_cut_at_each_byte() -> None:
    record = usage_event(
        request_id="😀-1", usage=None, body='data: {"choices": [{"delta": {"content": "é\U0001f600"}}]}'
    )
    for written in WRITTEN:
        text = json.dumps(record, **written).encode()
        whole = collected(text).calls[0]
        counted = 0
        for end in range(1, len(text)):
            for call in collected(text[:end]).calls:
                believed(whole, call)
                counted += 1
        assert counted > 70


def test_event_cut_at_200_kb_is_counted_as_truncated() -> None:
    chunk = 'data: {"model": "m-1", "choices": [{"index": 0, "delta": {"content": "tell"}}], "usage": null}\n\n'
    event = usage_event(usage=None, response_model=None, body=chunk * 4000)
    (call,) = collected(json.dumps(event).encode()[: 200 * 1024]).calls
    assert (call.request_id, call.app, call.model) == (event["request_id"], "app-1", "m-1")
    assert (call.usage_state, call.missing_reason) == ("missing", "truncated")


def test_usage_before_the_cut_is_reported() -> None:
    event = usage_event(body="{" * 300_000)
    (call,) = collected(json.dumps(event).encode()[: 200 * 1024]).calls
    assert (call.usage_state, call.usage.total_tokens) == ("reported", 15)


def test_usage_in_the_body_before_the_cut_is_reported() -> None:
    """Anthropic and some others put usage before the content."""
    body = {
        "model": "m",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "text": "x" * 300_000,
    }
    for record in (
        usage_event(usage=None, body=json.dumps(body)),
        record_of("private_openai", "whole") | {"response": json.dumps(body)},
        {"request": {"model": "m"}, "response": {"status": 200, "headers": {}, "body": json.dumps(body)}},
    ):
        (call,) = collected(json.dumps(record).encode()[: 200 * 1024]).calls
        assert (call.usage_state, call.usage.total_tokens) == ("reported", 7)


@pytest.mark.parametrize("member", ["request_id", "timestamp", "app_id"])
def test_identity_that_was_cut_is_not_believed(member: str) -> None:
    text = json.dumps(usage_event())
    cut = text.index(f'"{member}"') + len(member) + 8
    letter = collected(text[:cut].encode()).dead_letters[0]
    assert (letter.reason, letter.dialect) == ("not_json", "usage-event")


def test_dead_letter_of_a_cut_event_keeps_an_identity_that_is_whole() -> None:
    event = usage_event()
    text = json.dumps(event)
    letter = collected(text[: text.index('"app_id"') + 3].encode()).dead_letters[0]
    assert letter.request_id == event["request_id"]


def test_number_that_was_cut_is_not_believed() -> None:
    text = json.dumps({"schema": "", "body": None} | usage_event(status=200, usage=None))
    for digits in (1, 2, 3):
        end = text.index('"status": ') + len('"status": ') + digits
        assert collected(text[:end].encode()).calls[0].status is None
    assert collected(text[: end + 1].encode()).calls[0].status == 200


def test_status_explains_a_missing_usage_better_than_the_cut() -> None:
    text = json.dumps(usage_event(usage=None, status=429, body="x" * 50))
    assert collected(text[:-9].encode()).calls[0].missing_reason == "error_response"


def test_records_before_the_cut_are_whole() -> None:
    events = [usage_event() for _ in range(3)]
    for text in (json.dumps(events), json.dumps({"records": events}), "\n".join(json.dumps(event) for event in events)):
        result = collected(text.encode()[:-30])
        assert [call.request_id for call in result.calls] == [event["request_id"] for event in events]
        assert [call.usage_state for call in result.calls][:2] == ["reported", "reported"]


def test_cut_call_is_the_same_when_it_comes_again() -> None:
    text = json.dumps(record_of("private_openai", "stream")).encode()[:-200]
    first, again = (collect([raw_event(text, sequence_number=4)], LONG_AGO).calls for _ in range(2))
    assert first == again
    assert first[0].missing_reason == "truncated"
