"""Who may do what: role by endpoint, and what is refused says nothing of what there is."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from api import access, endpoints
from models.caller import ADMIN, READ_ALL, WRITE
from pipeline import ingest, settle
from services import Services
from tests.api.asked import Reply, ask, ask_one, send
from tests.api.conftest import Configure
from tests.models.test_caller import MALFORMED
from tests.queries.filled import fill
from tests.support.events import raw_event, usage_event
from tests.support.principals import HEADER, SIGN_IN, signed_in

OWN, OTHER, READER = (str(uuid4()) for _ in range(3))
NOON = "2024-02-29T12:00:00Z"
MONTH = "from=2024-02-01T00:00:00Z&to=2024-03-01T00:00:00Z"
SECONDS = "start_time=1709164800&end_time=1709251200"
"""The day of NOON."""
PRICE = {"model": "gpt-4o*", "per_million": {"prompt_tokens": "1", "completion_tokens": "2"}}
BUDGET = {"period": "month", "unit": "tokens", "limit": 10}

EVERYBODY = {
    "nobody": {},
    "plain": signed_in(ids=[str(uuid4())]),
    "own": signed_in(app=OWN),
    "reader": signed_in(ids=[READER.upper()]),
    "read all": signed_in(READ_ALL),
    "writer": signed_in(WRITE),
    "admin": signed_in(ADMIN),
}


class Row(NamedTuple):
    """A line of the table in docs/security.md: a request, and who is let in."""

    endpoint: str
    method: str
    path: str
    let_in: set[str]
    query: str = ""
    part: tuple[str, str] | None = None
    body: object = None


SIGNED_IN = EVERYBODY.keys() - {"nobody"}
SEEING_ALL = {"read all", "admin"}
ROWS = [
    Row("usage", "GET", "usage", SIGNED_IN, MONTH),
    Row("usage", "GET", "usage", SIGNED_IN, f"{MONTH}&format=csv&app={OTHER}"),
    *(
        Row("usage", "GET", "usage", SIGNED_IN, f"{MONTH}&limit=1&group_by=app,model,deployment&format={form}")
        for form in ("ndjson", "csv", "focus")
    ),
    Row("openai_completions", "GET", "v1/organization/usage/completions", SIGNED_IN, f"{SECONDS}&group_by=project_id"),
    Row("openai_completions", "GET", "v1/organization/usage/completions", SIGNED_IN, f"{SECONDS}&group_by=model"),
    Row("openai_embeddings", "GET", "v1/organization/usage/embeddings", SIGNED_IN, f"{SECONDS}&group_by=project_id"),
    Row("openai_costs", "GET", "v1/organization/costs", SIGNED_IN, f"{SECONDS}&group_by=line_item,project_id"),
    Row("calls", "GET", "calls", SIGNED_IN, f"{MONTH}&app={OTHER}"),
    Row("calls", "GET", "calls", SIGNED_IN, f"{MONTH}&app={OWN}&format=csv"),
    Row("call", "GET", "calls", SIGNED_IN, MONTH, ("request_id", "other-0")),
    Row("apps", "GET", "apps", SIGNED_IN, MONTH),
    Row("models", "GET", "models", SIGNED_IN, MONTH),
    Row("app_entry", "GET", "apps", SIGNED_IN, "", ("app", OTHER)),
    Row("app_entry", "PUT", "apps", {"admin"}, "", ("app", OTHER), {"owner": "me"}),
    Row("model_entry", "GET", "models", SEEING_ALL, "", ("deployment", "other-deployment")),
    Row("model_entry", "PUT", "models", {"admin"}, "", ("deployment", "x"), {"model": "y"}),
    Row("prices", "GET", "prices", SIGNED_IN, MONTH),
    Row("prices", "GET", "prices", SIGNED_IN, f"{MONTH}&missing=1"),
    Row("price", "GET", "prices", SEEING_ALL, "", ("id", "other-price")),
    Row("price", "PUT", "prices", {"admin"}, "", ("id", "new"), PRICE),
    Row("price", "DELETE", "prices", {"admin"}, "", ("id", "new")),
    Row("budgets", "GET", "budgets", SIGNED_IN),
    Row("budget", "GET", "budgets", SIGNED_IN, "", ("id", "other-budget")),
    Row("budget", "PUT", "budgets", {"admin"}, "", ("id", "new"), BUDGET),
    Row("budget", "DELETE", "budgets", {"admin"}, "", ("id", "new")),
    Row("budget_status", "GET", "budgets/status", SEEING_ALL, f"app={OTHER}"),
    Row("budget_status", "GET", "budgets/status", SEEING_ALL | {"own", "reader"}, f"app={OWN}"),
    Row("events", "POST", "events", {"writer", "admin"}, "", None, usage_event()),
    Row("dead_letters", "GET", "dead-letters", {"admin"}),
    Row("dead_letter", "GET", "dead-letters", {"admin"}, "", ("id", "usage-events:0:1:1:0")),
    Row("dead_letter", "DELETE", "dead-letters", {"admin"}, "", ("id", "usage-events:0:1:1:0")),
    Row("redrive", "POST", "dead-letters/redrive", {"admin"}, "", None, {"ids": ["usage-events:0:1:1:0"]}),
    Row("alerts", "GET", "alerts", SIGNED_IN),
    Row("alert_test", "POST", "alerts/test", {"admin"}, "", None, {"webhook": "https://nowhere.invalid/x"}),
    Row("alert_retry", "POST", "alerts/retry", {"admin"}, "", None, {"ids": ["budget/x/1/2026-11-01/80"]}),
    Row("metrics", "GET", "metrics", SEEING_ALL),
    Row("openapi", "GET", "openapi.json", set(EVERYBODY)),
    Row("docs", "GET", "docs", set(EVERYBODY)),
    Row("dashboard", "GET", "dashboard", set(EVERYBODY)),
    Row("dashboard_file", "GET", "dashboard", set(EVERYBODY), "", ("file", "app.js")),
    Row("health", "GET", "health", set(EVERYBODY)),
    Row("health", "GET", "health", SEEING_ALL, "deep=1"),
]


async def sent(row: Row, headers: Mapping[str, str]) -> Reply:
    route = {} if row.part is None else {row.part[0]: row.part[1]}
    path = "/".join([row.path, *route.values()])
    return await send(row.endpoint, path, row.query, method=row.method, route=route, body=row.body, headers=headers)


def events() -> list[tuple[dict[str, Any], str]]:
    def told(app: str, name: str, tokens: int, times: int) -> list[tuple[dict[str, Any], str]]:
        usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
        event = {"app_id": app, "timestamp": NOON, "usage": usage, "deployment": f"{name}-deployment"}
        models = ["gpt-4o-2024-08-06", f"{name}-model"]
        return [
            (usage_event(**event, request_id=f"{name}-{number}", response_model=models[number % 2]), "0")
            for number in range(times)
        ]

    return [*told(OWN, "own", 1, 2), *told(OTHER, "other", 7_000_007, 5)]


async def prepared(configure: Configure, **settings: str) -> Services:
    """Calls of two apps, with prices, aliases, and entries for both, and a dead letter."""
    found = await configure(**{"METRICS_BY_APP": "1", **settings})
    await fill(found, events())
    await ingest([raw_event(b"no json", sequence_number=9)], found)
    admin = signed_in(ADMIN)
    for app, name in ((OWN, "own"), (OTHER, "other")):
        entry = {"display_name": f"{name}-name", "cost_center": f"{name}-center", "readers": [READER] * (app == OWN)}
        assert (await ask_one("app_entry", "apps", "app", app, method="PUT", body=entry, headers=admin)).status == 201
        part, body = f"{name}-deployment", {"model": f"{name}-alias"}
        budget = {**BUDGET, "app": app, "webhook": f"https://example.com/{name}-secret"}
        await ask_one("budget", "budgets", "id", f"{name}-budget", method="PUT", body=budget, headers=admin)
        await ask_one("model_entry", "models", "deployment", part, method="PUT", body=body, headers=admin)
        price = {**PRICE, "scope": {"app": app}, "source": f"{name}-contract"}
        made = await ask_one("price", "prices", "id", f"{name}-price", method="PUT", body=price, headers=admin)
        assert made.status == 201, made
    await ask_one("price", "prices", "id", "for-all", method="PUT", body=PRICE, headers=admin)
    return found


def test_every_endpoint_has_a_rule_and_every_rule_a_row_here() -> None:
    """A new endpoint without a rule is refused; one without a row fails here."""
    assert set(endpoints.ENDPOINTS) == set(access.NEEDS)
    rules = {(endpoint, method) for endpoint, needs in access.NEEDS.items() for method in needs}
    assert rules == {(row.endpoint, row.method) for row in ROWS}


async def test_the_matrix(configure: Configure) -> None:
    """Everybody asks for everything: 401, 403, or in."""
    await prepared(configure, **SIGN_IN)
    for row in ROWS:
        for who, headers in EVERYBODY.items():
            reply = await sent(row, headers)
            got = {401: "who?", 403: "no"}.get(reply.status, "in")
            deep = row.endpoint == "health"
            wanted = "in" if who in row.let_in else "who?" if who == "nobody" else "no"
            assert got == wanted, (row, who, reply)
            if got == "who?":
                assert (reply.error["code"], reply.headers["WWW-Authenticate"]) == ("unauthenticated", "Bearer")
            elif got == "no":
                assert reply.error["code"] == "forbidden"
            elif reply.status >= 400 and not deep:
                assert reply.error["code"] in ("not_found", "misconfigured"), (row, who, reply)


LIMITED = ("plain", "own", "reader", "writer")


async def test_nobody_but_those_who_see_all_hears_of_others(configure: Configure) -> None:
    """Whatever is asked, of the other app no name and no number is in the answer."""
    await prepared(configure, **SIGN_IN)
    numbers = [str(7_000_007 * calls) for calls in range(1, 6)]
    for row in ROWS:
        if row.endpoint in ("openapi", "docs", "dashboard_file"):  # of no data, in whose words "other" is one
            continue
        for who in LIMITED:
            told = (await sent(row, EVERYBODY[who])).text.replace(f'"app": "{OTHER}"', "")  # which was asked for
            assert not [name for name in ("other", OTHER, *numbers) if name in told], (row, who, told)


async def test_what_may_not_be_seen_is_as_what_is_not_there(configure: Configure) -> None:
    """Another's app, call, deployment or price answers to the letter as one that nobody has."""
    await prepared(configure, **SIGN_IN)
    missing = str(uuid4())

    def unknown(text: str) -> str:
        return text.replace(OTHER, missing).replace("other-0", "other-9").replace("other-", "x-")

    for row in ROWS:
        part = None if row.part is None else (row.part[0], unknown(row.part[1]))
        for who in ("nobody", *LIMITED):
            reply = await sent(row, EVERYBODY[who])
            of_none = await sent(row._replace(part=part, query=unknown(row.query)), EVERYBODY[who])
            assert (reply.status, unknown(reply.text)) == (of_none.status, of_none.text), (row, who)
            assert list(reply.headers.keys()) == list(of_none.headers.keys()), (row, who)


class TestKeys:
    async def test_whoever_has_one_may_do_everything(self, configure: Configure) -> None:
        await prepared(configure)
        for row in ROWS:
            assert (await sent(row, {})).status not in (401, 403), row

    @pytest.mark.parametrize("marker", [{}, {"WEBSITE_AUTH_ENABLED": "True"}])
    async def test_the_header_is_ignored_since_anyone_can_send_it(
        self, configure: Configure, marker: dict[str, str]
    ) -> None:
        await prepared(configure, **marker)
        whole = await ask("usage", MONTH)
        assert whole.json["totals"]["calls"] == 7
        for forged in (signed_in(app=OWN), signed_in(), {HEADER: "no base64"}):
            assert (await ask("usage", MONTH, forged)).text == whole.text


class TestSignIn:
    @pytest.mark.parametrize("marker", ["", "false", "0", "1", "yes"])
    async def test_without_the_platforms_marker_nobody_is_answered(
        self, configure: Configure, caplog: pytest.LogCaptureFixture, marker: str
    ) -> None:
        """And the log names it; calls are counted all the same."""
        found = await configure(AUTHENTICATION="app_service", WEBSITE_AUTH_ENABLED=marker)
        await fill(found, events())
        with caplog.at_level(logging.ERROR, "usage_collector.api"):
            for row in ROWS:
                if access.NEEDS[row.endpoint][row.method] is access.Need.NOTHING:
                    continue
                for headers in EVERYBODY.values():
                    reply = await sent(row, headers)
                    assert (reply.status, reply.error["code"]) == (500, "misconfigured"), row
        assert "WEBSITE_AUTH_ENABLED is not true: expected App Service authentication" in caplog.text
        health = await ask("health", "", signed_in(ADMIN))
        assert (health.status, list(health.json["parts"])) == (503, ["settings"])

    async def test_a_malformed_principal_is_nobody(self, configure: Configure) -> None:
        await configure(**SIGN_IN)
        for header in MALFORMED:
            reply = await ask("usage", "", {HEADER: header})
            assert (reply.status, reply.error["code"]) == (401, "unauthenticated"), header
            assert header.strip() == "" or header not in reply.text
        assert (await ask("health", "", {HEADER: "no base64"})).status == 200

    async def test_the_headers_beside_it_count_for_nothing(self, configure: Configure) -> None:
        await configure(**SIGN_IN)
        beside = {f"{HEADER}-ID": "x", f"{HEADER}-NAME": "admin", f"{HEADER}-IDP": "aad", "x-functions-key": "k"}
        assert (await ask("usage", "code=k", beside)).status == 401

    async def test_an_unknown_authentication_is_a_fault_of_the_settings(self, configure: Configure) -> None:
        with pytest.raises(Exception, match="AUTHENTICATION is 'easy': expected one of function_key, app_service"):
            await configure(AUTHENTICATION="easy")

    async def test_roles_of_others_do_nothing(self, configure: Configure) -> None:
        await prepared(configure, **SIGN_IN)
        stranger = signed_in("Usage.Read", "usage.read.all", "Admin", "Global Administrator")
        assert (await ask("usage", MONTH, stranger)).json["totals"]["calls"] == 0
        assert (await ask("metrics", "", stranger)).status == 403


async def test_an_endpoint_without_a_rule_is_refused(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """To everyone, and the log says why."""
    await configure()
    monkeypatch.setitem(endpoints.ENDPOINTS, "new", endpoints.ENDPOINTS["usage"])
    assert (await endpoints.answer("new", "https://x/api/new", {})).status == 403
    assert (await endpoints.answer("usage", "https://x/api/usage", {}, method="PATCH")).status == 403


async def test_a_limited_caller_sees_all_of_its_own(configure: Configure) -> None:
    """What it used, the alias of its deployment, the prices that can apply to its calls; no numbers of the hub."""
    await prepared(configure, **SIGN_IN)
    for who in ("own", "reader"):
        headers = EVERYBODY[who]
        models = (await ask("models", MONTH, headers)).json
        assert [model["model"] for model in models["models"]] == ["gpt-4o-2024-08-06", "own-model"]
        assert [alias["deployment"] for alias in models["aliases"]] == ["own-deployment"]
        (app,) = (await ask("apps", MONTH, headers)).json["apps"]
        assert (app["app"], app["display_name"], app["months"]) == (OWN, "own-name", ["2024-02"])
        prices = (await ask("prices", MONTH, headers)).json
        assert {price["id"] for price in prices["own"]} == {"own-price", "for-all"}
        applying = [price["source"] for model in prices["models"] for price in model["prices"]]
        assert [source for source in applying if source.startswith("prices/")] == [
            "prices/own-price: own-contract",
            "prices/for-all",
        ]
        (call,) = (await ask_one("call", "calls", "request_id", "own-0", MONTH, headers=headers)).json["calls"]
        assert (call["app"], call["origin"], call["usage"]["prompt_tokens"]) == (OWN, None, 1)
    (call,) = (await ask_one("call", "calls", "request_id", "own-0", MONTH, headers=EVERYBODY["admin"])).json["calls"]
    assert call["origin"]["sequence_number"] == 0


async def test_a_price_shows_to_those_whose_calls_have_all_of_its_scope(configure: Configure) -> None:
    """Not if it is for a model that they did not use, nor for a deployment of another's."""
    await prepared(configure, **SIGN_IN)
    scopes = {
        "mine": ("gpt-4o*", {"deployment": "own-deployment"}),
        "theirs": ("gpt-4o*", {"deployment": "other-deployment"}),
        "both": ("gpt-4o*", {"app": OWN, "deployment": "other-deployment"}),
        "fine-tuned": ("other-model", {}),
    }
    for name, (model, scope) in scopes.items():
        body = {**PRICE, "model": model, "scope": scope}
        await ask_one("price", "prices", "id", name, method="PUT", body=body, headers=EVERYBODY["admin"])
    for asked in (MONTH, f"{MONTH}&model=gpt-4o-2024-08-06", f"{MONTH}&model=other-model"):
        shown = (await ask("prices", asked, EVERYBODY["own"])).json
        ids = {price["id"] for price in shown["own"]}
        assert ids == (set() if "other" in asked else {"mine", "own-price", "for-all"})
        sources = {price["source"].split(":")[0] for model in shown["models"] for price in model["prices"]}
        assert sources & {"prices/theirs", "prices/both", "prices/fine-tuned", "prices/other-price"} == set()
    everything = (await ask("prices", MONTH, EVERYBODY["read all"])).json
    assert {price["id"] for price in everything["own"]} == {*scopes, "own-price", "other-price", "for-all"}


async def test_a_call_that_waits_or_moved_tells_nothing_of_another(configure: Configure) -> None:
    """Of who it waits for, or where it went to, only those hear who may see it there."""
    found = await configure(GATEWAY_LOGS_HUB="gateway-logs", **SIGN_IN)
    now, (own, other) = datetime.now(UTC), (signed_in(app=OWN), signed_in(app=OTHER))
    half = usage_event(request_id="c", app_id=OWN, usage=None, usage_source="gateway_log", timestamp=now.isoformat())
    await ingest([raw_event(half, enqueued=now)], found)
    assert (await ask_one("call", "calls", "request_id", "c", headers=own)).json["waiting"]["app"] == OWN
    assert (await ask_one("call", "calls", "request_id", "c", headers=other)).status == 404

    grants = {"readers": [OTHER]}
    for app in ("unattributed", OTHER):
        await ask_one("app_entry", "apps", "app", app, method="PUT", body=grants, headers=EVERYBODY["admin"])
    log = {"time": now.isoformat().replace("+00:00", "Z"), "category": "GatewayLlmLogs", "correlationId": "d"}
    usage = {"correlationId": "d", "promptTokens": 10, "completionTokens": 5, "totalTokens": 15}
    await ingest([raw_event({**log, "properties": usage}, hub="gateway-logs", enqueued=now)], found)
    await settle(found, now=lambda: now + timedelta(hours=2))
    await ingest([raw_event({**half, "request_id": "d"}, sequence_number=1, enqueued=now)], found)
    (left,) = (await ask_one("call", "calls", "request_id", "d", headers=other)).json["calls"]
    assert (left["app"], left["counted"], left["moved_to"]) == ("unattributed", False, None)
    everywhere = (await ask_one("call", "calls", "request_id", "d", headers=EVERYBODY["admin"])).json["calls"]
    assert {call["app"]: call["moved_to"] and call["moved_to"]["app"] for call in everywhere} == {
        "unattributed": OWN,
        OWN: None,
    }
    assert (await ask("models", "", other)).json["models"] == []


async def test_a_grant_holds_until_it_is_taken_back(configure: Configure) -> None:
    await prepared(configure, **SIGN_IN)
    reader, admin = EVERYBODY["reader"], EVERYBODY["admin"]
    seen = await ask("usage", MONTH, reader)
    assert {row["app"] for row in seen.json["rows"]} == {OWN}
    assert (await ask("calls", f"{MONTH}&app={OWN}", reader)).json["calls"]
    assert (await ask_one("app_entry", "apps", "app", OWN, headers=reader)).json["readers"] == [READER]
    await ask_one("app_entry", "apps", "app", OWN, method="PUT", body={"display_name": "x"}, headers=admin)
    assert (await ask("usage", MONTH, reader)).json["totals"]["calls"] == 0
    assert (await ask_one("app_entry", "apps", "app", OWN, headers=reader)).status == 404


async def test_own_and_granted_apps_add_up(configure: Configure) -> None:
    await prepared(configure, **SIGN_IN)
    body = {"readers": [OWN.upper()]}
    await ask_one("app_entry", "apps", "app", OTHER, method="PUT", body=body, headers=EVERYBODY["admin"])
    seen = await ask("usage", f"{MONTH}&group_by=app", EVERYBODY["own"])
    assert {row["app"]: row["calls"] for row in seen.json["rows"]} == {OWN: 2, OTHER: 5}


@pytest.mark.parametrize(
    "readers",
    [["ann@example.com"], ["*"], [""], [1], "x", None, [OWN + "0"], [OWN[:-1]], [OWN] * 101, [f"{OWN} {OTHER}"]],
)
async def test_readers_are_ids(configure: Configure, readers: object) -> None:
    await configure()
    reply = await ask_one("app_entry", "apps", "app", "a", method="PUT", body={"readers": readers})
    assert (reply.status, reply.error["parameter"]) == (400, "readers")
    assert "ann@" not in reply.text
