"""Whoever may see some apps gets the answers that a ledger of these apps alone would give: to the letter."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import services
from models.caller import ADMIN, READ_ALL
from services import Services
from tests.api.asked import Reply, ask, ask_one, send
from tests.api.conftest import Configure
from tests.api.reference import HOUR, MadeCall, Tokens, utc
from tests.queries.filled import fill
from tests.support.principals import SIGN_IN, signed_in

APPS = ("00000000-0000-4000-8000-000000000001", "=cmd|' /C calc'!A1", "' or PartitionKey ne '", "b|202402", "")
"""The caller's own; and others that it may be granted. One is no app."""
CALLER = signed_in(app=APPS[0])
ADMINISTRATOR, EVERYTHING = signed_in(ADMIN), signed_in(READ_ALL)
FIRST = utc(2024, 1, 31)
RANGE = {"from": "2024-01-31T00:00:00Z", "to": "2024-03-02T00:00:00Z"}
CENTERS = {app: ("4711", "4712")[number % 2] for number, app in enumerate(APPS[:4])}
DEPLOYMENTS = ("chat", "+x", None)
OWN_PRICE = {
    "model": "claude*",
    "valid_from": "2024-02-01T00:00:00Z",
    "per_million": {"prompt_tokens": "3", "completion_tokens": "15"},
}
"""Of a model that the catalogue does not know by its name."""

made_calls = st.builds(
    MadeCall,
    app=st.sampled_from(APPS[:4]),
    model=st.sampled_from(["gpt-4o-2024-08-06", "claude-made-up", None]),
    deployment=st.sampled_from(DEPLOYMENTS),
    product=st.sampled_from([None, "gold"]),
    stream=st.sampled_from([None, True]),
    status=st.sampled_from([200, 429]),
    time=st.integers(0, 47).map(lambda hours: FIRST + hours * HOUR + timedelta(minutes=7)),
    partition=st.sampled_from("01"),
    tokens=st.none() | st.builds(Tokens, *[st.integers(0, 10**6)] * 3, st.none() | st.integers(0, 9), st.none()),
    duration_ms=st.none() | st.sampled_from([10.0, 333.3]),
)
Question = tuple[str, Mapping[str, str | list[str]]]

SECONDS = {"start_time": str(int(FIRST.timestamp())), "end_time": str(int((FIRST + 96 * HOUR).timestamp()))}
OPENAI_PATHS = {
    "openai_completions": "v1/organization/usage/completions",
    "openai_embeddings": "v1/organization/usage/embeddings",
    "openai_costs": "v1/organization/costs",
}
OPENAI: list[Question] = [
    ("openai_completions", {**SECONDS, "limit": "2", "group_by": "model"}),
    ("openai_completions", {**SECONDS, "project_ids": list(APPS[:3]), "group_by": "project_id"}),
    ("openai_costs", {**SECONDS, "group_by": "project_id,line_item"}),
]


@st.composite
def usage_questions(draw: st.DrawFn) -> dict[str, str | list[str]]:
    """Groups, filters, orders, pages and formats; ranges on edges and within."""
    granularity = draw(st.sampled_from(["total", "month", "day", "hour"]))
    groups = draw(st.lists(st.sampled_from(["app", "model", "cost_center", "product", "deployment"]), unique=True))
    asked: dict[str, str | list[str]] = {**RANGE, "granularity": granularity, "group_by": ",".join(groups) or "none"}
    optional: dict[str, Any] = {
        "from": st.sampled_from(["2024-02-01T00:00:00Z", "2024-01-31T05:00:00Z"]),
        "app": st.lists(st.sampled_from([*APPS[:4], "nobody"]), min_size=1, max_size=3, unique=True),
        "model": st.sampled_from(["gpt-4o-2024-08-06", "claude-made-up"]),
        "cost_center": st.sampled_from(["4711", "4712"]),
        "product": st.just("gold"),
        "limit": st.sampled_from(["1", "3"]),
        "order_by": st.sampled_from(["-total_tokens", "-cost", "calls"]),
        "format": st.sampled_from(["csv", "ndjson"]),
        "tz": st.just("Europe/Berlin"),
    }
    for name in draw(st.lists(st.sampled_from(list(optional)), unique=True, max_size=4)):
        asked[name] = draw(optional[name])
    if granularity == "total" and draw(st.booleans()):
        asked["compare"] = "previous"
    if granularity != "hour" and draw(st.booleans()):
        asked["fill"] = "zero"
    return asked


async def enter(apps: set[str], readable: set[str], aliases: set[str | None], *, price: bool) -> None:
    """The entries of apps, those of `readable` with the caller among the readers; models of deployments; a price."""
    for app in apps:
        entry = {"cost_center": CENTERS[app], "readers": [APPS[0]] if app in readable else []}
        reply = await ask_one("app_entry", "apps", "app", app, method="PUT", body=entry, headers=ADMINISTRATOR)
        assert reply.status == 201, reply
    for name in aliases - {None}:
        body, part = {"model": f"model of {name}"}, str(name)
        await ask_one("model_entry", "models", "deployment", part, method="PUT", body=body, headers=ADMINISTRATOR)
    if price:
        await ask_one("price", "prices", "id", "own", method="PUT", body=OWN_PRICE, headers=ADMINISTRATOR)


async def pages(endpoint: str, parameters: Mapping[str, Any], headers: Mapping[str, str]) -> list[Any]:
    """The first pages, without what is each ledger's own: cursors, ETags, who else may read, and where events stood."""
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while len(found) < 3:
        query = urlencode({**parameters, **cursor}, doseq=True)
        reply = await send(endpoint, OPENAI_PATHS.get(endpoint, endpoint), query, headers=headers)
        found.append((reply.status, shown(reply)))
        following = reply.headers.get("X-Next-Cursor") or (
            reply.json.get("next_cursor") or reply.json.get("next_page")
            if reply.headers["Content-Type"] == "application/json"
            else None
        )
        if not following:
            break
        cursor = {"page" if endpoint in OPENAI_PATHS else "cursor": following}
    return found


def shown(reply: Reply) -> Any:
    if reply.headers["Content-Type"] != "application/json":
        return reply.text
    hidden = {"next_cursor", "next_page", "etag", "readers", "origin", "position", "edited_at"}
    return json.loads(reply.text, object_hook=lambda value: {k: v for k, v in value.items() if k not in hidden})


@settings(
    max_examples=4,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    calls=st.lists(made_calls, min_size=1, max_size=8),
    granted=st.sets(st.sampled_from(APPS[1:4])),
    questions=st.lists(usage_questions(), min_size=4, max_size=4),
)
async def test_the_answer_is_that_of_a_ledger_of_the_callers_apps_alone(
    configure: Configure, calls: list[MadeCall], granted: set[str], questions: list[dict[str, str | list[str]]]
) -> None:
    allowed = {APPS[0], *granted}
    events = [(call.event() | {"request_id": f"c-{number}"}, call) for number, call in enumerate(calls)]
    asked: list[Question] = [("usage", question) for question in questions]
    asked += [("apps", RANGE), ("models", RANGE), ("prices", RANGE), ("prices", {**RANGE, "missing": "1"})]
    asked += [("prices", {**RANGE, "model": "gpt-4o-2024-08-06"})]
    asked += [("usage", {**RANGE, "granularity": "day", "format": "focus"}), *OPENAI]
    asked += [("calls", {**RANGE, "to": "2024-02-03T00:00:00Z", "app": app, "limit": "2"}) for app in APPS[:4]]

    async def answers(headers: Mapping[str, str]) -> list[Any]:
        replies = await asyncio.gather(*(pages(endpoint, parameters, headers) for endpoint, parameters in asked))
        for number, call in enumerate(calls):
            hour = {"from": call.time.isoformat(), "to": (call.time + HOUR).isoformat()}
            found = await ask_one("call", "calls", "request_id", f"c-{number}", hour, headers=headers)
            replies.append([(found.status, shown(found))])
        return replies

    tables = await configure(**SIGN_IN)
    await fill(tables, [(event, call.partition) for event, call in events])
    await enter(set(CENTERS), granted, set(DEPLOYMENTS), price=True)
    limited = await answers(CALLER)
    await configure(**SIGN_IN)
    own = [(event, call) for event, call in events if call.app in allowed]
    await fill(services.get(), [(event, call.partition) for event, call in own])
    priced = any(call.model == "claude-made-up" for _, call in own)
    await enter(allowed, set(), {call.deployment for _, call in own}, price=priced)
    alone = await answers(EVERYTHING)
    for question, got, wanted in zip([*asked, *(("call", {}) for _ in calls)], limited, alone, strict=True):
        assert got == wanted, question
        assert got[0][0] == 200 or question in [("usage", asked) for asked in questions] or question[0] == "call", got


async def filled(configure: Configure, apps: Mapping[str, int], readable: set[str]) -> Services:
    found = await configure(**SIGN_IN)
    call = MadeCall("", "gpt-4o-2024-08-06", "chat", None, None, 200, FIRST, "0", Tokens(1, 1, 2, None, None), None)
    made = [call.event() | {"app_id": app} for app, times in apps.items() for _ in range(times)]
    await fill(found, [(event, "0") for event in made])
    await enter(set(apps), readable, set(), price=False)
    return found


class TestCursors:
    async def test_a_cursor_opens_nothing_more_for_anybody_else(self, configure: Configure) -> None:
        """Neither that of one who sees everything for a plain caller, nor the other way round."""
        await filled(configure, dict.fromkeys(APPS[:4], 3), set(APPS[1:2]))
        other = signed_in(app=APPS[3])
        for endpoint, question in (
            ("usage", {**RANGE, "group_by": "app", "limit": "1"}),
            ("calls", {**RANGE, "app": APPS[0], "limit": "1"}),
        ):
            cursors = {}
            for name, headers in (("own", CALLER), ("all", EVERYTHING)):
                cursors[name] = (await ask(endpoint, question, headers)).json["next_cursor"]
                assert cursors[name]
            for cursor, headers in (("own", EVERYTHING), ("own", other), ("all", CALLER), ("all", other)):
                reply = await ask(endpoint, {**question, "cursor": cursors[cursor]}, headers)
                assert (reply.status, reply.error["code"]) == (400, "invalid_cursor"), (endpoint, cursor)
            for cursor, headers in (("own", CALLER), ("all", EVERYTHING), ("all", ADMINISTRATOR)):
                assert (await ask(endpoint, {**question, "cursor": cursors[cursor]}, headers)).status == 200

    async def test_what_may_be_seen_is_found_out_for_every_page(self, configure: Configure) -> None:
        """A grant does not end an export, and what was taken away is not in its next page."""
        await filled(configure, dict.fromkeys(sorted(APPS[:4]), 3), set())
        question = {**RANGE, "group_by": "app,model", "granularity": "day", "limit": "1", "format": "ndjson"}

        async def apps_of_pages(readable: list[str]) -> list[str]:
            """The first page is asked with these granted, those after it with the others."""
            found: list[str] = []
            cursor: dict[str, str] = {}
            for number in range(5):
                for app in APPS[1:4] if number < 2 else ():
                    body = {"readers": [APPS[0]] if (app in readable) == (number == 0) else []}
                    await ask_one("app_entry", "apps", "app", app, method="PUT", body=body, headers=ADMINISTRATOR)
                reply = await ask("usage", {**question, **cursor}, CALLER)
                assert reply.status == 200, reply
                found += [json.loads(line)["app"] for line in reply.text.splitlines()]
                if "X-Next-Cursor" not in reply.headers:
                    return found
                cursor = {"cursor": reply.headers["X-Next-Cursor"]}
            raise AssertionError(found)

        first, *others = sorted(APPS[:4])
        assert await apps_of_pages([APPS[1]]) == [APPS[0], APPS[3]]
        assert await apps_of_pages([first]) == [first, *others]

    async def test_an_edited_cursor_is_refused_whoever_sends_it(self, configure: Configure) -> None:
        await filled(configure, dict.fromkeys(APPS[:2], 3), set())
        question = {**RANGE, "app": APPS[0], "limit": "1"}
        cursor = (await ask("calls", question, CALLER)).json["next_cursor"]
        for edited in (cursor[:-1], cursor + "A", "A" + cursor[1:], cursor[:30] + "B" + cursor[31:], cursor.swapcase()):
            assert (await ask("calls", {**question, "cursor": edited}, CALLER)).error["code"] == "invalid_cursor"
        moved = {**question, "app": APPS[1], "cursor": cursor}
        for headers in (CALLER, EVERYTHING):
            assert (await ask("calls", moved, headers)).error["code"] == "invalid_cursor"


HOSTILE = (
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2",
    "@SUM(A1:A9)",
    "＝1",
    "' or PartitionKey ne '",
    "x' or true or 'x' eq 'x",
    "app|202401",
    "app-1|202401",
    "~",
    "~~",
    "%27%20or%201%20eq%201",
    "../../apps",
    "<script>alert(1)</script>",
    'a"b,c\r\nd',
    "@first",
    "\u0000",
    "\U0001f600",
)


class TestHostileNames:
    async def test_a_name_is_only_ever_itself(self, configure: Configure) -> None:
        """Whatever an app is called, asking for it finds its own calls: nobody's else, in no format, by no endpoint."""
        apps = {name: number for number, name in enumerate(HOSTILE, 1)}
        await filled_with(configure, apps)
        for name, number in apps.items():
            question = {**RANGE, "app": name, "granularity": "total", "group_by": "app"}
            rows = (await ask("usage", question, EVERYTHING)).json["rows"]
            assert [(row["app"], row["calls"]) for row in rows] == [(name, number)]
            listed = (await ask("calls", {**RANGE, "app": name}, EVERYTHING)).json["calls"]
            assert [call["app"] for call in listed] == [name] * number
        in_csv = await ask("usage", {**RANGE, "granularity": "total", "group_by": "app", "format": "csv"}, EVERYTHING)
        cells = {row["app"]: int(row["calls"]) for row in in_csv.csv}
        assert sum(cells.values()) == sum(apps.values())
        assert len(cells) == len(apps)
        assert [cell for cell in cells if cell[:1] in set("=+-@\t\r\n＝＋－＠")] == []

    async def test_it_opens_nothing_to_who_may_see_another(self, configure: Configure) -> None:
        await filled_with(configure, {APPS[0]: 2, "b": 3})
        for name in (*HOSTILE, f"{APPS[0]}' or PartitionKey ne 'x", f"{APPS[0]}|202401", f"{APPS[0]},b", "b"):
            for names in (name, [APPS[0], name]):
                question = {**RANGE, "app": names, "granularity": "total", "group_by": "app"}
                rows = (await ask("usage", question, CALLER)).json["rows"]
                assert [(row["app"], row["calls"]) for row in rows] == ([(APPS[0], 2)] if names != name else [])
            assert (await ask("calls", {**RANGE, "app": name}, CALLER)).json["calls"] == []
            assert (await ask_one("call", "calls", "request_id", name, RANGE, headers=CALLER)).status == 404
            assert (await ask_one("app_entry", "apps", "app", name, headers=CALLER)).status == 404


async def filled_with(configure: Configure, apps: Mapping[str, int]) -> None:
    found = await configure(**SIGN_IN)
    call = MadeCall("", "gpt-4o-2024-08-06", "chat", None, None, 200, FIRST, "0", None, None)
    await fill(found, [(call.event() | {"app_id": app}, "0") for app, times in apps.items() for _ in range(times)])
