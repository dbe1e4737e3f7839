"""Costs in GET /api/usage: what the calls cost one by one, by brute force, however they are asked for."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from models.errors import SettingsError
from prices.catalogue import Catalogue
from services import Services
from tests.api.asked import ask, ask_one
from tests.api.conftest import Configure
from tests.queries.filled import fill
from tests.support.events import usage_event

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CHANGE = datetime(2025, 6, 10, tzinfo=UTC)
"""OpenAI made o3 cheaper; what the package says of the time before is not judged here."""
OWN_FROM = CHANGE + 31 * HOUR
FIRST, LAST = datetime(2025, 5, 30, tzinfo=UTC), datetime(2025, 7, 3, tzinfo=UTC)

PTU = {"model": "*", "scope": {"deployment": "ptu"}, "per_million": {"prompt_tokens": "0.3", "completion_tokens": "0"}}
OWN = {
    "model": "gpt-4o*",
    "valid_from": OWN_FROM.isoformat(),
    "per_million": {"prompt_tokens": "2.123456789012", "cached_prompt_tokens": "0.7", "completion_tokens": "9"},
}
Rates = tuple[Fraction, Fraction, Fraction]


@dataclass(frozen=True)
class Paid:
    """A call; `usage` is (prompt, cached, completion, reasoning), or None where nothing was reported."""

    app: str
    model: str | None
    deployment: str
    time: datetime
    partition: str
    usage: tuple[int, int, int, int] | None

    def event(self) -> dict[str, Any]:
        usage = None
        if self.usage:
            prompt, cached, completion, reasoning = self.usage
            usage = {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            }
        return usage_event(
            app_id=self.app,
            response_model=self.model,
            deployment=self.deployment,
            timestamp=self.time.isoformat(),
            usage=usage,
        )

    def rates(self) -> Rates | None:
        """Prompt, cached and completion."""
        if self.deployment == "ptu":
            return Fraction("0.3"), Fraction("0.3"), Fraction(0)
        if self.model == "o3":
            return _rates("10", "0.5", "40") if self.time < CHANGE else _rates("2", "0.5", "8")
        if self.model == "gpt-4o-2024-08-06":
            return _rates("2.5", "1.25", "10") if self.time < OWN_FROM else _rates("2.123456789012", "0.7", "9")
        return None

    def cost(self) -> Fraction:
        rates = self.rates()
        if self.usage is None or rates is None:
            return Fraction()
        prompt, cached, completion, _ = self.usage
        return (max(0, prompt - cached) * rates[0] + cached * rates[1] + completion * rates[2]) / 10**6

    def unpriced(self) -> int:
        """Tokens that were charged for nothing: of what exceeds its whole, each once."""
        if self.usage is None or self.rates() is not None:
            return 0
        prompt, cached, completion, _ = self.usage
        return max(prompt, cached) + completion


def _rates(prompt: str, cached: str, completion: str) -> Rates:
    return Fraction(prompt), Fraction(cached), Fraction(completion)


moments = st.integers(0, int((LAST - FIRST) / HOUR) - 1).map(lambda hours: FIRST + hours * HOUR) | st.sampled_from(
    [CHANGE - HOUR, CHANGE, OWN_FROM - timedelta(microseconds=1), OWN_FROM]
)
amounts = st.integers(0, 3) | st.integers(0, 10**9)
calls_paid = st.builds(
    Paid,
    app=st.sampled_from(["a", "b"]),
    model=st.sampled_from([None, "o3", "gpt-4o-2024-08-06", "somebody's"]),
    deployment=st.sampled_from(["chat", "ptu"]),
    time=moments,
    partition=st.sampled_from("01"),
    usage=st.none() | st.tuples(amounts, amounts, amounts, amounts),
)
GROUPS = st.lists(st.sampled_from(["app", "model", "deployment"]), unique=True).map(tuple)


async def enter(services: Services, **prices: dict[str, Any]) -> None:
    for name, document in prices.items():
        await services.prices.edit(name, lambda _, document=document: document, FIRST)  # type: ignore[misc]


async def asked(start: datetime, end: datetime, granularity: str, group_by: Sequence[str], tz: str = "UTC") -> Any:
    question = {"from": start.isoformat(), "to": end.isoformat(), "granularity": granularity, "tz": tz}
    reply = await ask("usage", {**question, "group_by": ",".join(group_by) or "none"})
    assert reply.status == 200, reply
    return reply.json


def check(shown: Any, calls: Sequence[Paid], start: datetime, end: datetime, group_by: Sequence[str]) -> None:
    """Each group costs what its calls do, over all its rows; and so do all of them together."""
    members: dict[tuple[Any, ...], list[Paid]] = defaultdict(list)
    for call in calls:
        if start <= call.time < end:
            members[tuple(getattr(call, name) for name in group_by)].append(call)
    rows: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in shown["rows"]:
        rows[tuple(row[name] for name in group_by)].append(row)
    assert rows.keys() == members.keys()
    for group, found in members.items():
        assert _cost(rows[group]) == sum((call.cost() for call in found), Fraction())
        assert sum(row["unpriced_tokens"] for row in rows[group]) == sum(call.unpriced() for call in found)
    every = [call for found in members.values() for call in found]
    assert _cost([shown["totals"]]) == sum((call.cost() for call in every), Fraction()) == _cost(shown["rows"])
    assert shown["totals"]["unpriced_tokens"] == sum(call.unpriced() for call in every)
    for row in [*shown["rows"], shown["totals"]]:
        assert row["cost"] is not None or row["unpriced_tokens"] > 0
    priced = any(call.rates() and sum(call.usage[:3]) for call in every if call.usage)
    assert (shown["totals"]["cost"] is None) == (shown["totals"]["unpriced_tokens"] > 0 and not priced)


def _cost(rows: Sequence[Any]) -> Fraction:
    assert all("E" not in (row["cost"] or "") for row in rows)
    return sum((Fraction(row["cost"] or 0) for row in rows), Fraction())


# Each example fills tables of its own; shrinking one that fails would take minutes, and it is small as it is.
@settings(
    max_examples=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    calls=st.lists(calls_paid, max_size=16),
    cuts=st.lists(moments.map(lambda time: time.replace(minute=0, second=0, microsecond=0)), max_size=3).map(sorted),
    granularity=st.sampled_from(["hour", "day", "month", "total"]),
    group_by=GROUPS,
    tz=st.sampled_from(["UTC", "Europe/Berlin"]),
)
async def test_any_partition_and_grouping_of_a_range_costs_what_its_calls_do(
    configure: Configure,
    calls: list[Paid],
    cuts: list[datetime],
    granularity: str,
    group_by: tuple[str, ...],
    tz: str,
) -> None:
    """A month row is never charged at one price where two applied, whatever rows the answer is read from."""
    services = await configure(PRICE_PROVIDERS="openai")
    await fill(services, [(call.event(), call.partition) for call in calls])
    await enter(services, ptu=PTU, own=OWN)
    whole = await asked(FIRST, LAST, granularity, group_by, tz)
    check(whole, calls, FIRST, LAST, group_by)
    parts = []
    for start, end in pairwise(dict.fromkeys([FIRST, *cuts, LAST])):
        parts.append(await asked(start, end, granularity, group_by, tz))
        check(parts[-1], calls, start, end, group_by)
    assert _cost([part["totals"] for part in parts]) == _cost([whole["totals"]])


async def test_answers_from_call_rows_cost_the_same(configure: Configure) -> None:
    """A dimension that is not summed up, and a zone whose buckets begin inside the hours of UTC."""
    services = await configure(PRICE_PROVIDERS="openai")
    minutes = range(-40 * 60, 40 * 60, 37)
    calls = [
        paid(
            time=OWN_FROM + number * timedelta(minutes=1),
            deployment=("chat", "ptu")[number % 2],
            app="ab"[number % 3 % 2],
        )
        for number in minutes
    ]
    await fill(services, [(call.event(), "0") for call in calls])
    await enter(services, ptu=PTU | {"scope": {"deployment": "ptu", "app": "a"}}, own=OWN)
    start, end = OWN_FROM - 2 * DAY, OWN_FROM + 2 * DAY
    summed = await asked(start, end, "hour", ["app"])
    from_calls = await asked(start, end, "hour", ["app", "backend"])
    assert (summed["source"], from_calls["source"]) == ("aggregates", "calls")
    in_india = await asked(start, end, "hour", ["app"], "Asia/Kolkata")
    assert in_india["source"] in ("both", "calls")
    costs = {shown["totals"]["cost"] for shown in (summed, from_calls, in_india)}
    assert costs == {summed["totals"]["cost"]}
    assert _cost(in_india["rows"]) == _cost(from_calls["rows"]) == _cost(summed["rows"])
    dearest = await ask("usage", {"from": start.isoformat(), "to": end.isoformat(), "order_by": "-cost", "limit": "3"})
    found = [Fraction(row["cost"]) for row in dearest.json["rows"]]
    assert found == sorted(found, reverse=True)


def paid(**changes: Any) -> Paid:
    given: dict[str, Any] = {"app": "a", "model": "gpt-4o-2024-08-06", "deployment": "chat", "partition": "0"}
    given |= {"time": CHANGE, "usage": (1_000_000, 0, 0, 0)}
    return Paid(**given | changes)


async def total(**parameters: str) -> Any:
    times = {"from": "2025-06-01T00:00:00Z", "to": "2025-07-01T00:00:00Z", "granularity": "month"}
    reply = await ask("usage", {**times, **parameters})
    assert reply.status == 200, reply
    return reply.json


async def test_correcting_a_price_corrects_history(configure: Configure) -> None:
    services = await configure()
    await fill(services, [(paid().event(), "0")])
    assert (await total())["totals"]["cost"] == "2.5"
    await enter(services, own=OWN | {"valid_from": None, "per_million": {"prompt_tokens": "2"}})
    assert (await total())["totals"]["cost"] == "2"
    await enter(services, own=OWN | {"valid_from": None, "per_million": {"prompt_tokens": "2.000001"}})
    assert (await total())["totals"]["cost"] == "2.000001"


async def test_how_much_a_cost_changed_is_not_known_where_some_of_it_has_no_price(configure: Configure) -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    times = {"2026-11-04T12:00:00Z": "somebody's", "2026-11-05T12:00:00Z": "gpt-4o-2024-08-06"}
    events = [usage_event(usage=usage, response_model=model, timestamp=time) for time, model in times.items()]
    await fill(await configure(), [(event, "0") for event in events])
    asked = {"from": "2026-11-05T00:00:00Z", "to": "2026-11-06T00:00:00Z", "granularity": "total"}
    shown = (await ask("usage", asked | {"compare": "previous", "group_by": "none"})).json
    assert (shown["totals"]["cost"], shown["change"]["cost"], shown["change"]["prompt_tokens"]) == ("2.5", None, 0)
    assert shown["rows"][0]["change"]["cost"] is None


async def test_a_model_without_price_is_unpriced_and_its_cost_is_null_and_an_empty_cell(configure: Configure) -> None:
    await fill(await configure(), [(paid(model="somebody's").event(), "0")])
    totals = (await total())["totals"]
    assert (totals["cost"], totals["unpriced_tokens"], totals["approximate_cost"]) == (None, 1_000_000, "0")
    times = {"from": "2025-06-01T00:00:00Z", "to": "2025-07-01T00:00:00Z", "granularity": "month"}
    (row,) = (await ask("usage", {**times, "format": "csv"})).csv
    assert (row["cost"], row["unpriced_tokens"]) == ("", "1000000")


async def test_a_month_without_a_change_of_prices_is_read_from_its_month_row(configure: Configure) -> None:
    """Only where a price of a model that had calls changes, finer rows are read."""
    services = await configure(PRICE_PROVIDERS="openai", QUERY_MAX_ENTITIES="1000")
    calls = [paid(app="a", time=FIRST + number * HOUR) for number in range(20)]
    await fill(services, [(call.event(), "0") for call in calls])
    read: list[str] = []
    rows_in = services.usage.range

    async def counted(*arguments: Any, **named: Any) -> Any:
        async for row in rows_in(*arguments, **named):
            read.append(row.columns["RowKey"][0])
            yield row

    services.usage.range = counted  # type: ignore[method-assign]
    question = {"from": "2025-05-01T00:00:00Z", "to": "2025-06-01T00:00:00Z", "granularity": "month"}
    assert (await ask("usage", question)).json["totals"]["cost"] == "50"
    assert read == ["m"]
    read.clear()
    await enter(services, own=OWN | {"valid_from": "2025-05-30T06:00:00Z"})
    assert Fraction((await ask("usage", question)).json["totals"]["cost"]) == 6 * Fraction("2.5") + 14 * Fraction(
        "2.123456789012"
    )
    assert sorted(read) == ["h"] * 20


async def test_what_caching_saved(configure: Configure) -> None:
    """GPT-4o's cached prompt costs half: 1.25 less per million. Of what has no price nothing is known."""
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 400_000}}
    models = ("gpt-4o", "somebody's")
    events = [usage_event(response_model=model, timestamp=CHANGE.isoformat(), usage=usage) for model in models]
    await fill(await configure(), [(event, "0") for event in events])
    answer = await total(group_by="model")
    assert {row["model"]: row["cache_savings"] for row in answer["rows"]} == {"gpt-4o": "0.5", "somebody's": None}
    assert answer["totals"]["cache_savings"] == "0.5"


async def test_the_share_that_is_approximate_is_named(configure: Configure) -> None:
    """Prompts of more than 200,000 tokens cost more; sums do not tell how long each was."""
    await fill(await configure(), [(paid(model="gemini-2.5-pro").event(), "0"), (paid().event(), "0")])
    totals = (await total())["totals"]
    assert (totals["cost"], totals["approximate_cost"]) == ("3.75", "1.25")


async def test_a_total_without_its_parts_and_seconds_of_audio(configure: Configure) -> None:
    whisper = {"type": "duration", "seconds": 60}
    events = [
        usage_event(response_model="whisper-1", timestamp=CHANGE.isoformat(), usage=whisper),
        usage_event(response_model="somebody's", timestamp=CHANGE.isoformat(), usage=whisper),
        usage_event(response_model="gpt-4o", timestamp=CHANGE.isoformat(), usage={"total_tokens": 70}),
    ]
    await fill(await configure(), [(event, "0") for event in events])
    rows = {row["model"]: row for row in (await total(group_by="model"))["rows"]}
    assert (rows["whisper-1"]["cost"], rows["whisper-1"]["audio_seconds"]) == ("0.006", 60)
    assert (rows["somebody's"]["cost"], rows["somebody's"]["unpriced_audio_seconds"]) == (None, 60)
    assert (rows["gpt-4o"]["cost"], rows["gpt-4o"]["unpriced_tokens"]) == (None, 70)


async def test_without_providers_only_ones_own_prices_count(configure: Configure) -> None:
    services = await configure(PRICE_PROVIDERS="")
    await fill(services, [(paid().event(), "0"), (paid(deployment="ptu").event(), "0")])
    await enter(services, ptu=PTU)
    totals = (await total())["totals"]
    assert (totals["cost"], totals["unpriced_tokens"]) == ("0.3", 1_000_000)


async def test_a_provider_that_there_is_not_is_a_fault_of_the_settings(configure: Configure) -> None:
    await configure(PRICE_PROVIDERS="azure,nobody")
    assert (await ask("usage")).error["code"] == "misconfigured"
    with pytest.raises(SettingsError, match="PRICE_PROVIDERS"):
        Catalogue(["nobody"]).load()


async def test_sums_of_64_bits_at_the_dearest_rate_lose_no_digit(configure: Configure) -> None:
    services = await configure()
    calls = [paid(usage=(10**12 // 2, 0, 10**12 // 2, 0), time=CHANGE + number * DAY) for number in range(3)]
    await fill(services, [(call.event(), "0") for call in calls])
    rate = "999999999.999999999999"
    await enter(services, own=OWN | {"valid_from": None, "per_million": {"prompt_tokens": rate}})
    shown = await total()
    assert Decimal(shown["totals"]["cost"]) == 3 * Decimal(rate) * 10**6 / 2
    assert shown["totals"]["unpriced_tokens"] == 3 * 10**12 // 2


async def test_a_model_that_only_its_deployment_tells_is_priced_by_its_alias(configure: Configure) -> None:
    """The alias counts for the past too, and the months in which the price of that model changed are cut for it."""
    await fill(
        await configure(PRICE_PROVIDERS="openai"),
        [(paid(model=None, deployment="smart", time=time).event(), "0") for time in (CHANGE - HOUR, CHANGE)],
    )
    assert (await total())["totals"]["cost"] is None
    await ask_one("model_entry", "models", "deployment", "smart", method="PUT", body={"model": "o3"})
    shown = await total(group_by="model")
    assert [(row["model"], row["cost"]) for row in shown["rows"]] == [("o3", "12")]
    listed = (await ask("prices", {"from": "2025-06-01T00:00:00Z", "to": "2025-07-01T00:00:00Z"})).json["models"]
    assert [(model["model"], model["deployments"], len(model["prices"])) for model in listed] == [("o3", ["smart"], 2)]


async def test_costs_are_compared_exactly_and_a_fall_is_a_number_in_csv(configure: Configure) -> None:
    services = await configure()
    await enter(services, own=OWN | {"valid_from": None, "per_million": {"prompt_tokens": "0.000000000003"}})
    calls = [paid(time=CHANGE - DAY, usage=(10**12, 0, 0, 0)), paid(time=CHANGE, usage=(1, 0, 0, 0))]
    await fill(services, [(call.event(), "0") for call in calls])
    day = {"from": CHANGE.isoformat(), "to": (CHANGE + DAY).isoformat(), "granularity": "day", "compare": "previous"}
    shown = (await ask("usage", day)).json
    assert shown["previous"]["totals"]["cost"] == "0.000003"
    assert shown["change"]["cost"] == shown["rows"][0]["change"]["cost"] == "-0.000002999999999997"
    (row,) = (await ask("usage", {**day, "format": "csv"})).csv
    assert row["change_cost"] == "-0.000002999999999997"


async def test_a_call_costs_the_same_alone_and_in_sums_that_do_not_tell_its_deployment(configure: Configure) -> None:
    """The operator adds the dimension afterwards: what was summed up before stays at the price that it had."""
    found = await configure(AGGREGATE_DIMENSIONS="product")
    tables = found.settings.table_prefix
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    told = {"timestamp": "2024-02-29T12:00:00Z", "deployment": "ptu", "usage": usage}
    named, unnamed = usage_event(**told), usage_event(**told | {"response_model": None, "deployment": "dep-x"})
    await fill(found, [(named, "0"), (unnamed, "0")])
    await configure(TABLE_PREFIX=tables, AGGREGATE_DIMENSIONS="product,deployment")
    for name, price in (("ptu", PTU), ("general", {"model": "gpt-4o*", "per_million": {"prompt_tokens": "0.5"}})):
        made = await ask_one("price", "prices", "id", name, method="PUT", body=price)
        assert made.status == 201, made
    await ask_one("model_entry", "models", "deployment", "dep-x", method="PUT", body={"model": "gpt-4o"})
    day = {"from": "2024-02-29T00:00:00Z", "to": "2024-03-01T00:00:00Z"}
    for cut in ({"group_by": "none"}, {"group_by": "user"}, {"group_by": "app,model"}, {"granularity": "total"}):
        answer = (await ask("usage", day | cut)).json
        totals = answer["totals"]
        assert (totals["cost"], totals["unpriced_tokens"]) == ("0.5", 1_000_000), cut
        assert answer["not_aggregated"]["deployment"] == 2, cut


async def test_totals_without_their_parts_can_have_a_price(configure: Configure) -> None:
    usage = {"total_tokens": 1_000_000}
    events = [
        usage_event(timestamp="2024-02-29T12:00:00Z", response_model=model, usage=usage) for model in ("v", "w", "x")
    ]
    await fill(await configure(), [(event, "0") for event in events])
    rates = {
        "v": {"prompt_tokens": "0.06"},
        "w": {"total_tokens": "3"},
        "x": {"prompt_tokens": "1", "completion_tokens": "2"},
    }
    for model, per_million in rates.items():
        body = {"model": model, "per_million": per_million}
        assert (await ask_one("price", "prices", "id", model, method="PUT", body=body)).status == 201
    answer = (
        await ask("usage", {"from": "2024-02-29T00:00:00Z", "to": "2024-03-01T00:00:00Z", "group_by": "model"})
    ).json
    assert [(row["cost"], row["unpriced_tokens"]) for row in answer["rows"]] == [
        ("0.06", 0),
        ("3", 0),
        (None, 1_000_000),
    ]
