"""PUT /api/apps/{app} and /api/models/{deployment}: what is entered holds for history, and nobody's change is lost."""

import asyncio
from typing import Any

import pytest

from tests.api.asked import Reply, ask, ask_one
from tests.api.conftest import Configure
from tests.queries.filled import fill
from tests.support.events import usage_event

DAY = {"from": "2024-02-29T00:00:00Z", "to": "2024-03-01T00:00:00Z", "granularity": "day"}


async def app(name: str, body: object = None, **headers: str) -> Reply:
    method = "GET" if body is None else "PUT"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask_one("app_entry", "apps", "app", name, method=method, body=body, headers=named)


async def model(deployment: str, body: object = None) -> Reply:
    method = "GET" if body is None else "PUT"
    return await ask_one("model_entry", "models", "deployment", deployment, method=method, body=body)


def by(reply: Reply, name: str) -> dict[Any, int]:
    assert reply.status == 200, reply
    return {row[name]: row["calls"] for row in reply.json["rows"]}


class TestEntries:
    @pytest.mark.parametrize("name", ["search", "=cmd/\\#?%'", "Zürich-日本", "a b"])
    async def test_an_entry_is_read_as_it_was_written(self, configure: Configure, name: str) -> None:
        await configure()
        assert (await app(name)).error["code"] == "not_found"
        entry = {"display_name": "Search", "owner": "ann@example.com", "cost_center": None}
        made = await app(name, entry)
        assert (made.status, made.json) == (201, {"app": name, **entry, "readers": []})
        again = await app(name, {"display_name": "Search 2"})
        assert (again.status, again.json["display_name"], again.json["owner"]) == (200, "Search 2", None)
        read = await app(name)
        assert (read.json, read.headers["ETag"]) == (again.json, again.headers["ETag"])
        (listed,) = (await ask("apps")).json["apps"]
        assert (listed["app"], listed["months"], listed["etag"]) == (name, [], read.headers["ETag"])

    async def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(self, configure: Configure) -> None:
        await configure()
        assert (await app("a", {"owner": "x"}, If_Match="*")).status == 412
        first = (await app("a", {"owner": "ann"}, If_None_Match="*")).headers["ETag"]
        assert (await app("a", {"owner": "bob"}, If_None_Match="*")).error["code"] == "precondition_failed"
        assert (await app("a", {"owner": "bob"}, If_Match=f'"other", {first}')).status == 200
        late = await app("a", {"owner": "cid"}, If_Match=first)
        assert (late.status, late.error["parameter"]) == (412, "If-Match")
        assert (await app("a")).json["owner"] == "bob"

    async def test_of_many_who_change_the_same_entry_one_comes_through(self, configure: Configure) -> None:
        await configure()
        tag = (await app("a", {"owner": "nobody"})).headers["ETag"]
        replies = await asyncio.gather(*(app("a", {"owner": f"{number}"}, If_Match=tag) for number in range(8)))
        assert sorted(reply.status for reply in replies) == [200] + [412] * 7

    @pytest.mark.parametrize(
        ("body", "parameter", "told"),
        [
            ({"owners": "x"}, "owners", "did you mean owner?"),
            ({"zzz": 1}, "zzz", "known are display_name, owner, cost_center, readers"),
            ({"owner": 1}, "owner", "string"),
            ({"owner": ""}, "owner", "at least 1"),
            ({"owner": "x" * 257}, "owner", "at most 256"),
            ([], None, "no JSON object"),
            (b"", None, "no JSON object"),
            (b"{", None, "no JSON object"),
            (b'{"owner": "a", "owner": "b"}', "owner", "twice"),
        ],
    )
    async def test_a_body_that_is_none_is_refused(
        self, configure: Configure, body: object, parameter: str | None, told: str
    ) -> None:
        await configure()
        reply = await ask_one("app_entry", "apps", "app", "a", method="PUT", body=body)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "invalid_body", parameter)
        assert told in reply.error["message"]

    async def test_bounds(self, configure: Configure) -> None:
        await configure()
        assert (await app("é" * 600, {"owner": "x"})).error["parameter"] == "app"
        assert (await app("a", b"x" * 70_000)).status == 413
        reply = await ask_one("app_entry", "apps", "app", "a", "owner=x")
        assert reply.error["code"] == "unknown_parameter"


async def test_an_alias_names_the_model_of_calls_that_named_none_and_its_correction_corrects_history(
    configure: Configure,
) -> None:
    calls = [("chat", None), ("chat", None), ("chat", "gpt-5"), ("other", None)]
    events = [
        usage_event(timestamp="2024-02-29T12:00:00Z", deployment=deployment, response_model=name)
        for deployment, name in calls
    ]
    await fill(await configure(), [(event, "0") for event in events])
    by_model = {**DAY, "group_by": "model"}
    assert by(await ask("usage", by_model), "model") == {None: 3, "gpt-5": 1}
    for name in ("gpt-4o", "gpt-5"):
        assert (await model("chat", {"model": name})).status in (200, 201)
        shown = by(await ask("usage", by_model), "model")
        assert shown == ({None: 1, "gpt-4o": 2, "gpt-5": 1} if name == "gpt-4o" else {None: 1, "gpt-5": 3})
    assert by(await ask("usage", {**by_model, "model": "gpt-5"}), "model") == {"gpt-5": 3}
    assert by(await ask("usage", {**by_model, "group_by": "model,user"}), "model") == {None: 1, "gpt-5": 3}
    listed = await ask("calls", {"app": "app-1", "from": DAY["from"], "to": DAY["to"], "model": "gpt-5"})
    assert len(listed.json["calls"]) == 3
    models = (await ask("models", {"from": DAY["from"], "to": DAY["to"]})).json
    assert models["models"] == [{"model": None, "deployments": ["other"]}, {"model": "gpt-5", "deployments": ["chat"]}]
    assert [(alias["deployment"], alias["model"]) for alias in models["aliases"]] == [("chat", "gpt-5")]
    await model("chat", {"model": None})
    assert by(await ask("usage", by_model), "model") == {None: 3, "gpt-5": 1}


async def test_calls_summed_up_without_their_deployment_are_counted_as_such(configure: Configure) -> None:
    """No alias can be applied to them, and every answer says so: their cost depends on it too."""
    found = await configure(AGGREGATE_DIMENSIONS="product")
    await fill(found, [(usage_event(timestamp="2024-02-29T12:00:00Z", response_model=None), "0")])
    assert (await ask("usage", DAY)).json["not_aggregated"] == {}
    await model("chat", {"model": "gpt-4o"})
    assert (await ask("usage", DAY)).json["not_aggregated"] == {"deployment": 1}
    assert (await ask("usage", {**DAY, "group_by": "product"})).json["not_aggregated"] == {"deployment": 1}


async def test_usage_rolls_up_by_cost_center(configure: Configure) -> None:
    """Apps without one stand under null; a filter reads the apps of its cost centres only."""
    events = [(usage_event(app_id=name, timestamp="2024-02-29T12:00:00Z"), "0") for name in ("a", "b", "c", "c", "d")]
    await fill(await configure(), events)
    for name, center in (("a", "4711"), ("b", "4711"), ("c", "+49")):
        await app(name, {"cost_center": center})
    by_center = {**DAY, "group_by": "cost_center"}
    assert by(await ask("usage", by_center), "cost_center") == {None: 1, "+49": 2, "4711": 2}
    assert by(await ask("usage", {**DAY, "group_by": "app", "cost_center": "4711"}), "app") == {"a": 1, "b": 1}
    assert by(await ask("usage", {**by_center, "cost_center": ["4711", "+49"], "app": ["a", "c"]}), "cost_center") == {
        "+49": 2,
        "4711": 1,
    }
    assert by(await ask("usage", {**by_center, "cost_center": "none"}), "cost_center") == {}
    in_csv = (await ask("usage", {**by_center, "format": "csv"})).csv
    assert [row["cost_center"] for row in in_csv] == ["", "'+49", "4711"]
    await app("d", {"cost_center": "4711"})
    assert by(await ask("usage", by_center), "cost_center") == {"+49": 2, "4711": 3}
