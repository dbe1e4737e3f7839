"""ledger.alerts: each alert once, whoever finds it and whatever fails; sent by one at a time; listed; forgotten."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.alerts
from ledger.alert_rows import alert_of, delivery_of, entity_of, newest_first, row_key
from ledger.alerts import AlertPurgeReport, Alerts, Receiver, Stored, Wanted
from ledger.store import TableStore
from local.azurite import Azurite
from models.alert import FORMATS, KINDS, STATES, Alert, Delivery
from models.errors import StoreUnavailable
from tests.support.events import NOON
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import fresh_table, no_wait, rows_of

URL = "https://example.com/hook?sig=secret"
MINUTE = timedelta(minutes=1)
EVER = Wanted(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def alert(number: int = 0, **changes: Any) -> Alert:
    raised = NOON + timedelta(seconds=number)
    whole = Alert(f"budget/b/1/2026-11-01/{number}", "budget", raised, app="a", budget="b", threshold=80, webhook=URL)
    return replace(whole, **changes)


@pytest.fixture
async def store(azurite: Azurite) -> AsyncIterator[TableStore]:
    async with fresh_table(azurite.connection_string) as table:
        yield table


async def stored(store: TableStore) -> list[Stored]:
    return (await Alerts(store, no_wait).page(EVER, 1000)).alerts


async def claimed(alerts: Alerts, now: datetime) -> list[Stored]:
    """Begin what is due."""
    found = [await alerts.claim(due, now, now + 2 * MINUTE) for due in await alerts.due(now, 100)]
    return [each for each in found if each is not None]


# -------------------------------------------------------------------------------------------------------- kept as it is

times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
amounts = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=0, max_value=10**15)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
alerts_of_all_kinds = st.builds(
    Alert,
    id=texts,
    kind=st.sampled_from(KINDS),
    raised=times,
    app=st.none() | texts,
    cost_center=st.none() | texts,
    model=st.none() | texts,
    budget=st.none() | texts,
    period_start=st.none() | times,
    period_end=st.none() | times,
    threshold=st.none() | st.integers(1, 1000),
    limit=st.none() | amounts,
    actual=st.none() | amounts,
    projected=st.none() | amounts,
    usual=st.none() | amounts,
    webhook=st.none() | texts,
    format=st.sampled_from(FORMATS),
)
deliveries = st.builds(
    Delivery,
    state=st.sampled_from(STATES),
    attempts=st.integers(0, 20),
    last_attempt=st.none() | times,
    next_attempt=st.none() | times,
    answer=st.none() | texts,
    receiver=st.none() | texts,
    told=st.booleans(),
)


@given(alerts_of_all_kinds, deliveries)
def test_a_row_holds_all_of_an_alert(each: Alert, delivery: Delivery) -> None:
    entity = entity_of(each, delivery)
    assert (alert_of(entity), delivery_of(entity)) == (each, delivery)
    assert len(entity["RowKey"]) <= 512


@given(times, times)
def test_the_newer_has_the_smaller_key(one: datetime, other: datetime) -> None:
    assert (newest_first(one) < newest_first(other)) == (one > other)


async def test_it_is_read_as_it_was_raised(store: TableStore) -> None:
    each = alert(limit=Decimal("12.5"), actual=Decimal("1E+3"), period_start=NOON, app="tøø|/#?")
    assert await Alerts(store).raise_once(each)
    [found] = await stored(store)
    assert found.alert == each
    assert found.delivery == Delivery(next_attempt=each.raised, receiver="https://example.com/…")
    assert await Alerts(store).get(each.id) == found
    assert await Alerts(store).get("another") is None


# ---------------------------------------------------------------------------------------------------------------- once


async def test_the_same_id_is_one_alert_whenever_it_is_found(store: TableStore) -> None:
    alerts = Alerts(store, no_wait)
    assert await alerts.raise_once(alert())
    assert not await alerts.raise_once(alert(raised=NOON + timedelta(days=1), webhook=None))
    assert [each.alert for each in await stored(store)] == [alert()]


async def test_of_many_who_find_it_at_once_one_raises_it(store: TableStore) -> None:
    outcomes = await asyncio.gather(
        *(Alerts(store, no_wait).raise_once(alert(raised=NOON + number * MINUTE)) for number in range(8))
    )
    assert sorted(outcomes) == [False] * 7 + [True]
    assert len(await stored(store)) == 1


@pytest.mark.parametrize("number", range(1, 4))
@pytest.mark.parametrize("answered", [False, True])
async def test_a_fault_at_any_request_neither_doubles_nor_hides_it(
    store: TableStore, number: int, answered: bool
) -> None:
    faults = (never, at(number)) if answered else (at(number), never)
    assert await Alerts(FaultyStore(store, *faults), no_wait).raise_once(alert())
    assert not await Alerts(store, no_wait).raise_once(alert())
    assert len(await claimed(Alerts(store, no_wait), NOON)) == 1


async def test_tables_that_do_not_answer_are_an_error(store: TableStore) -> None:
    with pytest.raises(StoreUnavailable):
        await Alerts(FaultyStore(store, at(*range(1, 100))), no_wait).raise_once(alert())


# ----------------------------------------------------------------------------------------------------------- attempts


async def test_what_is_due_comes_oldest_first_and_no_more_than_asked_for(store: TableStore) -> None:
    alerts = Alerts(store)
    for number in (3, 1, 2, 90):
        await alerts.raise_once(alert(number))
    now = NOON + timedelta(seconds=60)
    assert [due.row for due in await alerts.due(now, 10)] == [row_key(alert(number)) for number in (1, 2, 3)]
    assert len(await alerts.due(now, 2)) == 2
    assert await alerts.due(NOON, 10) == []


async def test_of_two_who_claim_it_one_does(store: TableStore) -> None:
    await Alerts(store).raise_once(alert())
    [due] = await Alerts(store).due(NOON, 10)
    outcomes = await asyncio.gather(
        *(Alerts(store, no_wait).claim(due, NOON, NOON + (2 + number) * MINUTE) for number in range(6))
    )
    assert len([each for each in outcomes if each is not None]) == 1
    assert await Alerts(store).due(NOON + MINUTE, 10) == []


async def test_an_attempt_that_is_never_finished_is_due_again(store: TableStore) -> None:
    alerts = Alerts(store)
    await alerts.raise_once(alert())
    [first] = await claimed(alerts, NOON)
    assert await claimed(alerts, NOON + MINUTE) == []
    [second] = await claimed(alerts, NOON + 2 * MINUTE)
    assert (first.delivery.attempts, second.delivery.attempts) == (1, 2)
    # The first one comes back after all: it has nothing to say any more.
    assert await alerts.finish(first, replace(first.delivery, state="delivered", next_attempt=None)) is None
    assert await alerts.finish(second, replace(second.delivery, state="delivered", next_attempt=None)) is not None
    assert await alerts.due(NOON + 99 * MINUTE, 10) == []


async def test_a_webhook_is_forgotten_once_it_is_not_needed(store: TableStore) -> None:
    alerts = Alerts(store)
    await alerts.raise_once(alert())
    [attempt] = await claimed(alerts, NOON)
    await alerts.finish(attempt, replace(attempt.delivery, state="delivered", next_attempt=None))
    [found] = await stored(store)
    assert (found.alert.webhook, found.delivery.receiver) == (None, "https://example.com/…")
    assert "secret" not in str(await rows_of(store, "alerts"))


async def test_only_what_was_given_up_is_sent_again(store: TableStore) -> None:
    alerts = Alerts(store)
    await alerts.raise_once(alert())
    later = NOON + timedelta(hours=1)
    assert await alerts.again(alert().id, later) is None
    assert await alerts.again("another", later) is None
    [attempt] = await claimed(alerts, NOON)
    await alerts.finish(attempt, replace(attempt.delivery, state="failed", next_attempt=None, answer="500", told=True))
    assert await claimed(alerts, NOON + timedelta(days=9)) == []
    assert await alerts.again(alert().id, later, Receiver("https://other.example/x", "slack")) is not None
    [again] = await claimed(alerts, later)
    assert (again.alert.webhook, again.alert.format) == ("https://other.example/x", "slack")
    assert (again.delivery.attempts, again.delivery.told) == (1, True)


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("answered", [False, True])
async def test_a_fault_at_any_request_of_an_attempt_leaves_it_done_or_due(
    store: TableStore, number: int, answered: bool
) -> None:
    await Alerts(store).raise_once(alert())
    faults = (never, at(number)) if answered else (at(number), never)
    alerts = Alerts(FaultyStore(store, *faults), no_wait)
    for attempt in await claimed(alerts, NOON):
        await alerts.finish(attempt, replace(attempt.delivery, state="delivered", next_attempt=None))
    [found] = await stored(store)
    due = await Alerts(store).due(NOON + timedelta(hours=1), 10)
    assert len(due) == (found.delivery.state == "pending")
    for attempt in await claimed(Alerts(store), NOON + timedelta(hours=1)):
        await Alerts(store).finish(attempt, replace(attempt.delivery, state="delivered", next_attempt=None))
    [found] = await stored(store)
    assert found.delivery.state == "delivered"
    assert len(await rows_of(store, "alerts")) == 2


# --------------------------------------------------------------------------------------------------- lists and the end


async def test_pages_are_newest_first_and_whole(store: TableStore) -> None:
    alerts = Alerts(store)
    for number in (4, 0, 3, 1, 2):
        await alerts.raise_once(alert(number))
    listed: list[Alert] = []
    after = None
    while True:
        page = await alerts.page(EVER, 2, after)
        listed += [each.alert for each in page.alerts]
        after = page.next
        if after is None:
            break
    assert listed == [alert(number) for number in (4, 3, 2, 1, 0)]
    range_of = Wanted(NOON + timedelta(seconds=1), NOON + timedelta(seconds=3))
    assert [each.alert for each in (await alerts.page(range_of, 10)).alerts] == [alert(2), alert(1)]


async def test_filters_and_what_a_caller_may_see(store: TableStore) -> None:
    alerts = Alerts(store)
    await alerts.raise_once(alert(0))
    await alerts.raise_once(alert(1, app=None, budget="all"))
    await alerts.raise_once(alert(2, app="other", kind="anomaly", budget=None))

    async def numbers(**wanted: Any) -> list[int]:
        found = (await alerts.page(EVER._replace(**wanted), 10)).alerts
        return [int(each.alert.id.rpartition("/")[2]) for each in found]

    assert await numbers() == [2, 1, 0]
    assert await numbers(apps=frozenset(["a", "other"])) == [2, 0]
    assert await numbers(kinds=frozenset(["anomaly"])) == [2]
    assert await numbers(budgets=frozenset(["all"])) == [1]
    assert await numbers(states=frozenset(["pending"])) == [2, 1, 0]
    assert await numbers(states=frozenset(["failed"])) == []
    assert await numbers(allowed=frozenset(["a"])) == [0]
    assert await numbers(allowed=frozenset()) == []


async def test_a_page_reads_no_more_than_its_bound(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.alerts, "MAX_EXAMINED", 3)
    alerts = Alerts(store)
    for number in range(5):
        await alerts.raise_once(alert(number))
    none = EVER._replace(states=frozenset(["failed"]))
    page = await alerts.page(none, 10)
    assert (page.alerts, page.next is not None) == ([], True)
    assert await alerts.page(none, 10, page.next) == ([], None)


async def test_old_alerts_are_deleted_with_all_their_rows(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.alerts, "MAX_PURGED", 60)
    alerts = Alerts(store)
    await asyncio.gather(*(alerts.raise_once(alert(number)) for number in range(70)))
    for attempt in await claimed(alerts, NOON + timedelta(seconds=10)):
        await alerts.finish(attempt, replace(attempt.delivery, state="delivered", next_attempt=None))
    assert await alerts.purge(NOON + timedelta(seconds=69)) == AlertPurgeReport(66, left_over=True)
    assert await alerts.purge(NOON + timedelta(seconds=69)) == AlertPurgeReport(3, left_over=False)
    assert [each.alert for each in await stored(store)] == [alert(69)]
    assert len(await rows_of(store, "alerts")) == 3
    assert await alerts.raise_once(alert(1))
