"""/api/alerts: what was raised and what became of it, a test of a receiver, and another try; and who sees what."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

import alerts.send
from alerts.deliver import deliver
from budgets.entry import read_budget
from models.caller import READ_ALL
from services import Services
from tests.alerts.receiver import Receiver, receiving
from tests.api.asked import Reply, ask, ask_one, send
from tests.api.conftest import Configure
from tests.ledger.test_alerts import EVER, alert
from tests.support.events import NOON
from tests.support.principals import SIGN_IN, signed_in

PRIVATE = {"ALERT_WEBHOOK_ALLOW_PRIVATE": "1"}
BUDGET = {"app": "search", "model": "gpt-4o", "period": "month", "unit": "USD", "limit": "10"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def test_one(body: object) -> Reply:
    return await send("alert_test", "alerts/test", method="POST", body=body)


test_one.__test__ = False  # type: ignore[attr-defined]


async def retry(*ids: str) -> Reply:
    return await send("alert_retry", "alerts/retry", method="POST", body={"ids": list(ids)})


async def listed(**parameters: Any) -> list[dict[str, Any]]:
    reply = await ask("alerts", parameters)
    assert reply.status == 200, reply
    found: list[dict[str, Any]] = reply.json["alerts"]
    return found


def _same(moment: datetime) -> datetime:
    return moment


async def given_up(services: Services, number: int, webhook: str, **changes: Any) -> str:
    """An alert that failed; gives its id."""
    each = alert(number, webhook=webhook, **changes)
    if each.budget is not None:
        entry = read_budget({"period": "day", "unit": "tokens", "limit": 1000, "webhook": webhook}, allow_private=True)
        await services.budgets.edit(each.budget, lambda _: entry.model_dump(mode="json"), NOON)
    await services.alerts.raise_once(each)
    while (stored := await services.alerts.get(each.id)) and stored.delivery.next_attempt is not None:
        await deliver(services, now=partial(_same, stored.delivery.next_attempt))
    return each.id


class TestList:
    async def test_an_alert_is_shown_with_what_became_of_it(self, configure: Configure) -> None:
        found = await configure()
        await found.alerts.raise_once(alert(webhook="https://hooks.example.com/T0/secret?sig=secret"))
        assert await listed() == [
            {
                "id": "budget/b/1/2026-11-01/0",
                "kind": "budget",
                "raised": NOON.isoformat().replace("+00:00", "Z"),
                "summary": "a used an unknown amount of an unknown amount.",
                "app": "a",
                "cost_center": None,
                "model": None,
                "budget": "b",
                "period_start": None,
                "period_end": None,
                "threshold": 80,
                "unit": "tokens",
                "limit": None,
                "actual": None,
                "projected": None,
                "usual": None,
                "partly_priced": False,
                "state": "pending",
                "webhook": "https://hooks.example.com/…",
                "format": "cloudevents",
                "attempts": 0,
                "last_attempt": None,
                "next_attempt": NOON.isoformat().replace("+00:00", "Z"),
                "answer": None,
            }
        ]

    async def test_pages_filters_and_times(self, configure: Configure) -> None:
        found = await configure()
        for number in range(5):
            budget = "odd" if number % 2 else "even"
            await found.alerts.raise_once(alert(number, app=f"app-{number}", budget=budget, webhook=None))
        pages = []
        parameters: dict[str, Any] = {"limit": "2"}
        while True:
            reply = await ask("alerts", parameters)
            pages.append([each["app"] for each in reply.json["alerts"]])
            assert reply.headers.get("X-Next-Cursor") == reply.json["next_cursor"]
            if reply.json["next_cursor"] is None:
                break
            parameters["cursor"] = reply.json["next_cursor"]
        assert pages == [["app-4", "app-3"], ["app-2", "app-1"], ["app-0"]]
        assert [each["app"] for each in await listed(budget="odd")] == ["app-3", "app-1"]
        assert [each["app"] for each in await listed(app=["app-1", "app-4"])] == ["app-4", "app-1"]
        assert await listed(state=["failed", "delivered"]) == []
        assert len(await listed(kind="budget", state="pending")) == 5
        range_of = {name: (NOON + timedelta(seconds=at)).isoformat() for name, at in (("from", 1), ("to", 3))}
        assert [each["app"] for each in await listed(**range_of)] == ["app-2", "app-1"]

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ("kind=other", "kind"),
            ("state=lost", "state"),
            ("app=", "app"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
            ("from=yesterday", "from"),
            ("cursor=x", "cursor"),
            ("budjet=x", "budjet"),
        ],
    )
    async def test_what_cannot_be_asked(self, configure: Configure, query: str, parameter: str) -> None:
        await configure()
        reply = await ask("alerts", query)
        assert (reply.status, reply.error["parameter"]) == (400, parameter)

    async def test_a_cursor_is_of_its_question_and_its_caller(self, configure: Configure) -> None:
        found = await configure(**SIGN_IN)
        for number in range(3):
            await found.alerts.raise_once(alert(number, app="own"))
        everything, own = signed_in(READ_ALL), signed_in(app="own")
        cursor = (await ask("alerts", {"limit": "1"}, everything)).json["next_cursor"]
        assert (await ask("alerts", {"limit": "1", "cursor": cursor}, everything)).status == 200
        assert (await ask("alerts", {"limit": "1", "cursor": cursor, "app": "own"}, everything)).status == 400
        assert (await ask("alerts", {"limit": "1", "cursor": cursor}, own)).status == 400

    async def test_a_caller_sees_the_alerts_of_its_apps_and_nothing_of_receivers(self, configure: Configure) -> None:
        found = await configure(**SIGN_IN)
        await found.alerts.raise_once(alert(0, app="own"))
        await found.alerts.raise_once(alert(1, app="other"))
        await found.alerts.raise_once(alert(2, app=None, budget="all"))
        await found.alerts.raise_once(alert(3, app=None, cost_center="4711"))
        [seen] = (await ask("alerts", "", signed_in(app="own"))).json["alerts"]
        assert (seen["app"], seen["webhook"], seen["format"], seen["answer"]) == ("own", None, None, None)
        assert (await ask("alerts", "app=other", signed_in(app="own"))).json["alerts"] == []
        assert len((await ask("alerts", "", signed_in(READ_ALL))).json["alerts"]) == 4


class TestTest:
    async def test_it_is_sent_at_once_and_the_answer_is_told(self, configure: Configure, receiver: Receiver) -> None:
        await configure(**PRIVATE)
        receiver.says(201, "made\n<b>")
        reply = await test_one({"webhook": receiver.url})
        assert reply.status == 200
        assert (reply.json["delivered"], reply.json["signed"]) == (True, False)
        answer = reply.json["answer"]
        assert (answer["status"], answer["fault"], answer["text"]) == (201, None, "made <b>")
        [got] = receiver.got
        assert got.headers["content-type"].startswith("application/cloudevents+json")
        assert await listed(kind="test") == [reply.json["alert"]]
        assert "secret" not in reply.text

    @pytest.mark.parametrize("form", ["teams", "slack"])
    async def test_in_each_form(self, configure: Configure, receiver: Receiver, form: str) -> None:
        await configure(**PRIVATE)
        reply = await test_one({"webhook": receiver.url, "format": form})
        assert (reply.json["delivered"], reply.json["alert"]["format"]) == (True, form)

    async def test_a_receiver_that_does_not_take_it(
        self, configure: Configure, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = await configure(**PRIVATE)
        receiver.says(403, "invalid_token")
        refused = (await test_one({"webhook": receiver.url})).json
        assert (refused["delivered"], refused["answer"]["text"]) == (False, "invalid_token")
        assert (refused["alert"]["state"], refused["alert"]["answer"]) == ("failed", "status 403")
        monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.2)
        receiver.hangs()
        silent = (await test_one({"webhook": receiver.url})).json
        assert (silent["answer"]["status"], silent["answer"]["fault"]) == (None, "timed out")
        assert (await deliver(found)).again == 0
        assert (await retry(refused["alert"]["id"])).json["alerts"][0]["status"] == "not_failed"

    async def test_where_the_alerts_of_a_budget_go(self, configure: Configure, receiver: Receiver) -> None:
        await configure(**PRIVATE)
        body = {**BUDGET, "webhook": receiver.url, "format": "slack"}
        assert (await ask_one("budget", "budgets", "id", "b", method="PUT", body=body)).status == 201
        sent = (await test_one({"budget": "b"})).json
        assert (sent["delivered"], sent["alert"]["format"], sent["alert"]["budget"]) == (True, "slack", "b")
        assert (sent["alert"]["app"], sent["alert"]["model"]) == ("search", "gpt-4o")
        assert (await test_one({"budget": "c"})).error["code"] == "not_found"
        await ask_one("budget", "budgets", "id", "none", method="PUT", body=BUDGET)
        assert (await test_one({"budget": "none"})).error["parameter"] == "budget"

    async def test_where_unusual_hours_go(self, configure: Configure, receiver: Receiver) -> None:
        await configure()
        assert (await test_one({})).error["message"] == (
            "webhook: expected a webhook or a budget, since the setting ALERT_WEBHOOK is empty, got nothing"
        )
        await configure(**PRIVATE, ALERT_WEBHOOK=receiver.url, ALERT_WEBHOOK_FORMAT="teams")
        sent = (await test_one({})).json
        assert (sent["delivered"], sent["alert"]["format"]) == (True, "teams")

    @pytest.mark.parametrize(
        ("body", "parameter"),
        [
            ({"webhook": "http://127.0.0.1/secret"}, "webhook"),
            ({"webhook": "https://169.254.169.254/secret"}, "webhook"),
            ({"webhook": "https://x.example/", "budget": "b"}, "budget"),
            ({"webhook": 7}, "webhook"),
            ({"webhook": "https://x.example/", "format": "email"}, "format"),
            ({"webhok": "https://x.example/"}, "webhok"),
            ([], None),
            (b"secret", None),
        ],
    )
    async def test_what_cannot_be_tested(self, configure: Configure, body: object, parameter: str | None) -> None:
        await configure()
        reply = await test_one(body)
        assert (reply.status, reply.error["parameter"]) == (400, parameter)
        assert "secret" not in reply.text
        assert await listed() == []

    async def test_this_machine_by_its_name_is_not_called(self, configure: Configure, receiver: Receiver) -> None:
        await configure()
        sent = (await test_one({"webhook": f"https://localhost:{receiver.port}/"})).json
        assert (sent["delivered"], sent["answer"]["fault"]) == (False, "address not allowed")
        assert receiver.got == []


class TestRetry:
    async def test_what_was_given_up_is_sent_again(self, configure: Configure, receiver: Receiver) -> None:
        found = await configure(**PRIVATE)
        receiver.says(410)
        failed = await given_up(found, 0, receiver.url)
        assert [each["id"] for each in await listed(state="failed")] == [failed]
        await found.alerts.raise_once(alert(1))
        receiver.says(200)
        reply = await retry(failed, alert(1).id, "other", failed)
        assert (reply.status, reply.json["alerts"]) == (
            202,
            [
                {"id": failed, "status": "pending"},
                {"id": alert(1).id, "status": "not_failed"},
                {"id": "other", "status": "not_found"},
            ],
        )
        assert (await deliver(found)).delivered == 2
        assert (await retry(failed)).status == 200

    async def test_it_goes_where_the_budget_sends_its_alerts_now(
        self, configure: Configure, receiver: Receiver
    ) -> None:
        found = await configure(**PRIVATE)
        async with receiving() as wrong:
            wrong.says(410)
            failed = await given_up(found, 0, wrong.url)
        await ask_one("budget", "budgets", "id", "b", method="DELETE")
        assert (await retry(failed)).json["alerts"] == [{"id": failed, "status": "no_receiver"}]
        body = {**BUDGET, "webhook": receiver.url, "format": "slack"}
        await ask_one("budget", "budgets", "id", "b", method="PUT", body=body)
        await retry(failed)
        assert (await deliver(found)).delivered == 1
        assert b"blocks" in receiver.got[0].body

    @pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": "x"}, {"ids": [1]}, {"ids": [""]}, {"ids": ["x"] * 101}])
    async def test_what_names_no_alert(self, configure: Configure, body: object) -> None:
        await configure()
        reply = await send("alert_retry", "alerts/retry", method="POST", body=body)
        assert (reply.status, reply.error["parameter"]) == (
            400,
            "ids.0" if body in ({"ids": [1]}, {"ids": [""]}) else "ids",
        )


async def test_of_unusual_hours_it_goes_where_they_go_now(configure: Configure, receiver: Receiver) -> None:
    found = await configure(**PRIVATE, ALERT_WEBHOOK=receiver.url)
    async with receiving() as wrong:
        wrong.says(410)
        corrected, found.settings = found.settings, replace(found.settings, alert_webhook=wrong.url)
        failed = await given_up(found, 0, wrong.url, kind="anomaly", budget=None)
        found.settings = corrected
        assert len(wrong.got) == 1
    await retry(failed)
    assert (await deliver(found)).delivered == 1
    assert len((await found.alerts.page(EVER, 10)).alerts) == 1
