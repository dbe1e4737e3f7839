"""What is read in one step: as models.event reads it, and only what is as it should be. For any other input that both
ways lead to the same, see tests/faults/decoders.py."""

import json
from typing import Any

import pytest

from models.event import UsageEvent, read_usage_event
from models.plain_event import plain_usage_event
from tests.support.events import usage_event

FULL = usage_event(
    error={"source": "forward-request", "reason": "BackendConnectionFailure"},
    method="POST",
    first_byte_ms=12.5,
    body='{"a": "\N{GRINNING FACE}\\n"}',
    body_offset=0,
    usage_source="event",
    timestamp="2026-11-20T12:00:00.1234567+01:00",
)


def members(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in UsageEvent.model_fields}


@pytest.mark.parametrize("record", [usage_event(), FULL, dict.fromkeys(UsageEvent.model_fields) | usage_event()])
def test_an_event_as_it_should_be_is_read_in_one_step(record: dict[str, Any]) -> None:
    record.pop("schema_", None)
    plain = plain_usage_event(json.dumps(record).encode())
    judged = read_usage_event(record)
    assert plain is not None
    error, judged_error = plain.error, judged.error
    assert members(plain) | {"error": None} == members(judged) | {"error": None}
    assert (error and (error.source, error.reason)) == (judged_error and (judged_error.source, judged_error.reason))


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1},
        {"schema": "usage-event/2"},
        {"request_id": " r-1 "},
        {"request_id": ""},
        {"timestamp": "yesterday"},
        {"timestamp": None},
        {"app_id": "a" * 1025},
        {"app_id": 1},
        {"status": 1000},
        {"status": 200.0},
        {"stream": 1},
        {"usage": []},
        {"error": {"source": "s", "more": 1}},
        {"body_offset": -1},
        {"duration_ms": float("nan")},
    ],
)
def test_any_other_is_left_to_judge(changes: dict[str, Any]) -> None:
    assert plain_usage_event(json.dumps(usage_event(**changes)).encode()) is None


@pytest.mark.parametrize("text", [b"", b"[", b"null", b"[1]", b'{"usage":' * 5_000, b"\xff", b'{"schema":"\xff"}'])
def test_what_is_no_event_is_left_too(text: bytes) -> None:
    assert plain_usage_event(text) is None
