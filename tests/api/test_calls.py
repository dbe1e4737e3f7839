"""GET /api/calls and GET /api/calls/{request_id}: the calls themselves, and why each was counted as it was."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.endpoints import answer
from ledger.forget import Whom, forget_in
from local.azurite import Azurite
from pipeline import ingest, settle
from services import Services
from tests.api.asked import Reply, ask, ask_one
from tests.api.conftest import Configure
from tests.queries.filled import environment, fill
from tests.support.events import raw_event, usage_event

DAY = {"app": "app-1", "from": "2024-02-29T00:00:00Z", "to": "2024-03-01T00:00:00Z"}
DAYS = {"app": "app-1", "from": "2024-02-20T00:00:00Z", "to": "2024-03-02T00:00:00Z"}


def at(time: str, request_id: str, **changes: Any) -> tuple[dict[str, Any], str]:
    return usage_event(timestamp=time, request_id=request_id, **changes), "0"


async def one(request_id: str, parameters: dict[str, str] | None = None) -> Reply:
    return await ask_one("call", "calls", "request_id", request_id, parameters or {})


def ids(reply: Reply) -> list[str]:
    assert reply.status == 200, reply
    return [call["request_id"] for call in reply.json["calls"]]


class TestList:
    @settings(
        max_examples=10,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(
        minutes=st.lists(st.integers(0, 5 * 24 * 60) | st.integers(0, 3), min_size=1, max_size=20),
        limit=st.integers(1, 7),
    )
    async def test_pages_hold_every_call_once_newest_first(
        self, configure: Configure, minutes: list[int], limit: int
    ) -> None:
        """Over days and a month's edge, calls of the same instant included; of no other app."""
        first = datetime(2024, 2, 25, 1, tzinfo=UTC)
        times = {f"c-{number}": first + timedelta(minutes=minute) for number, minute in enumerate(minutes)}
        events = [at(time.isoformat(), name) for name, time in times.items()]
        await fill(await configure(), [*events, at(first.isoformat(), "other", app_id="app-2")])
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            reply = await ask("calls", {**DAYS, "limit": str(limit), **cursor})
            found += ids(reply)
            if reply.json["next_cursor"] is None:
                break
            assert len(reply.json["calls"]) == limit
            cursor = {"cursor": reply.json["next_cursor"]}
        assert found == sorted(times, key=lambda name: (times[name], name), reverse=True)

    async def test_times_are_exact_and_the_end_is_not_in_the_range(self, configure: Configure) -> None:
        events = [at(f"2024-02-29T12:00:0{second}Z", f"c-{second}") for second in range(4)]
        await fill(await configure(), events)
        part = {**DAY, "from": "2024-02-29T12:00:01Z", "to": "2024-02-29T12:00:03Z"}
        assert ids(await ask("calls", part)) == ["c-2", "c-1"]

    async def test_filters_by_any_dimension_and_by_what_is_known_of_usage(self, configure: Configure) -> None:
        events = [
            at("2024-02-29T12:00:00Z", "a", user_id="ann", stream=True, usage=None),
            at("2024-02-29T12:00:01Z", "b", user_id="bob", status=429, usage=None),
            at("2024-02-29T12:00:02Z", "c", user_id="ann"),
        ]
        await fill(await configure(), events)
        for filters, wanted in (
            ({"user": "ann"}, ["c", "a"]),
            ({"user": ["ann", "bob"]}, ["c", "b", "a"]),
            ({"user": "ann", "usage_state": "missing"}, ["a"]),
            ({"missing_reason": "error_response"}, ["b"]),
            ({"status": "429"}, ["b"]),
            ({"stream": "true"}, ["a"]),
            ({"model": "x"}, []),
            ({"user": "' or 1 eq 1 or '"}, []),
        ):
            assert ids(await ask("calls", {**DAY, **filters})) == wanted

    async def test_a_call_is_shown_as_it_was_reported(self, configure: Configure) -> None:
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        await fill(await configure(), [at("2024-02-29T12:00:00Z", "a", usage=usage, user_id="ann", duration_ms=800)])
        (call,) = (await ask("calls", DAY)).json["calls"]
        assert (call["timestamp"], call["app"], call["user"]) == ("2024-02-29T12:00:00.000000Z", "app-1", "ann")
        assert (call["usage_state"], call["missing_reason"], call["failed"]) == ("reported", None, False)
        assert (call["usage"]["total_tokens"], call["usage"]["cached_prompt_tokens"]) == (15, None)

    @pytest.mark.parametrize(
        ("query", "code", "parameter"),
        [
            ("", "missing_parameter", "app"),
            ("app=", "invalid_parameter", "app"),
            ("app=a&app=b", "invalid_parameter", "app"),
            ("app=a&form=x", "unknown_parameter", "form"),
            ("app=a&limit=1001", "invalid_parameter", "limit"),
            ("app=a&cursor=x", "invalid_cursor", "cursor"),
            ("app=a&from=2024-01-01T00:00:00Z&to=2024-03-01T00:00:00Z", "range_too_long", "from"),
            ("app=a&from=2014-01-01T00:00:00Z&to=2014-01-02T00:00:00Z", "calls_not_kept", "from"),
            ("app=a&from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", "invalid_range", "from"),
        ],
    )
    async def test_a_mistake_is_a_400_in_the_one_shape(
        self, configure: Configure, query: str, code: str, parameter: str
    ) -> None:
        await configure()
        reply = await ask("calls", query)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, code, parameter)

    async def test_a_cursor_does_not_open_another_apps_calls(self, configure: Configure) -> None:
        events = [at(f"2024-02-29T12:00:0{number}Z", f"c-{number}") for number in range(3)]
        await fill(await configure(), events)
        cursor = (await ask("calls", {**DAY, "limit": "1"})).json["next_cursor"]
        reply = await ask("calls", {**DAY, "app": "app-2", "limit": "1", "cursor": cursor})
        assert reply.error["code"] == "invalid_cursor"

    async def test_a_day_with_more_calls_than_the_bound_is_answered_by_parts(
        self, configure: Configure, azurite: Azurite
    ) -> None:
        tables = environment(azurite)["TABLE_PREFIX"]
        start = datetime(2024, 2, 29, tzinfo=UTC)
        events = [at((start + timedelta(minutes=number)).isoformat(), f"c-{number}") for number in range(150)]
        await fill(await configure(TABLE_PREFIX=tables), events)
        await configure(TABLE_PREFIX=tables, QUERY_MAX_CALLS="100")
        reply = await ask("calls", DAY)
        assert (reply.status, reply.error["code"]) == (400, "too_much_to_read")
        assert "100 calls" in reply.error["message"]
        assert len(ids(await ask("calls", {**DAY, "to": "2024-02-29T01:30:00Z"}))) == 90


class TestOne:
    async def test_all_that_is_known_of_a_call_and_why(self, configure: Configure) -> None:
        call = str(uuid4())
        await fill(await configure(), [at("2024-02-29T12:34:56Z", call, usage=None, stream=True)])
        for asked in (call, call.upper(), f"{{{call}}}"):
            (found,) = (await one(asked, DAY)).json["calls"]
            assert (found["request_id"], found["counted"], found["moved_to"]) == (call, True, None)
            assert found["counted_in"] == {
                "hour": "2024-02-29T12:00:00.000000Z",
                "day": "2024-02-29",
                "month": "2024-02",
                "dimensions": {"deployment": "chat", "product": "gold", "stream": "true", "status": "200"},
            }
            assert found["origin"]["hub"] == "usage-events"
            assert any("Entra" in reason for reason in found["why"])
            assert any("include_usage" in reason for reason in found["why"])

    @pytest.mark.parametrize("name", ["a/b", "a?b=c&app=x", "a#b", "50%25", "é日", "'; drop", "..", "a|b"])
    async def test_any_senders_id_is_found_without_naming_its_app(self, configure: Configure, name: str) -> None:
        now = datetime.now(UTC).isoformat()
        await fill(await configure(), [at(now, name, app_id="=app"), at(now, "other", app_id="app-2")])
        (found,) = (await one(name)).json["calls"]
        assert (found["request_id"], found["app"]) == (name, "=app")
        # The real host gives the path decoded in the URL, and a slash encoded in the route.
        url, route = f"https://usage.example.net/api/calls/{name}?app=%3Dapp", {"request_id": name.replace("/", "%2F")}
        response = await answer("call", url, {}, route=route)
        assert json.loads(response.body)["calls"] == [found]

    async def test_calls_that_share_an_id_are_all_shown(self, configure: Configure) -> None:
        events = [at("2024-02-28T12:00:00Z", "1"), at("2024-02-29T12:00:00Z", "1")]
        await fill(await configure(), events)
        assert [call["timestamp"][:10] for call in (await one("1", DAYS)).json["calls"]] == ["2024-02-29", "2024-02-28"]

    async def test_one_that_is_not_there_is_a_404_that_says_where_it_was_sought(self, configure: Configure) -> None:
        await configure()
        reply = await one("nobody", DAY)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (404, "not_found", "request_id")
        assert "2024-02-29" in reply.error["message"]
        assert "nobody" not in reply.error["message"]

    async def test_more_places_than_the_bound_are_refused(self, configure: Configure, azurite: Azurite) -> None:
        tables = environment(azurite)["TABLE_PREFIX"]
        events = [at("2024-02-29T12:00:00Z", "1", app_id=f"app-{number}") for number in range(12)]
        await fill(await configure(TABLE_PREFIX=tables), events)
        await configure(TABLE_PREFIX=tables, QUERY_MAX_REQUESTS="100")
        range_ = {name: DAYS[name] for name in ("from", "to")}
        reply = await one("1", range_)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "too_much_to_read", "app")
        assert "the most is 100" in reply.error["message"]
        assert len((await one("1", {**range_, "app": "app-3"})).json["calls"]) == 1

    async def test_a_call_that_waits_and_one_that_moved_say_so(self, configure: Configure) -> None:
        """Counted for nobody when only the log was known, then moved to the app that the policy named."""
        found: Services = await configure(GATEWAY_LOGS_HUB="gateway-logs")
        call, now = str(uuid4()), datetime.now(UTC)
        log = {
            "time": now.isoformat().replace("+00:00", "Z"),
            "category": "GatewayLlmLogs",
            "correlationId": call,
            "properties": {"correlationId": call, "promptTokens": 10, "completionTokens": 5, "totalTokens": 15},
        }
        await ingest([raw_event(log, hub="gateway-logs", enqueued=now)], found)
        waiting = (await one(call)).json
        assert (waiting["calls"], waiting["waiting"]["usage"]["total_tokens"]) == ([], 15)

        await settle(found, now=lambda: now + timedelta(hours=2))
        (counted,) = (await one(call)).json["calls"]
        assert (counted["app"], counted["counted"]) == ("unattributed", True)

        event = usage_event(request_id=call, timestamp=now.isoformat(), usage=None, usage_source="gateway_log")
        await ingest([raw_event(event, enqueued=now)], found)
        shown = {each["app"]: each for each in (await one(call)).json["calls"]}
        assert (shown["unattributed"]["counted"], shown["unattributed"]["counted_in"]) == (False, None)
        assert shown["unattributed"]["moved_to"]["app"] == "app-1"
        assert (shown["app-1"]["counted"], shown["app-1"]["usage"]["total_tokens"]) == (True, 15)
        assert ids(await ask("calls", {"app": "unattributed"})) == []
        assert ids(await ask("calls", {"app": "app-1"})) == [call]


async def test_a_call_whose_app_was_forgotten_says_so_and_nothing_else(configure: Configure) -> None:
    found = await configure()
    now = datetime.now(UTC)
    event = usage_event(request_id="gone", app_id="app-9", user_id="ann", timestamp=now.isoformat())
    await ingest([raw_event(event, enqueued=now)], found, now=lambda: now)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    await forget_in(found.usage, f"app-9|{now:%Y%m}", Whom(app="app-9"), start, True)
    assert (await ask("calls", "app=app-9")).json["calls"] == []
    assert (await ask("usage", "app=app-9")).json["totals"]["calls"] == 0
    reply = await ask_one("call", "calls", "request_id", "gone")
    [call] = reply.json["calls"]
    assert (call["counted"], call["moved_to"], call["user"], call["model"]) == (False, None, None, None)
    assert "data was deleted" in call["why"][0]
    assert "ann" not in reply.text
