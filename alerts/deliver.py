"""The timer that sends alerts: each that is due is claimed, sent and marked, so that two instances do not send the same
one at once, and one that was claimed when its process died is sent again. That is at least once; its id tells a
repetition.

Receivers take turns, a few requests to each at once and the first alone. One that does not answer in time is asked no
more in this run, so that it costs the others one slot for one time-out, however many alerts wait for it.
"""

import asyncio
import json
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from alerts.payloads import payload
from alerts.receiver import receiver_now, webhooks_now
from alerts.send import NOT_ALLOWED, TIMED_OUT, Answer, send
from alerts.signature import signed
from alerts.words import shown
from ledger.alerts import Due, Stored
from models.alert import Alert, State
from models.webhook import fault_of_webhook, masked
from queries.read import each
from services import Services
from services import now as wall_clock

log = logging.getLogger("usage_collector.alerts")

MAX_DUE: Final = 10_000
"""Alerts of one run, those that wait longest; those that are left are due in the next, a minute later."""
AT_ONCE: Final = 16
OF_ONE: Final = 4
"""At once, to one receiver."""
MAX_SECONDS: Final = 40.0
"""Of one run: no attempt is begun after that. The next run begins a minute after this one did."""
LEASE: Final = timedelta(minutes=2)
"""For how long an attempt is its claimer's: longer than a request and the rows around it can take."""
MAX_ATTEMPTS: Final = 12
FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=6)
OUT_OF_THE_WAY: Final = timedelta(hours=1)
"""Where more are due than one run reads, those that wait for a receiver come back within that, at random: else they
were the first in every run, and others had no turn."""
NO_RECEIVER: Final = "no receiver any more"
"""Of an alert whose budget was deleted, or whose webhook was taken away, before it was sent."""
HELD_UP: Final = "waits, since its receiver did not answer another"
GONE: Final = 410
"""The status with which a receiver says that it wants no more."""


@dataclass(slots=True)
class DeliverReport:
    """Of one run: alerts that were `delivered`, that had no receiver (`logged`), that will be sent again (`again`),
    those given up (`failed`), and those not tried, since their receiver did not answer another (`held_up`)."""

    delivered: int = 0
    logged: int = 0
    again: int = 0
    failed: int = 0
    held_up: int = 0


async def deliver(
    services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock
) -> DeliverReport:
    """Send what is due. Raises if the tables do not answer: the next run goes on."""
    await services.schema.begin(now())
    report = DeliverReport()
    until = time.monotonic() + MAX_SECONDS
    hung: set[str] = set()
    slots = asyncio.Semaphore(AT_ONCE)  # first come, first served: so receivers take turns

    async def one(due: Due, webhook: str | None) -> None:
        if time.monotonic() >= until:
            return
        is_held_up = webhook in hung
        report.held_up += is_held_up
        if is_held_up and due.told:
            if is_more:
                await services.alerts.put_off(due, now() + _held_up_for(is_more), HELD_UP)
            return
        claimed = await services.alerts.claim(due, now(), now() + LEASE)
        if claimed is None:
            return
        if is_held_up:
            await _put_off(services, claimed, now() + _held_up_for(is_more))
        elif not await _deliver(services, claimed, now, report) and webhook is not None:
            hung.add(webhook)

    async def serve(queue: tuple[str | None, Sequence[Due]]) -> None:
        webhook, waiting = queue

        async def in_turn(due: Due) -> None:
            async with nullcontext() if webhook is None else slots:  # where nothing is sent nothing can hang
                await one(due, webhook)

        await each(waiting[:1], in_turn, 1)
        await each(waiting[1:], in_turn, OF_ONE)

    found = await services.alerts.due(now(), MAX_DUE)
    is_more = len(found) == MAX_DUE
    queues = await _queues(services, found)
    await each(queues, serve, len(queues))
    if any(asdict(report).values()):
        log.info("%s", json.dumps({"event": "deliver_alerts", "invocation_id": invocation_id, **asdict(report)}))
    return report


async def attempt(services: Services, alert: Alert, now: datetime, *, with_text: bool = False) -> Answer:
    """One request with the alert to its webhook, which it has."""
    assert alert.webhook is not None
    settings = services.settings
    if fault_of_webhook(alert.webhook, allow_private=settings.alert_webhook_allow_private):
        return Answer(None, NOT_ALLOWED)  # it was entered before the setting was changed
    content = payload(alert, alert.format, settings.alert_source)
    headers = signed(settings.alert_webhook_keys, alert.digest, int(now.timestamp()), content.body)
    return await send(
        alert.webhook,
        content.body,
        {"Content-Type": content.content_type, **headers},
        allow_private=settings.alert_webhook_allow_private,
        with_text=with_text,
    )


def wait_after(attempts: int, answer: Answer) -> timedelta | None:
    """How long to wait after so many attempts, None to give up. Doubled each time and random, so that what failed
    together does not come back together; longer if the receiver asks for it."""
    if attempts >= MAX_ATTEMPTS or answer.status == GONE:
        return None
    longest = min(LONGEST_WAIT, FIRST_WAIT * (1 << attempts))
    asked = min(LONGEST_WAIT, timedelta(seconds=answer.retry_after or 0))
    return max(longest * random.uniform(0.5, 1), asked)  # noqa: S311  # no secret


async def _queues(services: Services, due: Sequence[Due]) -> Sequence[tuple[str | None, Sequence[Due]]]:
    """What is due by where it goes now, None: nowhere. In any order, so that none is always the last."""
    webhooks = await webhooks_now(services, {each.budget for each in due if each.has_webhook and each.budget})
    queues: dict[str | None, list[Due]] = defaultdict(list)
    for alert in due:
        webhook = None
        if alert.has_webhook:
            webhook = services.settings.alert_webhook if alert.budget is None else webhooks.get(alert.budget)
        queues[webhook].append(alert)
    return random.sample(list(queues.items()), len(queues))


def _held_up_for(is_more: bool) -> timedelta:
    """`is_more`: than one run reads."""
    return max(random.random() * OUT_OF_THE_WAY, FIRST_WAIT) if is_more else FIRST_WAIT  # noqa: S311  # no secret


async def _put_off(services: Services, claimed: Stored, until: datetime) -> None:
    """Told, and due again at `until`, as if no attempt had been begun: none was."""
    _tell(services, claimed.alert)
    attempts = claimed.delivery.attempts - 1
    waits = replace(claimed.delivery, attempts=attempts, answer=HELD_UP, next_attempt=until, told=True)
    await services.alerts.finish(claimed, waits if attempts else replace(waits, last_attempt=None))


async def _deliver(services: Services, claimed: Stored, now: Callable[[], datetime], report: DeliverReport) -> bool:
    """Whether the receiver can be asked for another."""
    if not claimed.delivery.told:
        _tell(services, claimed.alert)
    claimed = await _directed(services, claimed)
    alert, begun = claimed.alert, claimed.delivery
    if alert.webhook is None:
        report.logged += 1
        await services.alerts.finish(claimed, replace(begun, state="logged", next_attempt=None, told=True))
        return True
    if begun.attempts > MAX_ATTEMPTS:  # no attempt came to its end, so that this one had better not be made
        answer = Answer(None, "never finished")
    else:
        answer = await attempt(services, alert, now())
    wait = None if answer.delivered else wait_after(begun.attempts, answer)
    state: State = "delivered" if answer.delivered else "failed" if wait is None else "pending"
    following = None if wait is None else now() + wait
    ended = replace(begun, state=state, next_attempt=following, answer=answer.words, told=True)
    answers = answer.fault != TIMED_OUT
    if await services.alerts.finish(claimed, ended) is None:
        return answers  # it took longer than its lease, and is another's now
    outcome = "again" if state == "pending" else state
    setattr(report, outcome, getattr(report, outcome) + 1)
    services.telemetry.delivered(outcome)
    if state == "failed":
        figures = {"id": alert.id, "receiver": begun.receiver, "attempts": begun.attempts, "answer": answer.words}
        log.error("%s", json.dumps({"event": "alert_failed", **figures}))
    return answers


async def _directed(services: Services, claimed: Stored) -> Stored:
    """The alert, to where its budget, or ALERT_WEBHOOK, sends alerts now: after an edit nothing is sent to the place
    there was before."""
    if claimed.alert.webhook is None:
        return claimed
    receiver = await receiver_now(services, claimed.alert)
    if receiver is None:
        delivery = replace(claimed.delivery, receiver=None, answer=NO_RECEIVER)
        return claimed._replace(alert=replace(claimed.alert, webhook=None), delivery=delivery)
    delivery = replace(claimed.delivery, receiver=masked(receiver.webhook))
    return claimed._replace(alert=replace(claimed.alert, **receiver._asdict()), delivery=delivery)


def _tell(services: Services, alert: Alert) -> None:
    """The log line and the metric, for alert rules of Azure Monitor. If the process dies before this is marked, it is
    told again, with the same id."""
    known: dict[str, Any] = {name: value for name, value in shown(alert).items() if value is not None}
    log.warning("%s", json.dumps({"event": "alert", **known}))
    services.telemetry.raised(alert.kind)
