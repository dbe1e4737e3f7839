"""Whatever happens in whatever order: an alert for each threshold that was crossed when the timer looked, no other."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from budgets.evaluate import evaluate
from budgets.periods import GRACE
from local.azurite import Azurite
from tests.budgets.evaluating import app, at, enter, raised, used

DAY = timedelta(days=1)
THRESHOLDS = (50, 80, 100, 150)
rounds = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 20, 30, 60]),
        st.one_of(
            st.tuples(st.just("use"), st.sampled_from([1, 300, 500, 800])),
            st.tuples(st.just("late"), st.sampled_from([300, 500])),
            st.tuples(st.just("limit"), st.sampled_from([1000, 700, 2000])),
        ),
        st.sampled_from([1, 1, 2, 0]),
    ),
    min_size=4,
    max_size=7,
)
"""Hours that pass, what is done then, and how often the timer runs, all at once."""


class Truth:
    """What must have been raised, from what was done."""

    def __init__(self, start: datetime):
        self.versions = [(start, 1000)]
        self.uses: list[tuple[datetime, int]] = []
        self.settled = start
        self.alerts: set[str] = set()

    def ran(self, now: datetime) -> None:
        day = self.versions[0][0].replace(hour=0, minute=0)
        while day <= now:
            if day + DAY > self.settled:
                number, limit = [
                    (number, limit) for number, (edited, limit) in enumerate(self.versions, 1) if edited < day + DAY
                ][-1]
                amount = sum(tokens for when, tokens in self.uses if day <= when < day + DAY)
                self.alerts |= {
                    f"{number}/{day.date()}/{threshold}"
                    for threshold in THRESHOLDS
                    if amount * 100 >= limit * threshold
                }
            day += DAY
        self.settled = max(self.settled, now - GRACE["day"])


@settings(
    max_examples=6,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(examples=st.lists(rounds, min_size=2, max_size=2))
async def test_thresholds_crossed_are_alerts_raised_each_once(azurite: Azurite, examples: list[Any]) -> None:
    async with app(azurite) as services:
        for number, done in enumerate(examples):
            budget, name = f"b{number}", f"app-{uuid4().hex}"
            now = at("2024-02-26T00:30")
            truth = Truth(now)
            await enter(services, budget, edited=now.isoformat()[:19], app=name, thresholds=list(THRESHOLDS))
            for hours, (step, amount), runs in done:
                now += timedelta(hours=hours)
                text = now.isoformat()[:19]
                if step == "limit" and amount != truth.versions[-1][1]:
                    await enter(services, budget, edited=text, app=name, thresholds=list(THRESHOLDS), limit=amount)
                    truth.versions.append((now, amount))
                elif step != "limit":
                    when = now if step == "use" else max(now - timedelta(hours=20), truth.versions[0][0])
                    await used(services, amount, when.isoformat()[:19], app_id=name)
                    truth.uses.append((when, amount))
                await asyncio.gather(*(evaluate(services, now=partial(now.replace)) for _ in range(runs)))
                if runs:
                    truth.ran(now)
            found = [alert.partition("/")[2] for alert in await raised(services) if alert.startswith(f"{budget}/")]
            assert sorted(found) == sorted(truth.alerts)
            await services.budgets.edit(budget, lambda _: {}, now)
