"""format=focus: what a reader of FOCUS 1.3 files is told, against the specification's columns and the JSON answer."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from queries.focus import COLUMNS, OWN_COLUMNS
from tests.api.asked import ask, ask_one
from tests.api.conftest import Configure
from tests.api.test_costs import CHANGE, FIRST, LAST, OWN, PTU, Paid, calls_paid, enter, paid
from tests.queries.filled import fill
from tests.support.events import usage_event


class Column(NamedTuple):
    """Of the specification: whether every file has it, whether it may be null, its type and allowed values."""

    mandatory: bool
    nullable: bool
    type: str = "String"
    allowed: tuple[str, ...] = ()


SPECIFICATION = {
    "BilledCost": Column(True, False, "Decimal"),
    "BillingAccountId": Column(True, False),
    "BillingAccountName": Column(True, True),
    "BillingCurrency": Column(True, False, "Currency"),
    "BillingPeriodEnd": Column(True, False, "Date/Time"),
    "BillingPeriodStart": Column(True, False, "Date/Time"),
    "ChargeCategory": Column(True, False, allowed=("Usage", "Purchase", "Tax", "Credit", "Adjustment")),
    "ChargeClass": Column(True, True, allowed=("Correction",)),
    "ChargeDescription": Column(True, True),
    "ChargeFrequency": Column(False, False, allowed=("One-Time", "Recurring", "Usage-Based")),
    "ChargePeriodEnd": Column(True, False, "Date/Time"),
    "ChargePeriodStart": Column(True, False, "Date/Time"),
    "ConsumedQuantity": Column(False, True, "Decimal"),
    "ConsumedUnit": Column(False, True, "Unit"),
    "ContractedCost": Column(True, False, "Decimal"),
    "ContractedUnitPrice": Column(False, True, "Decimal"),
    "EffectiveCost": Column(True, False, "Decimal"),
    "HostProviderName": Column(True, True),
    "InvoiceIssuerName": Column(True, False),
    "ListCost": Column(True, False, "Decimal"),
    "ListUnitPrice": Column(False, True, "Decimal"),
    "PricingCategory": Column(False, True, allowed=("Standard", "Dynamic", "Committed", "Other")),
    "PricingQuantity": Column(True, True, "Decimal"),
    "PricingUnit": Column(True, True, "Unit"),
    "ProviderName": Column(True, False),
    "PublisherName": Column(True, False),
    "ServiceCategory": Column(True, False, allowed=("AI and Machine Learning",)),
    "ServiceName": Column(True, False),
    "ServiceProviderName": Column(True, False),
    "ServiceSubcategory": Column(False, False, allowed=("AI Platforms", "Generative AI")),
    "SkuId": Column(False, True),
    "SkuMeter": Column(False, True),
    "SkuPriceDetails": Column(False, True, "JSON"),
    "SkuPriceId": Column(False, True),
    "SubAccountId": Column(False, True),
    "SubAccountName": Column(False, True),
    "Tags": Column(False, True, "JSON"),
}
"""FOCUS 1.3, dataset Cost and Usage (focus.finops.org, "FOCUS Specification v1.3"; github.com, FOCUS_Spec,
specification/datasets/cost_and_usage): all its mandatory columns and those conditional ones that apply here. Of the
categories of services, those that can be meant."""

FORMS = {
    "String": r"(?s).+",
    "Decimal": r"-?\d+(\.\d+)?",  # NumericFormat: no exponent, no plus, no thousands
    "Date/Time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",  # DateTimeFormat: ISO 8601 in UTC
    "Currency": r"[A-Z]{3}",
    "Unit": r"(\d+ )?[A-Z][a-z]+",  # UnitFormat
    "JSON": r"\{.*\}",
}
COSTS = ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost")
UNIT_PRICES = ("ContractedUnitPrice", "ListUnitPrice")


def check_row(row: dict[str, str]) -> None:
    """A row as the specification wants it; but the costs of what has no price are null (docs/focus.md)."""
    unpriced = row["x_PriceSource"] == ""
    for name, column in SPECIFICATION.items():
        value = row[name]
        if value == "":
            assert column.nullable or (unpriced and name in COSTS), (name, row)
            continue
        assert re.fullmatch(FORMS[column.type], value), (name, value)
        assert not column.allowed or value in column.allowed, (name, value)
    for name in ("SkuId", "SkuPriceId", "PricingQuantity", "PricingUnit", "PricingCategory", "ConsumedQuantity"):
        assert row[name], f"{name} is null, which ChargeCategory Usage forbids"
    for name in (*COSTS, *UNIT_PRICES):
        assert (row[name] == "") == unpriced, (name, row)
    if not unpriced:
        for cost, price in (("ContractedCost", "ContractedUnitPrice"), ("ListCost", "ListUnitPrice")):
            assert Fraction(row[cost]) == Fraction(row[price]) * Fraction(row["PricingQuantity"])
    starts, ends = (
        [datetime.fromisoformat(row[f"{of}Period{edge}"]) for of in ("Billing", "Charge")] for edge in ("Start", "End")
    )
    assert starts[0] <= starts[1] < ends[1] <= ends[0], row
    assert Fraction(row["PricingQuantity"]) * 1_000_000 == Fraction(row["ConsumedQuantity"])
    assert row["PricingUnit"] == f"1000000 {row['ConsumedUnit']}"


async def focus(parameters: dict[str, str]) -> list[dict[str, str]]:
    """All rows, page by page, each checked."""
    rows: list[dict[str, str]] = []
    cursor: dict[str, str] = {}
    while True:
        reply = await ask("usage", {**parameters, **cursor, "format": "focus"})
        assert reply.status == 200, reply
        rows += reply.csv
        if "X-Next-Cursor" not in reply.headers:
            for row in rows:
                check_row(row)
            return rows
        cursor = {"cursor": reply.headers["X-Next-Cursor"]}


def sum_of(rows: Sequence[dict[str, Any]], name: str) -> Fraction:
    return sum((Fraction(row[name] or 0) for row in rows), Fraction())


def tokens(call: Paid) -> int:
    """Each token once: what was cached is not prompt too, reasoning stands in the completion."""
    return 0 if call.usage is None else max(call.usage[0], call.usage[1]) + call.usage[2]


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    calls=st.lists(calls_paid, max_size=14),
    granularity=st.sampled_from(["hour", "day", "month"]),
    tz=st.sampled_from(["UTC", "Europe/Berlin"]),
    limit=st.none() | st.integers(1, 5),
)
async def test_rows_cost_what_the_answer_says_and_hold_each_token_once(
    configure: Configure, calls: list[Paid], granularity: str, tz: str, limit: int | None
) -> None:
    services = await configure(PRICE_PROVIDERS="openai")
    await fill(services, [(call.event(), call.partition) for call in calls])
    await enter(services, ptu=PTU, own=OWN)
    question = {"from": FIRST.isoformat(), "to": LAST.isoformat(), "granularity": granularity, "tz": tz}
    rows = await focus(question | ({"limit": str(limit)} if limit else {}))
    totals = (await ask("usage", question)).json["totals"]
    for name in COSTS:
        assert sum_of(rows, name) == Fraction(totals["cost"] or 0) == sum((call.cost() for call in calls), Fraction())
    by_app: dict[str, int] = defaultdict(int)
    for call in calls:
        by_app[call.app] += tokens(call)
    for app, expected in by_app.items():
        assert sum_of([row for row in rows if row["SubAccountId"] == app], "ConsumedQuantity") == expected
    assert sum_of([row for row in rows if not row["BilledCost"]], "ConsumedQuantity") == totals["unpriced_tokens"]
    key = ("ChargePeriodStart", "SubAccountId", "SkuId", "ListUnitPrice", "x_PriceSource")
    assert len({tuple(row[name] for name in key) for row in rows}) == len(rows)
    zone = ZoneInfo(tz)
    for row in rows:
        begin, end = (datetime.fromisoformat(row[f"BillingPeriod{edge}"]).astimezone(zone) for edge in ("Start", "End"))
        assert (begin.day, begin.hour, end.day, end.hour) == (1, 0, 1, 0)
        assert begin.date() + timedelta(days=31) >= end.date()


def test_the_columns_are_those_of_the_specification() -> None:
    """CustomColumnHandling: those of ours begin with x_ and come last."""
    assert set(COLUMNS) == set(SPECIFICATION)
    assert list(COLUMNS) == sorted(COLUMNS)
    assert all(name.startswith("x_") for name in OWN_COLUMNS)


async def test_a_row_says_what_was_used_and_at_which_price(configure: Configure) -> None:
    services = await configure(PRICE_PROVIDERS="openai", FOCUS_PROVIDER_NAME="Platform Team")
    await fill(services, [(paid(usage=(1_000_000, 400_000, 20, 10)).event(), "0")])
    entry = {"display_name": "=Search", "owner": "ann@example.com", "cost_center": "4711"}
    await ask_one("app_entry", "apps", "app", "a", method="PUT", body=entry)
    rows = await focus({"from": CHANGE.isoformat(), "to": (CHANGE + timedelta(hours=30)).isoformat()})
    found = {row["x_TokenType"]: (row["ConsumedQuantity"], row["ListUnitPrice"], row["BilledCost"]) for row in rows}
    assert found == {
        "cached_prompt_tokens": ("400000", "1.25", "0.5"),
        "prompt_tokens": ("600000", "2.5", "1.5"),
        "completion_tokens": ("20", "10", "0.0002"),
    }
    row = rows[0]
    expected = {
        "ChargePeriodStart": "2025-06-10T00:00:00Z",
        "ChargePeriodEnd": "2025-06-11T00:00:00Z",
        "BillingPeriodStart": "2025-06-01T00:00:00Z",
        "BillingPeriodEnd": "2025-07-01T00:00:00Z",
        "SubAccountId": "a",
        "SubAccountName": "'=Search",
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ConsumedUnit": "Tokens",
        "PricingUnit": "1000000 Tokens",
        "PricingQuantity": "0.4",
        "SkuId": "gpt-4o-2024-08-06/cached_prompt_tokens",
        "ChargeDescription": "gpt-4o-2024-08-06: Prompt tokens, cached, 1.25 USD per 1000000 Tokens",
        "InvoiceIssuerName": "Platform Team",
        "ProviderName": "Platform Team",
        "x_Model": "gpt-4o-2024-08-06",
    }
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["Tags"]) == {"cost_center": "4711"}
    assert "gpt-4o" in row["x_PriceSource"]


async def test_a_price_that_changes_within_a_day_gives_rows_of_its_own(configure: Configure) -> None:
    services = await configure(PRICE_PROVIDERS="")
    noon = CHANGE + timedelta(hours=12)
    for name, rate, edges in (("early", "1", {"valid_to": noon}), ("late", "3", {"valid_from": noon})):
        times = {edge: time.isoformat() for edge, time in edges.items()}
        await enter(services, **{name: {"model": "*", "per_million": {"prompt_tokens": rate}, **times}})
    hours = (1, 2, 13)
    await fill(services, [(paid(time=CHANGE + timedelta(hours=hour)).event(), "0") for hour in hours])
    rows = await focus({"from": CHANGE.isoformat(), "to": (CHANGE + timedelta(days=1)).isoformat()})
    assert {(row["ListUnitPrice"], row["PricingQuantity"], row["BilledCost"]) for row in rows} == {
        ("1", "2", "2"),
        ("3", "1", "3"),
    }


async def test_what_has_no_price_is_there_without_a_cost_never_with_0(configure: Configure) -> None:
    events = [
        paid(model="somebody's", usage=(7, 0, 2, 0)).event(),
        paid(model=None, usage=(5, 0, 0, 0)).event(),
        usage_event(app_id="a", response_model="gpt-4o", timestamp=CHANGE.isoformat(), usage={"total_tokens": 70}),
        usage_event(
            app_id="a",
            response_model="whisper-1",
            timestamp=CHANGE.isoformat(),
            usage={"type": "duration", "seconds": 60.5},
        ),
        paid(usage=None).event(),
    ]
    await fill(await configure(PRICE_PROVIDERS="openai"), [(event, "0") for event in events])
    rows = await focus({"from": CHANGE.isoformat(), "to": (CHANGE + timedelta(days=1)).isoformat()})
    told = {row["SkuId"]: (row["ConsumedQuantity"], row["ConsumedUnit"], row["BilledCost"]) for row in rows}
    assert told == {
        "somebody's/prompt_tokens": ("7", "Tokens", ""),
        "somebody's/completion_tokens": ("2", "Tokens", ""),
        "(unnamed model)/prompt_tokens": ("5", "Tokens", ""),
        "gpt-4o/total_tokens": ("70", "Tokens", ""),
        "whisper-1/audio_seconds": ("60.5", "Seconds", "0.00605"),
    }


async def test_other_dimensions_are_columns_of_ours(configure: Configure) -> None:
    await fill(await configure(), [(paid(deployment=name).event(), "0") for name in ("chat", "=ptu")])
    day = {"from": CHANGE.isoformat(), "to": (CHANGE + timedelta(days=1)).isoformat()}
    rows = await focus({**day, "group_by": "deployment,model,app"})
    assert [row["x_Deployment"] for row in rows] == ["'=ptu", "chat"]
    assert list(rows[0]) == [*COLUMNS, *OWN_COLUMNS, "x_Deployment"]


async def test_the_charge_period_ends_where_the_range_does(configure: Configure) -> None:
    """What was counted after it is not in the figures."""
    await fill(await configure(), [(paid(time=CHANGE + timedelta(hours=hour)).event(), "0") for hour in (1, 5)])
    hours = {"from": (CHANGE + timedelta(hours=1)).isoformat(), "to": (CHANGE + timedelta(hours=3)).isoformat()}
    for granularity in ("hour", "day", "month"):
        (row,) = await focus({**hours, "granularity": granularity})
        ends = "2025-06-10T02:00:00Z" if granularity == "hour" else "2025-06-10T03:00:00Z"
        assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2025-06-10T01:00:00Z", ends)
        assert Decimal(row["ConsumedQuantity"]) == 1_000_000


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"granularity": "total"}, "granularity"),
        ({"group_by": "app"}, "group_by"),
        ({"group_by": "none"}, "group_by"),
        ({"fill": "zero"}, "fill"),
        ({"compare": "previous"}, "compare"),
    ],
)
async def test_what_cannot_be_said_in_charges_is_refused(
    configure: Configure, changes: dict[str, str], parameter: str
) -> None:
    await configure()
    reply = await ask("usage", {"format": "focus", **changes})
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "invalid_parameter", parameter)


@pytest.mark.parametrize(
    "accept", ["text/csv;profile=focus", 'text/csv; q=0.9; profile="focus", application/json;q=0.1']
)
async def test_a_parameter_of_the_media_type_asks_for_it(configure: Configure, accept: str) -> None:
    await configure()
    reply = await ask("usage", "", {"Accept": accept})
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8; profile=focus"
    assert reply.text.startswith("BilledCost,BillingAccountId,")
    assert (await ask("calls", "app=x", {"Accept": accept})).headers["Content-Type"] == "application/json"
