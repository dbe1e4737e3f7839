"""alerts.deliver: each alert reaches its receiver, whatever fails between, and gives up in the end."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import alerts.deliver
import alerts.send
from alerts.deliver import LONGEST_WAIT, MAX_ATTEMPTS, OF_ONE, DeliverReport, deliver, wait_after
from alerts.send import Answer
from budgets.entry import DELETED, read_budget
from ledger.alerts import Alerts, Stored
from models.alert import Alert
from models.errors import StoreUnavailable
from models.webhook import masked
from pipeline import purge
from services import Services
from tests.alerts.conftest import SECRET, Build
from tests.alerts.receiver import Receiver, receiving
from tests.ledger.test_alerts import EVER
from tests.ledger.test_alerts import alert as alert_of_budget
from tests.support.events import NOON
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import no_wait
from tests.support.metrics import Meter

DELIVERED, AGAIN, FAILED = DeliverReport(delivered=1), DeliverReport(again=1), DeliverReport(failed=1)
LATER = timedelta(hours=7)
"""Longer than any wait."""


def alert(number: int = 0, **changes: Any) -> Alert:
    """Of an unusual hour: what a budget's alert goes through beside this is at the end."""
    return alert_of_budget(number, **{"kind": "anomaly", "budget": None, **changes})


async def run(services: Services, now: datetime = NOON) -> DeliverReport:
    return await deliver(services, now=lambda: now)


async def enter(services: Services, webhook: str | None, name: str = "b") -> None:
    entry = read_budget({"period": "day", "unit": "tokens", "limit": 1000, "webhook": webhook}, allow_private=True)
    await services.budgets.edit(name, lambda _: entry.model_dump(mode="json"), NOON)


async def raise_to(services: Services, number: int, webhook: str) -> None:
    """The alert of a budget of its own."""
    await enter(services, webhook, f"b{number}")
    await services.alerts.raise_once(alert_of_budget(number, webhook=webhook, budget=f"b{number}"))


async def only(services: Services) -> Stored:
    [found] = (await services.alerts.page(EVER, 10)).alerts
    return found


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(each.message) for each in caplog.records if each.name == "usage_collector.alerts"]
    return [line for line in lines if line["event"] == event]


async def test_it_is_sent_once_and_signed(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    raised = alert(webhook=receiver.url)
    await services.alerts.raise_once(raised)
    assert await run(services) == DELIVERED
    assert await run(services, NOON + LATER) == DeliverReport()
    [got] = receiver.got
    event = json.loads(got.body)
    assert (event["id"], event["source"], event["data"]["threshold"]) == (raised.id, "/api/alerts", 80)
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    assert got.headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    found = await only(services)
    assert (found.delivery.state, found.delivery.attempts, found.delivery.answer) == ("delivered", 1, "status 200")


@pytest.mark.parametrize("form", ["teams", "slack"])
async def test_other_receivers_get_what_they_read(make: Build, receiver: Receiver, form: Any) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url, ALERT_WEBHOOK_FORMAT=form)
    await services.alerts.raise_once(alert(webhook=receiver.url, format=form))
    assert await run(services) == DELIVERED
    assert set(json.loads(receiver.got[0].body)) >= ({"attachments"} if form == "teams" else {"blocks"})


async def test_what_has_no_receiver_is_told_in_log_and_metric_once(
    make: Build, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    services, meter = await make(), Meter()
    services.telemetry = meter.telemetry
    await services.alerts.raise_once(alert(webhook=None))
    assert await run(services) == DeliverReport(logged=1)
    assert await run(services, NOON + LATER) == DeliverReport()
    [line] = told(caplog, "alert")
    assert (line["id"], line["kind"], line["app"], line["threshold"]) == (alert().id, "anomaly", "a", 80)
    assert meter.read() == {("usage_collector.alerts", frozenset({("usage_collector.kind", "anomaly")})): 1}
    assert (await only(services)).delivery.state == "logged"


async def test_a_receiver_that_fails_is_tried_again_later_and_told_of_once(
    make: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    services, meter = await make(ALERT_WEBHOOK=receiver.url), Meter()
    services.telemetry = meter.telemetry
    await services.alerts.raise_once(alert(webhook=receiver.url))
    receiver.says(500)
    assert await run(services) == AGAIN
    assert await run(services, NOON + timedelta(seconds=50)) == DeliverReport()
    receiver.says(200)
    assert await run(services, NOON + timedelta(minutes=2)) == DELIVERED
    first, second = receiver.got
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert len(told(caplog, "alert")) == 1
    assert {dict(series[1]).get("usage_collector.outcome"): value for series, value in meter.read().items()} == {
        None: 1,
        "again": 1,
        "delivered": 1,
    }


async def test_it_is_given_up_in_the_end_and_can_be_sent_again(
    make: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    await services.alerts.raise_once(alert(webhook=receiver.url))
    receiver.says(404)
    reports = [await run(services, NOON + number * LATER) for number in range(MAX_ATTEMPTS + 3)]
    assert reports == [AGAIN] * (MAX_ATTEMPTS - 1) + [FAILED] + [DeliverReport()] * 3
    assert len(receiver.got) == MAX_ATTEMPTS
    found = await only(services)
    assert (found.delivery.state, found.delivery.answer) == ("failed", "status 404")
    [line] = told(caplog, "alert_failed")
    assert line == {
        "event": "alert_failed",
        "id": alert().id,
        "receiver": f"http://127.0.0.1:{receiver.port}/…",
        "attempts": MAX_ATTEMPTS,
        "answer": "status 404",
    }
    receiver.says(200)
    now = NOON + timedelta(days=30)
    assert await services.alerts.again(alert().id, now) is not None
    assert await run(services, now) == DELIVERED
    assert len(told(caplog, "alert")) == 1


async def test_who_is_gone_is_not_tried_again(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    await services.alerts.raise_once(alert(webhook=receiver.url))
    receiver.says(410)
    assert await run(services) == FAILED


async def test_no_secret_of_the_webhook_is_in_a_log(
    make: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.2)
    caplog.set_level(logging.DEBUG)
    services = await make()
    for number, url in enumerate(
        [receiver.url, "http://127.0.0.1:1/secret", "https://nowhere.invalid/secret", f"{receiver.url}&secret[=%zz"]
    ):
        await raise_to(services, number, url)
    receiver.hangs()
    later = NOON + timedelta(minutes=1)
    assert await run(services, later) == DeliverReport(again=4)
    assert sorted(each.delivery.answer or "" for each in (await services.alerts.page(EVER, 10)).alerts) == [
        "name not found",
        "not connected",
        "timed out",
        "timed out",
    ]
    ours = [each for each in caplog.records if each.name.startswith(("usage_collector", "aiohttp"))]
    assert not any("secret" in str(each.__dict__) for each in ours)


async def test_a_webhook_that_may_not_be_called_any_more_is_not(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK_ALLOW_PRIVATE="0")
    await raise_to(services, 0, receiver.url)
    await raise_to(services, 1, f"https://localhost:{receiver.port}/")
    assert await run(services, NOON + timedelta(minutes=1)) == DeliverReport(again=2)
    found = (await services.alerts.page(EVER, 10)).alerts
    assert [each.delivery.answer for each in found] == ["address not allowed"] * 2
    assert receiver.got == []


async def test_one_that_hangs_does_not_hold_up_the_others(
    make: Build, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.3)
    services = await make(ALERT_WEBHOOK=receiver.url)
    receiver.hangs()
    for number in range(12):
        await services.alerts.raise_once(alert(number, webhook=receiver.url if number < 4 else None))
    assert await run(services, NOON + timedelta(minutes=1)) == DeliverReport(logged=8, again=1, held_up=3)


async def test_receivers_that_hang_cost_the_others_nothing_but_a_slot(
    make: Build, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However many alerts wait for them, from before: those of a good one are sent in the same run."""
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.3)
    services = await make(ALERT_WEBHOOK=receiver.url)
    async with receiving() as good:
        receiver.hangs()
        for name in ("x", "y"):
            await enter(services, f"{receiver.url}&{name}", name)
        for number in range(0, 60, 3):
            await services.alerts.raise_once(alert(number, webhook=receiver.url))
            for after, name in ((1, "x"), (2, "y")):
                await services.alerts.raise_once(alert_of_budget(number + after, webhook=receiver.url, budget=name))
        await raise_to(services, 90, good.url)
        first = NOON + timedelta(minutes=2)
        assert await run(services, first) == DeliverReport(delivered=1, again=3, held_up=57)
        assert (len(receiver.got), len(good.got)) == (3, 1)
        # Log and metric have all of them, and once: those who look there do not wait for a receiver.
        assert len({line["id"] for line in told(caplog, "alert")}) == len(told(caplog, "alert")) == 61
        held_up = [
            each.delivery for each in (await services.alerts.page(EVER, 99)).alerts if not each.delivery.attempts
        ]
        assert {(each.state, each.last_attempt, each.told) for each in held_up} == {("pending", None, True)}
        assert len(held_up) == 57
        # They had no attempt, so that they are tried again soon: one to each, until it answers.
        again = await run(services, first + timedelta(minutes=1))
        assert (again.again, again.again + again.held_up >= 57, len(receiver.got)) == (3, True, 6)
        receiver.says(200)
        assert (await run(services, first + timedelta(minutes=9))).delivered == 60
        assert len(told(caplog, "alert")) == 61


async def test_more_than_a_run_reads_wait_for_one_that_hangs_and_each_other_has_its_turn(
    make: Build, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They move out of the way: what is raised after them is sent and told all the same."""
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.3)
    monkeypatch.setattr(alerts.deliver, "MAX_DUE", 10)
    services = await make(ALERT_WEBHOOK=receiver.url)
    receiver.hangs()
    for number in range(25):
        await services.alerts.raise_once(alert(number, webhook=receiver.url))
    async with receiving() as good:
        for minute in range(2, 13):
            if minute == 8:
                await raise_to(services, 8 * 60, good.url)
            await run(services, NOON + timedelta(minutes=minute, seconds=5))
        assert len(good.got) == 1
    assert len(receiver.got) <= 11
    assert len(told(caplog, "alert")) == 26
    held_up = [stored.delivery for stored in (await services.alerts.page(EVER, 99)).alerts]
    assert {each.last_attempt for each in held_up if not each.attempts} == {None}
    receiver.says(200)
    for hours in range(1, 4):
        for _ in range(3):
            await run(services, NOON + hours * LATER)
    assert {stored.delivery.state for stored in (await services.alerts.page(EVER, 99)).alerts} == {"delivered"}
    assert len(told(caplog, "alert")) == 26


async def test_one_that_moves_out_of_the_way_keeps_what_is_known_of_its_attempts(
    make: Build, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts.send, "MAX_SECONDS", 0.3)
    monkeypatch.setattr(alerts.deliver, "MAX_DUE", 2)
    services = await make(ALERT_WEBHOOK=receiver.url)
    receiver.says(500)
    for number in range(2):
        await services.alerts.raise_once(alert(number, webhook=receiver.url))
    assert await run(services, NOON + timedelta(minutes=1)) == DeliverReport(again=2)
    receiver.hangs()
    later = NOON + LATER
    assert await run(services, later) == DeliverReport(again=1, held_up=1)
    deliveries = [stored.delivery for stored in (await services.alerts.page(EVER, 9)).alerts]
    assert sorted(
        (each.attempts, each.last_attempt, each.next_attempt is not None and each.next_attempt > later)
        for each in deliveries
    ) == [(1, NOON + timedelta(minutes=1), True), (2, later, True)]


async def test_one_receiver_is_sent_a_few_at_once_and_the_first_alone(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    open_now: list[int] = []
    being_sent = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal being_sent
        being_sent += 1
        open_now.append(being_sent)
        await asyncio.sleep(0.02)
        being_sent -= 1
        return web.Response()

    receiver.answer = answer
    for number in range(20):
        await services.alerts.raise_once(alert(number, webhook=receiver.url))
    assert await run(services, NOON + timedelta(minutes=1)) == DeliverReport(delivered=20)
    assert open_now[:2] == [1, 1]
    assert 1 < max(open_now) <= OF_ONE


async def test_a_run_is_bounded_and_the_next_goes_on(
    make: Build, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    for number in range(5):
        await services.alerts.raise_once(alert(number, webhook=receiver.url))
    monkeypatch.setattr(alerts.deliver, "MAX_SECONDS", -1.0)
    later = NOON + timedelta(minutes=1)
    assert await run(services, later) == DeliverReport()
    monkeypatch.setattr(alerts.deliver, "MAX_SECONDS", 40.0)
    monkeypatch.setattr(alerts.deliver, "MAX_DUE", 3)
    assert [await run(services, later), await run(services, later)] == [
        DeliverReport(delivered=3),
        DeliverReport(delivered=2),
    ]


# ------------------------------------------------------------------------------------ two at once, and death in between


async def test_two_at_once_send_each_alert_once(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    for number in range(20):
        await services.alerts.raise_once(alert(number, webhook=receiver.url))
    later = NOON + timedelta(minutes=1)
    reports = await asyncio.gather(*(run(services, later) for _ in range(3)))
    assert sum(report.delivered for report in reports) == 20
    assert sorted(json.loads(got.body)["id"] for got in receiver.got) == sorted(
        alert(number).id for number in range(20)
    )


async def test_death_between_sending_and_marking_sends_the_same_again(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    await services.alerts.raise_once(alert(webhook=receiver.url))
    reached = asyncio.Event()
    finish = services.alerts.finish

    async def dies(*arguments: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    services.alerts.finish = dies  # type: ignore[method-assign,assignment]
    dying = asyncio.create_task(run(services))
    await reached.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    services.alerts.finish = finish  # type: ignore[method-assign]
    assert await run(services, NOON + timedelta(seconds=90)) == DeliverReport()
    assert await run(services, NOON + timedelta(minutes=2)) == DELIVERED
    first, second = receiver.got
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


async def test_one_that_kills_every_process_is_given_up_without_another_try(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    await services.alerts.raise_once(alert(webhook=receiver.url))
    for number in range(MAX_ATTEMPTS):
        now = NOON + number * LATER
        [due] = await services.alerts.due(now, 10)
        assert await services.alerts.claim(due, now, now + timedelta(minutes=2)) is not None
    assert await run(services, NOON + MAX_ATTEMPTS * LATER) == FAILED
    assert receiver.got == []
    assert (await only(services)).delivery.answer == "never finished"


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("answered", [False, True])
async def test_a_fault_at_any_request_to_the_tables_loses_nothing(
    make: Build, receiver: Receiver, number: int, answered: bool
) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    whole = services.alerts
    await whole.raise_once(alert(webhook=receiver.url))
    faults = (never, at(number)) if answered else (at(number), never)
    services.alerts = Alerts(FaultyStore(whole._store, *faults), no_wait)
    await run(services)
    services.alerts = whole
    await run(services, NOON + LATER)
    assert (await only(services)).delivery.state == "delivered"
    assert 1 <= len(receiver.got) <= 2
    assert len({got.body for got in receiver.got}) == 1


async def test_tables_that_stay_away_are_an_error_and_the_next_run_sends(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    whole = services.alerts
    await whole.raise_once(alert(webhook=receiver.url))
    services.alerts = Alerts(FaultyStore(whole._store, at(*range(3, 50))), no_wait)
    with pytest.raises(StoreUnavailable):
        await run(services)
    services.alerts = whole
    assert await run(services, NOON + LATER) == DELIVERED


# ---------------------------------------------------------------------------------------------------------------- waits


@given(st.integers(1, MAX_ATTEMPTS - 1), st.none() | st.integers(0, 10**6))
def test_waits_grow_are_bounded_and_heed_the_receiver(attempts: int, asked: int | None) -> None:
    wait = wait_after(attempts, Answer(503, retry_after=asked))
    assert wait is not None
    assert timedelta(minutes=1) <= wait <= LONGEST_WAIT
    assert wait >= min(timedelta(seconds=asked or 0), LONGEST_WAIT, timedelta(minutes=2**attempts) / 2)


def test_all_attempts_take_about_a_day() -> None:
    waits = [wait_after(number, Answer(500)) for number in range(1, MAX_ATTEMPTS + 1)]
    assert waits[-1] is None
    total = sum((wait for wait in waits if wait), timedelta())
    assert timedelta(hours=13) <= total <= timedelta(hours=27)


def test_an_alert_needs_no_more_than_its_id_and_time() -> None:
    assert replace(alert(), webhook=None).digest == Alert(alert().id, "test", NOON).digest


async def test_the_timer_that_purges_forgets_old_alerts(make: Build) -> None:
    services = await make(ALERT_RETENTION_DAYS="62")
    for number in (0, 10):
        await services.alerts.raise_once(alert(number, webhook=None))
    await purge(services, now=lambda: NOON + timedelta(days=62, seconds=5))
    assert [each.alert for each in (await services.alerts.page(EVER, 10)).alerts] == [alert(10, webhook=None)]


# ------------------------------------------------------------------------------------------------------- of a budget


async def test_a_budget_that_was_edited_has_nothing_sent_to_its_old_webhook(make: Build, receiver: Receiver) -> None:
    services = await make()
    async with receiving() as wrong:
        wrong.says(500)
        await enter(services, wrong.url)
        await services.alerts.raise_once(alert_of_budget(webhook=wrong.url))
        assert await run(services) == AGAIN
        await enter(services, receiver.url)
        assert await run(services, NOON + LATER) == DELIVERED
        assert (len(wrong.got), len(receiver.got)) == (1, 1)
    assert (await only(services)).delivery.receiver == masked(receiver.url)


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_budget_without_receiver_has_nothing_sent_any_more(
    make: Build, receiver: Receiver, deleted: bool
) -> None:
    services = await make()
    await enter(services, receiver.url)
    receiver.says(500)
    await services.alerts.raise_once(alert_of_budget(webhook=receiver.url))
    assert await run(services) == AGAIN
    if deleted:
        await services.budgets.edit("b", lambda _: DELETED, NOON)
    else:
        await enter(services, None)
    assert await run(services, NOON + LATER) == DeliverReport(logged=1)
    assert len(receiver.got) == 1
    found = await only(services)
    assert (found.delivery.state, found.delivery.receiver, found.alert.webhook) == ("logged", None, None)
    assert found.delivery.answer == "no receiver any more"


async def test_a_budget_that_cannot_be_read_ends_no_run(
    make: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that a later version of this app wrote: its alerts go where they were to go, and no secret is told."""
    services = await make()
    await services.budgets.edit("b", lambda _: {"period": "week", "webhook": {"url": "secret"}}, NOON)
    await services.alerts.raise_once(alert_of_budget(0, webhook=receiver.url))
    await raise_to(services, 1, receiver.url)
    assert await run(services, NOON + timedelta(minutes=1)) == DeliverReport(delivered=2)
    assert "budget b cannot be read" in caplog.text
    assert "secret" not in caplog.text


async def test_an_unusual_hour_is_told_where_the_setting_says_now(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url, ALERT_WEBHOOK_FORMAT="slack")
    await services.alerts.raise_once(alert(webhook="https://wrong.invalid/hook"))
    assert await run(services) == DELIVERED
    assert b"blocks" in receiver.got[0].body
    without = await make()
    await without.alerts.raise_once(alert(1, webhook="https://wrong.invalid/hook"))
    assert await run(without, NOON + LATER) == DeliverReport(logged=1)
