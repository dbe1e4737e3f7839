"""The endpoints of dead letters, through the functions, on Azurite and a hub that the real SDK talks to."""

import gc
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote, urlencode

import azure.functions as func
import pytest

import function_app
from api.edits import MAX_BODY_BYTES
from hub_sender import HubSender
from local.eventhubs import EventHubsEndpoint
from models.dead_letter import REASONS
from pipeline import ingest
from redrive import MAX_LETTERS
from services import Services
from tests.api.asked import Parameters, Reply
from tests.api.conftest import Configure
from tests.support.events import NOON, raw_event, usage_event
from tests.support.hub import WatchedHub, watched

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as in tests/api/test_events.py

EVENTS = [
    raw_event(b"no json", sequence_number=1),
    raw_event({"who": "am I?", "n": 5}, sequence_number=2),
    raw_event(usage_event(request_id="late", timestamp="2016-08-01T12:00:00Z"), sequence_number=3),
    raw_event(usage_event(request_id="bad", timestamp=5, extra="<script>"), sequence_number=4),
    raw_event(usage_event(request_id="good"), sequence_number=5),
    raw_event(usage_event(request_id="later", timestamp="2016-08-01T12:00:00Z"), sequence_number=86_400_000),
]


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
async def watched_hub(event_hubs: EventHubsEndpoint) -> AsyncIterator[WatchedHub]:
    async with watched(event_hubs, "usage-events") as hub:
        yield hub


@pytest.fixture
async def hub(watched_hub: WatchedHub) -> WatchedHub:
    await watched_hub.start()
    return watched_hub


@pytest.fixture
async def app(configure: Configure, hub: WatchedHub) -> Services:
    """With five dead letters, one of which a day after the others."""
    found = await configure(EventHubConnection=hub.endpoint.connection_string())
    await ingest(EVENTS, found, now=lambda: NOON)
    return found


async def asked(path: str, parameters: Parameters | str = "", body: object = None) -> Reply:
    """GET, or with a body POST."""
    query = parameters if isinstance(parameters, str) else urlencode(parameters, doseq=True)
    name = {"": "dead_letters", "redrive": "redrive"}.get(path, "dead_letter")
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"https://usage.example.net/api/dead-letters{'/' if path else ''}{path}" + (f"?{query}" if query else "")
    method = "GET" if body is None else "POST"
    route = {"id": unquote(path)} if name == "dead_letter" else {}  # the host gives it decoded
    content = b"" if body is None else sent
    request = func.HttpRequest(method, url, headers={}, params={}, route_params=route, body=content)
    response: func.HttpResponse = await getattr(function_app, name)(request)
    return Reply(response.status_code, response.headers, response.get_body().decode(response.charset))


async def listed(parameters: Parameters | str = "") -> list[dict[str, Any]]:
    reply = await asked("", parameters)
    assert reply.status == 200, reply
    found: list[dict[str, Any]] = reply.json["dead_letters"]
    return found


async def test_the_list_says_of_each_what_was_wrong_and_what_can_be_done(app: Services) -> None:
    found = await listed()
    assert [(each["sequence_number"], each["reason"], each["redrivable"], each["obstacle"]) for each in found] == [
        (1, "not_json", False, "no_payload"),
        (2, "unknown_dialect", False, "content_removed"),
        (3, "too_old", True, None),
        (4, "invalid_field", True, None),
        (86_400_000, "too_old", True, None),
    ]
    bad = found[3]
    assert bad.pop("size_bytes") > 100
    assert bad.pop("first_seen") == bad.pop("last_seen") == "2026-11-20T12:00:00Z"
    assert bad.pop("expected").startswith("an RFC 3339 time")
    assert bad == {
        "id": "usage-events:0:4:1795176000004000:0",
        "reason": "invalid_field",
        "field": "timestamp",
        "got": "the number 5",
        "dialect": "usage-event",
        "request_id": "bad",
        "hub": "usage-events",
        "partition": "0",
        "sequence_number": 4,
        "position": 0,
        "records": 1,
        "enqueued_time": "2026-11-20T12:00:00.004000Z",
        "times_seen": 1,
        "tries": 0,
        "kept": "redacted",
        "redrivable": True,
        "obstacle": None,
    }


@pytest.mark.parametrize(
    ("parameters", "numbers"),
    [
        ({"reason": "too_old"}, [3, 86_400_000]),
        ({"reason": ["too_old", "not_json"]}, [1, 3, 86_400_000]),
        ({"from": "2026-11-21T00:00:00Z"}, [86_400_000]),
        ({"to": "2026-11-20T12:00:00.003Z"}, [1, 2]),
        ({"from": "2026-11-20T12:00:00.002Z", "to": "2026-11-20T12:00:00.004Z", "reason": "too_old"}, [3]),
        ({"reason": "unreadable"}, []),
        ({"limit": "2"}, [1, 2]),
    ],
)
async def test_filters(app: Services, parameters: Parameters, numbers: list[int]) -> None:
    assert [each["sequence_number"] for each in await listed(parameters)] == numbers


async def test_pages_lead_from_one_to_the_next(app: Services) -> None:
    everything = await listed()
    for limit in (1, 2, 3, 5):
        found: list[dict[str, Any]] = []
        parameters: dict[str, str] = {"limit": str(limit)}
        while True:
            reply = await asked("", parameters)
            found += reply.json["dead_letters"]
            if reply.json["next_cursor"] is None:
                break
            parameters["cursor"] = reply.json["next_cursor"]
        assert found == everything


async def test_one_has_what_is_kept_of_its_record(app: Services) -> None:
    found = await listed()
    for each in found:
        one = (await asked(each["id"])).json
        payload = one.pop("payload")
        assert one == each
        assert (payload is None) == (each["kept"] is None)
    reply = await asked(found[3]["id"].replace(":", "%3A"))
    assert reply.json["payload"] == json.loads(EVENTS[3].body) | {"extra": "…(8 characters)"}
    assert (await asked(found[1]["id"])).json["payload"] == {"who": "…(5 characters)", "n": 5}


async def test_numbers_that_json_has_not_are_shown_as_text(app: Services) -> None:
    await ingest([raw_event(b'{"a": NaN, "b": -Infinity, "c": 1e400}', sequence_number=9)], app, now=lambda: NOON)
    [one] = [each for each in await listed() if each["sequence_number"] == 9]
    assert (await asked(one["id"])).json["payload"] == {"a": "NaN", "b": "-Infinity", "c": "Infinity"}


@pytest.mark.parametrize("letter", ["nobody", "usage-events:0:4:1795176000004000:1", "%00", "a:b:1:2:3"])
async def test_a_letter_that_is_not_there(app: Services, letter: str) -> None:
    reply = await asked(letter)
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (404, "not_found", "id")


async def test_one_is_deleted_and_the_answer_is_what_was_lost(app: Services) -> None:
    [first, *others] = (await asked("")).json["dead_letters"]
    path = quote(first["id"], safe="")
    before = (await asked(path)).json
    url = f"https://usage.example.net/api/dead-letters/{path}"
    request = func.HttpRequest("DELETE", url, headers={}, params={}, route_params={"id": first["id"]}, body=b"")
    for status in (200, 404):
        response: func.HttpResponse = await function_app.dead_letter(request)
        assert response.status_code == status
        assert status == 404 or json.loads(response.get_body()) == before
    assert (await asked("")).json["dead_letters"] == others


@pytest.mark.parametrize(
    ("parameters", "code", "parameter"),
    [
        ({"reason": "bad"}, "invalid_parameter", "reason"),
        ({"from": "yesterday"}, "invalid_parameter", "from"),
        ({"from": "2026-11-21T00:00:00Z", "to": "2026-11-20T00:00:00Z"}, "invalid_range", "from"),
        ({"limit": "0"}, "invalid_parameter", "limit"),
        ({"limit": "1001"}, "invalid_parameter", "limit"),
        ({"limit": "ten"}, "invalid_parameter", "limit"),
        ({"cursor": "x"}, "invalid_parameter", "cursor"),
        ({"cursor": "ä"}, "invalid_parameter", "cursor"),
        ({"cursor": "MjAyNg=="}, "invalid_parameter", "cursor"),
        ({"resaon": "too_old"}, "unknown_parameter", "resaon"),
    ],
)
async def test_what_cannot_be_asked(app: Services, parameters: Parameters, code: str, parameter: str) -> None:
    reply = await asked("", parameters)
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, code, parameter)


async def test_every_reason_can_be_asked_for(app: Services) -> None:
    assert len(await listed({"reason": list(REASONS)})) == 5


# ------------------------------------------------------------------------------------------------------------- redrive


def statuses(reply: Reply) -> list[tuple[str, str | None]]:
    return [(each["status"], each["obstacle"]) for each in reply.json["dead_letters"]]


async def test_redrive_by_id(app: Services, hub: WatchedHub) -> None:
    found = [each["id"] for each in await listed()]
    reply = await asked("redrive", body={"ids": [*found[:3], found[2], "usage-events:0:4:1795176000004000:1"]})
    assert reply.status == 202
    assert statuses(reply) == [
        ("not_redrivable", "no_payload"),
        ("not_redrivable", "content_removed"),
        ("redriven", None),
        ("not_found", None),
    ]
    assert {name: reply.json[name] for name in ("redriven", "not_redrivable", "not_found", "not_sent")} == {
        "redriven": 1,
        "not_redrivable": 2,
        "not_found": 1,
        "not_sent": 0,
    }
    assert reply.json["next_cursor"] is None
    [held] = await hub.held()
    assert json.loads(held.event.body)["request_id"] == "late"
    assert len(await listed()) == 5
    object.__setattr__(app.settings, "call_retention_days", 100 * 365)
    await ingest([held.event], app, now=lambda: NOON)
    assert [each["sequence_number"] for each in await listed()] == [1, 2, 4, 86_400_000]


async def test_redrive_by_reason_and_time_page_by_page(app: Services, hub: WatchedHub) -> None:
    reply = await asked("redrive", body={"reason": "too_old", "limit": 1})
    assert (reply.status, statuses(reply)) == (202, [("redriven", None)])
    reply = await asked("redrive", body={"reason": "too_old", "limit": 1, "cursor": reply.json["next_cursor"]})
    assert (statuses(reply), reply.json["next_cursor"]) == ([("redriven", None)], None)
    reply = await asked("redrive", body={"reason": ["not_json", "too_old"], "from": "2026-11-21T00:00:00Z"})
    assert statuses(reply) == [("redriven", None)]
    assert len(await hub.held()) == 3
    reply = await asked("redrive", body={"reason": "unreadable"})
    assert (reply.status, statuses(reply)) == (200, [])


@pytest.mark.parametrize(
    ("body", "status", "code", "parameter"),
    [
        (b"", 400, "not_json", None),
        (b"[]", 400, "not_json", None),
        (b'{"ids": ["a"], "ids": ["b"]}', 400, "invalid_body", "ids"),
        ({}, 400, "missing_parameter", "ids"),
        ({"limit": 5}, 400, "missing_parameter", "ids"),
        ({"ids": []}, 400, "invalid_parameter", "ids"),
        ({"ids": "a"}, 400, "invalid_parameter", "ids"),
        ({"ids": ["a"]}, 400, "invalid_parameter", "ids"),
        ({"ids": [5]}, 400, "invalid_parameter", "ids"),
        ({"ids": ["h:0:1:2:3"] * (MAX_LETTERS + 1)}, 400, "invalid_parameter", "ids"),
        ({"ids": ["h:0:1:2:3"], "reason": "too_old"}, 400, "invalid_parameter", "ids"),
        ({"reason": "bad"}, 400, "invalid_parameter", "reason"),
        ({"reason": {}}, 400, "invalid_parameter", "reason"),
        ({"from": True}, 400, "invalid_parameter", "from"),
        ({"from": "yesterday"}, 400, "invalid_parameter", "from"),
        ({"reason": "too_old", "limit": MAX_LETTERS + 1}, 400, "invalid_parameter", "limit"),
        ({"reason": "too_old", "cursor": "x"}, 400, "invalid_parameter", "cursor"),
        ({"reasons": ["too_old"]}, 400, "unknown_parameter", "reasons"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "body_too_large", None),
    ],
)
async def test_what_cannot_be_redriven(
    app: Services, hub: WatchedHub, body: object, status: int, code: str, parameter: str | None
) -> None:
    reply = await asked("redrive", body=body)
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (status, code, parameter)
    assert hub.count() == 0


async def test_a_hub_that_does_not_confirm_is_a_503(app: Services, hub: WatchedHub) -> None:
    app.hub_sender = HubSender.from_connection_string(
        "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true",
        "usage-events",
        seconds=0.5,
    )
    reply = await asked("redrive", body={"reason": "too_old"})
    assert (reply.status, reply.json["error"]["code"], reply.json["not_sent"]) == (503, "hub_unavailable", 2)
    assert len(await listed({"reason": "too_old"})) == 2


async def test_without_a_connection_only_redrive_is_misconfigured(configure: Configure) -> None:
    found = await configure()
    await ingest(EVENTS, found, now=lambda: NOON + timedelta(days=1))
    assert (await asked("redrive", body={"reason": "too_old"})).error["code"] == "misconfigured"
    assert len(await listed()) == 5
