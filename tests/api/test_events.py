"""POST /api/events, through the function, to a hub that the real SDK talks to, and back out of it."""

import asyncio
import gc
import gzip
import json
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.events import MAX_BODY_BYTES
from api.posted import MAX_EVENTS
from collectors.collect import Collected, collect
from hub_sender import MAX_KEY_LENGTH, HubSender
from local.eventhubs import EventHubsEndpoint, HubSpec
from services import Services
from tests.api.asked import Reply, ask, post
from tests.api.conftest import Configure
from tests.api.test_endpoints import SECONDS_UNTIL_A_CALLER_GIVES_UP, closed_port
from tests.support.events import usage_event
from tests.support.hub import Held, WatchedHub, watched

HUB = "usage-events"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
# The aio SDK forgets its transport when a connection breaks under it. Its complaint about that comes when the garbage
# is collected, which the fixture makes happen while it is ignored.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


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
    """What comes to the hub in a test."""
    await watched_hub.start()
    return watched_hub


@pytest.fixture
async def app(configure: Configure, hub: WatchedHub) -> Services:
    """The app, with a connection to the hub."""
    return await configure(EventHubConnection=hub.endpoint.connection_string())


@pytest.fixture
async def weak_hub(tmp_path: Path) -> AsyncIterator[WatchedHub]:
    """A hub of the test's own, to make it fail."""
    with EventHubsEndpoint(tmp_path / "hub", [HubSpec(HUB, 1)]) as endpoint:
        async with watched(endpoint, HUB) as hub:
            yield hub


@pytest.fixture
async def impatient(configure: Configure, weak_hub: WatchedHub) -> Services:
    """The app on the weak hub, for which it does not wait long."""
    app = await configure(EventHubConnection=weak_hub.endpoint.connection_string())
    app.hub_sender = HubSender.from_connection_string(weak_hub.endpoint.connection_string(), HUB, seconds=1.5)
    return app


def counted(held: list[Held]) -> Collected:
    """What the collector makes of the hub's events, in one batch."""
    return collect([each.event for each in held], LONG_AGO)


def statuses(reply: Reply) -> list[str]:
    events = reply.json["events"]
    assert [event["position"] for event in events] == list(range(len(events)))
    found = [event["status"] for event in events]
    assert {status: reply.json[status] for status in ("accepted", "rejected", "not_sent")} == {
        "accepted": found.count("accepted"),
        "rejected": found.count("rejected"),
        "not_sent": found.count("not_sent"),
    }
    return found


def error_of(reply: Reply, position: int = 0) -> tuple[str, str | None]:
    error = reply.json["events"][position]["error"]
    assert list(error) == ["code", "message", "parameter"]
    return error["code"], error["parameter"]


def cloud_event(data: Any, **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "llm.call",
        "source": "/gateways/acme",
        "id": str(uuid4()),
        "data": data,
    } | changes


def nameless(**changes: Any) -> dict[str, Any]:
    """A record of a dialect without an id of the call."""
    record = {"type": "completion", "content": "", "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
    return record | {"model": "gpt-4o", "timestamp": datetime.now(UTC).isoformat()} | changes


# ------------------------------------------------------------------------------------------------ what is accepted


async def test_an_event_is_on_the_hub_as_it_came_when_it_is_accepted(app: Services, hub: WatchedHub) -> None:
    event = usage_event(request_id="{0F5C8C24-9A3B-4C61-9E2E-7C8B0A51D3F2}")
    body = json.dumps(event, indent=1).encode()
    reply = await post(body, {"content-type": "application/json"})
    assert (reply.status, reply.json) == (
        202,
        {
            "accepted": 1,
            "ignored": 0,
            "rejected": 0,
            "not_sent": 0,
            "events": [{"position": 0, "status": "accepted", "request_id": "0f5c8c24-9a3b-4c61-9e2e-7c8b0a51d3f2"}],
        },
    )
    [held] = await hub.held()
    assert (held.event.body, held.key) == (body, "app-1")
    [call] = counted([held]).calls
    assert (call.request_id, call.usage.total_tokens) == ("0f5c8c24-9a3b-4c61-9e2e-7c8b0a51d3f2", 15)


def _lines(*records: Any) -> bytes:
    return b"\r\n".join(json.dumps(record).encode() for record in records) + b"\n\n"


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("application/json", lambda *events: json.dumps(events).encode()),
        ("application/json; charset=utf-8", lambda *events: b"\xef\xbb\xbf" + json.dumps(events, indent=4).encode()),
        ("application/x-ndjson", _lines),
        ("application/x-www-form-urlencoded", _lines),  # what curl says if it is not told otherwise
        ("application/cloudevents-batch+json", lambda *events: json.dumps([cloud_event(e) for e in events]).encode()),
        ("application/json", lambda *events: json.dumps([cloud_event(json.dumps(e)) for e in events]).encode()),
        ("application/json", lambda *events: json.dumps([{"records": [e]} for e in events]).encode()),
    ],
    ids=["array", "indented array", "lines", "lines of curl", "CloudEvents", "CloudEvents with text", "records"],
)
async def test_each_of_several_is_an_event_of_the_hub(
    app: Services, hub: WatchedHub, content_type: str, form: Callable[..., bytes]
) -> None:
    events = [usage_event(app_id=f"app-{number % 2}", model="größer ☃ 😀") for number in range(5)]
    reply = await post(form(*events), {"content-type": content_type})
    assert (reply.status, statuses(reply)) == (202, ["accepted"] * 5)
    assert [event["request_id"] for event in reply.json["events"]] == [event["request_id"] for event in events]
    held = await hub.held()
    assert sorted(call.request_id for call in counted(held).calls) == sorted(event["request_id"] for event in events)
    assert {call.requested_model for call in counted(held).calls} == {"größer ☃ 😀"}
    assert sorted(each.key or "" for each in held) == ["app-0"] * 3 + ["app-1"] * 2


async def test_a_cloud_event_in_binary_mode_becomes_one_with_all_that_its_headers_say(
    app: Services, hub: WatchedHub
) -> None:
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-type": "llm.call",
        "ce-source": "/gateways/a%20b",
        "ce-id": "1%E2%82%AC",
        "ce-time": "2026-11-20T12:00:00Z",
    }
    record = nameless()
    del record["timestamp"]
    assert (await post(record, headers)).status == 202
    structured = cloud_event(record, source="/gateways/a b", id="1€", time="2026-11-20T12:00:00Z")
    assert (await post(structured, {"content-type": "application/cloudevents+json"})).status == 202
    one, other = counted(await hub.held()).calls
    assert one.request_id == other.request_id
    assert one.timestamp == other.timestamp == datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("missing", ["ce-id", "ce-source", "ce-type"])
async def test_a_cloud_event_in_binary_mode_needs_its_attributes(app: Services, missing: str) -> None:
    headers = {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "s", "ce-id": "i"}
    del headers[missing]
    reply = await post(usage_event(), headers)
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "missing_header", missing)


async def test_the_content_type_of_the_structured_mode_goes_before_headers(app: Services) -> None:
    reply = await post(
        cloud_event(usage_event()), {"content-type": "application/cloudevents+json", "ce-specversion": "1.0"}
    )
    assert reply.status == 202


async def test_events_of_an_app_share_a_partition_and_those_of_nobody_are_spread(
    app: Services, hub: WatchedHub
) -> None:
    long = "x" * 300
    events = [usage_event(app_id=long) for _ in range(3)]
    events += [usage_event(app_id=" ", subscription_id="sub-7") for _ in range(3)]
    events += [usage_event(app_id=None, product_id=None) for _ in range(3)]
    assert (await post(events)).status == 202
    held = await hub.held()
    assert Counter(each.key for each in held) == {long[:MAX_KEY_LENGTH]: 3, "sub-7": 3, None: 3}
    for key in (long[:MAX_KEY_LENGTH], "sub-7"):
        assert len({each.event.origin.partition for each in held if each.key == key}) == 1


async def test_an_event_sent_twice_is_one_call(app: Services, hub: WatchedHub) -> None:
    event, wrapped = usage_event(), cloud_event(nameless())
    assert statuses(await post([event, event, wrapped])) == ["accepted"] * 3
    assert statuses(await post([event, wrapped])) == ["accepted"] * 2
    calls = counted(await hub.held()).calls
    assert (len(calls), len({call.request_id for call in calls})) == (5, 2)


async def test_a_batch_as_large_as_may_be(app: Services, hub: WatchedHub) -> None:
    events = [usage_event(app_id=f"app-{number % 20}") for number in range(MAX_EVENTS)]
    reply = await post(events)
    assert (reply.status, reply.json["accepted"]) == (202, MAX_EVENTS)
    assert hub.count() == MAX_EVENTS


async def test_many_may_post_at_once(app: Services, hub: WatchedHub) -> None:
    replies = await asyncio.gather(*(post([usage_event(), usage_event(app_id=str(n))]) for n in range(30)))
    assert {reply.status for reply in replies} == {202}
    assert len({call.request_id for call in counted(await hub.held()).calls}) == 60


# ------------------------------------------------------------------------------------------------ what is rejected


async def test_bad_events_do_not_keep_the_good_from_the_hub(app: Services, hub: WatchedHub) -> None:
    good = usage_event()
    old = (datetime.now(UTC) - timedelta(days=3651)).isoformat()
    reply = await post(
        [
            {"some": "thing"},
            good,
            17,
            usage_event(request_id=None),
            usage_event(request_id="r-4", usage={"prompt_tokens": "SECRET"}),
            usage_event(timestamp="yesterday"),
            usage_event(timestamp=old),
            nameless(),
            cloud_event({"some": "thing"}),
            usage_event(timestamp=(datetime.now(UTC) + timedelta(days=1)).isoformat()),
        ]
    )
    assert reply.status == 207
    assert statuses(reply) == ["rejected", "accepted"] + ["rejected"] * 7 + ["accepted"]
    assert [error_of(reply, position) for position in (0, 2, 3, 4, 5, 6, 7, 8)] == [
        ("unknown_dialect", None),
        ("not_json", None),
        ("invalid_field", "request_id"),
        ("invalid_field", "usage.prompt_tokens"),
        ("invalid_field", "timestamp"),
        ("too_old", "timestamp"),
        ("missing_field", "request_id"),
        ("unknown_dialect", None),
    ]
    assert reply.json["events"][4]["request_id"] == "r-4"
    assert "expected" in reply.json["events"][4]["error"]["message"]
    assert "SECRET" not in reply.text
    assert json.dumps("yesterday") not in reply.text
    assert good["request_id"] in {call.request_id for call in counted(await hub.held()).calls}
    assert hub.count() == 2


async def test_a_line_that_is_no_json_does_not_keep_the_others_from_the_hub(app: Services, hub: WatchedHub) -> None:
    lines = [json.dumps(usage_event()).encode() for _ in range(2)]
    reply = await post(b"\n".join([b'{"schema": ', lines[0], b"\xff", lines[1], lines[1][:-20]]))
    assert (reply.status, statuses(reply)) == (207, ["rejected", "accepted", "rejected", "accepted", "rejected"])
    assert hub.count() == 2


async def test_an_event_of_several_records_is_taken_as_a_whole_or_not_at_all(app: Services, hub: WatchedHub) -> None:
    """The identity of its calls is their place in it."""
    records = [nameless(), nameless(), nameless(usage="SECRET"), nameless(usage="SECRET")]
    reply = await post([cloud_event(records), cloud_event(records[:2])])
    assert (reply.status, statuses(reply)) == (207, ["rejected", "accepted"])
    message = reply.json["events"][0]["error"]["message"]
    assert "in record 2 of the event (2 of its 4 records are bad)" in message
    assert "SECRET" not in reply.text
    assert reply.json["events"][1]["request_id"] is None
    assert len(counted(await hub.held()).calls) == 2


async def test_where_a_single_event_is_rejected_its_error_is_that_of_the_request(app: Services) -> None:
    reply = await post(usage_event(status="fine"))
    assert (reply.status, statuses(reply)) == (400, ["rejected"])
    assert reply.json["error"] == reply.json["events"][0]["error"]
    assert error_of(reply) == ("invalid_field", "status")


async def test_where_all_of_several_are_rejected_so_is_the_request(app: Services, hub: WatchedHub) -> None:
    reply = await post([{}] * 3)
    assert (reply.status, statuses(reply)) == (400, ["rejected"] * 3)
    assert (reply.json["error"]["code"], reply.json["error"]["parameter"]) == ("nothing_accepted", None)
    assert hub.count() == 0


WHOLE = json.dumps([usage_event(), usage_event()], indent=2).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n\t ",
        b"\xef\xbb\xbf",
        b"[]",
        b"null",
        b"17",
        b'"text"',
        b"not json",
        b"\xff\xfe\x00",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        WHOLE[:-1],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[: WHOLE.index(b"},") + 2],
        json.dumps(usage_event()).encode()[:-30],
        b"<event/>",
        json.dumps(usage_event()).encode("utf-16"),
        b"app_id=shop&tokens=12",
    ],
)
async def test_what_is_no_json_reaches_no_hub(app: Services, hub: WatchedHub, body: bytes) -> None:
    reply = await post(body)
    assert (reply.status, reply.json["error"]["code"]) == (400, "not_json")
    assert "expected" in reply.json["error"]["message"]
    assert hub.count() == 0


async def test_half_a_letter_is_as_good_as_on_the_hub(app: Services, hub: WatchedHub) -> None:
    """A sender that cuts text by UTF-16 units leaves halves, which strict parsers refuse."""
    events = [usage_event(), usage_event(user_id="HALF")]
    assert (await post(json.dumps(events).replace("HALF", "a\\ud83d").encode())).status == 202
    assert len(counted(await hub.held()).calls) == 2


async def test_too_many_events(app: Services, hub: WatchedHub) -> None:
    for body in (b"[" + b"1," * MAX_EVENTS + b"1]", b"{}\n" * (MAX_EVENTS + 1)):
        reply = await post(body)
        assert (reply.status, reply.error["code"]) == (413, "too_many_events")
        assert str(MAX_EVENTS) in reply.error["message"]


async def test_a_body_that_is_too_large(app: Services) -> None:
    reply = await post(b" " * (MAX_BODY_BYTES + 1))
    assert (reply.status, reply.error["code"]) == (413, "body_too_large")
    assert str(MAX_BODY_BYTES) in reply.error["message"]


async def test_an_event_that_the_hub_does_not_take(app: Services, hub: WatchedHub) -> None:
    """A hub's limit is for an event with what the protocol adds to it."""
    event = usage_event(body="")
    fill = "x" * (MAX_BODY_BYTES - len(json.dumps(event)))
    reply = await post(usage_event(body=fill))
    assert (reply.status, error_of(reply)) == (400, ("event_too_large", None))
    assert hub.count() == 0


async def test_an_encoded_body_is_refused(app: Services) -> None:
    reply = await post(gzip.compress(json.dumps(usage_event()).encode()), {"content-encoding": "gzip"})
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (
        415,
        "unsupported_encoding",
        "Content-Encoding",
    )
    assert (await post(usage_event(), {"content-encoding": "identity"})).status == 202


async def test_a_megabyte_of_bad_records_does_not_hold_up_the_rest_of_the_app(app: Services) -> None:
    """They take seconds to read (here a quarter of them, with a quarter of the time)."""
    body = b'{"records":[' + b"1," * (MAX_BODY_BYTES // 8) + b"1]}"
    longest, began = 0.0, time.monotonic()
    posted, turn = asyncio.ensure_future(post(body)), began
    while not posted.done():
        await asyncio.sleep(0.01)
        longest, turn = max(longest, time.monotonic() - turn), time.monotonic()
    reply = posted.result()
    assert (reply.status, error_of(reply)) == (400, ("not_json", "records"))
    assert len(reply.text) < 2000
    assert longest < (turn - began) / 2


# --------------------------------------------------------------------------------------------- where the hub fails


async def test_a_hub_that_is_busy_is_a_503_and_what_is_sent_again_is_accepted(
    impatient: Services, weak_hub: WatchedHub, caplog: pytest.LogCaptureFixture
) -> None:
    events = [usage_event(), {}, usage_event()]
    weak_hub.endpoint.reject_sends(1000)
    with caplog.at_level(logging.ERROR, "usage_collector.hub_sender"):
        reply = await post(events)
    assert (reply.status, statuses(reply)) == (503, ["not_sent", "rejected", "not_sent"])
    assert (reply.json["error"]["code"], reply.json["error"]["parameter"]) == ("hub_unavailable", None)
    assert error_of(reply) == ("hub_unavailable", None)
    assert caplog.records
    assert weak_hub.count() == 0

    weak_hub.endpoint.clear_faults()
    reply = await post(events)
    assert (reply.status, statuses(reply)) == (207, ["accepted", "rejected", "accepted"])
    assert weak_hub.count() == 2


@pytest.mark.parametrize("stored", [False, True])
async def test_what_the_hub_did_not_confirm_is_not_accepted_and_counts_once_when_it_comes_again(
    impatient: Services, weak_hub: WatchedHub, stored: bool
) -> None:
    event = usage_event()
    assert (await post(usage_event())).status == 202
    weak_hub.endpoint.swallow_sends(1, stored=stored)
    reply = await post(event)
    assert (reply.status, statuses(reply)) == (503, ["not_sent"])
    assert weak_hub.count() == 1 + stored

    assert (await post(event)).status == 202
    calls = counted(await weak_hub.held()).calls
    assert len(calls) == 2 + stored
    assert Counter(call.request_id for call in calls)[event["request_id"]] == 1 + stored


async def test_what_was_confirmed_before_the_hub_failed_is_accepted(impatient: Services, weak_hub: WatchedHub) -> None:
    """Apps are sent one after the other: here the hub falls silent after the first."""
    assert impatient.hub_sender is not None
    client = impatient.hub_sender._client
    send = client.send_batch

    async def send_and_fall_silent(*arguments: Any, **options: Any) -> None:
        await send(*arguments, **options)
        weak_hub.endpoint.swallow_sends()

    client.send_batch = send_and_fall_silent  # type: ignore[method-assign]
    events = [usage_event(app_id="one"), usage_event(app_id="two"), {}, usage_event(app_id="one")]
    reply = await post(events)
    assert (reply.status, statuses(reply)) == (503, ["accepted", "not_sent", "rejected", "accepted"])
    assert sorted(call.app for call in counted(await weak_hub.held()).calls) == ["one", "one"]


async def test_a_broken_connection_is_opened_again(configure: Configure, weak_hub: WatchedHub) -> None:
    await configure(EventHubConnection=weak_hub.endpoint.connection_string())
    assert (await post(usage_event())).status == 202
    weak_hub.endpoint.drop_connections()
    assert (await post(usage_event())).status == 202
    weak_hub.endpoint.drop_on_sends()
    assert (await post(usage_event())).status == 202
    weak_hub.endpoint.stop()
    weak_hub.endpoint.start()
    assert (await post(usage_event())).status == 202
    assert len({call.request_id for call in counted(await weak_hub.held()).calls}) == 4


@pytest.mark.parametrize("by", ["key", "identity"])
async def test_a_hub_that_cannot_be_reached_is_a_503_before_the_caller_gives_up(
    configure: Configure, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    connection = (
        f"Endpoint=sb://127.0.0.1:{closed_port()};SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0;"
        "UseDevelopmentEmulator=true"
    )
    if by == "key":
        await configure(EventHubConnection=connection)
    else:
        await configure(EventHubConnection__fullyQualifiedNamespace="localhost")  # where nobody listens on port 5671
    with caplog.at_level(logging.ERROR, "usage_collector.hub_sender"):
        reply = await asyncio.wait_for(post(usage_event()), SECONDS_UNTIL_A_CALLER_GIVES_UP)
    assert (reply.status, statuses(reply)) == (503, ["not_sent"])
    assert "hub usage-events takes no events: ConnectError" in caplog.text
    assert "c2VjcmV0" not in caplog.text + reply.text
    assert not re.search(r"\d{4,}", reply.json["error"]["message"])


async def test_a_hub_that_does_not_exist_is_a_503_and_the_log_says_why(
    configure: Configure, weak_hub: WatchedHub, caplog: pytest.LogCaptureFixture
) -> None:
    await configure(EventHubConnection=weak_hub.endpoint.connection_string(), USAGE_EVENTS_HUB="nowhere")
    with caplog.at_level(logging.ERROR, "usage_collector.hub_sender"):
        assert (await post(usage_event())).status == 503
    assert "hub nowhere takes no events: ConnectError" in caplog.text


async def test_without_a_connection_only_this_endpoint_is_misconfigured(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    await configure()
    with caplog.at_level(logging.ERROR, "usage_collector.api"):
        reply = await post(usage_event())
    assert (reply.status, reply.error["code"]) == (500, "misconfigured")
    assert "EventHubConnection__fullyQualifiedNamespace is not set: expected" in caplog.text
    assert (await ask("health")).status == 200
    assert (await ask("usage")).status == 200


async def test_without_settings_it_is_misconfigured(no_settings: pytest.MonkeyPatch) -> None:
    reply = await post(usage_event())
    assert (reply.status, reply.error["code"]) == (500, "misconfigured")
