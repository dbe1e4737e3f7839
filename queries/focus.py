"""Charges as CSV in the columns of FOCUS 1.3, dataset Cost and Usage (focus.finops.org, "FOCUS Specification v1.3").

docs/focus.md says what each column means here, and where there is nothing honest to put into one.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from models.errors import QueryError
from prices.price import AUDIO_SECONDS, EXACT, Charge, Price, charges, decimal_text
from queries.answer import Sums
from queries.buckets import bucket_starts, midnight, month_after
from queries.export import Page
from queries.names import UNNAMED_MODEL, Names
from queries.present import csv_text
from queries.question import Parameters, UsageQuery

FOCUS_TYPE: Final = "text/csv; charset=utf-8; profile=focus"
GROUPS: Final = ("app", "model")
"""What a charge is of; more of them become columns of their own."""

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
)
"""The columns of FOCUS that a file has, in its order; after them come those of ours."""
OWN_COLUMNS: Final = ("x_Model", "x_TokenType", "x_PriceSource", "x_Approximations")
_ISSUER: Final = (
    "BillingAccountId",
    "BillingAccountName",
    "HostProviderName",
    "InvoiceIssuerName",
    "ProviderName",
    "PublisherName",
    "ServiceProviderName",
)
"""Who charges the apps. The first two: there is one account, of which the apps are the sub accounts."""
_CHOSEN_BY_OTHERS: Final = ("ChargeDescription", "SkuId", "SkuPriceId", "SubAccountId", "SubAccountName")

_METERS: Final[Mapping[str, str]] = {
    "prompt_tokens": "Prompt tokens, uncached",
    "cached_prompt_tokens": "Prompt tokens, cached",
    "cache_write_prompt_tokens": "Prompt tokens, written to the cache",
    "audio_prompt_tokens": "Prompt tokens, audio",
    "image_prompt_tokens": "Prompt tokens, image",
    "cached_audio_prompt_tokens": "Prompt tokens, cached audio",
    "cached_image_prompt_tokens": "Prompt tokens, cached image",
    "completion_tokens": "Completion tokens",
    "audio_completion_tokens": "Completion tokens, audio",
    "image_completion_tokens": "Completion tokens, image",
    "total_tokens": "Tokens, not told apart",
    AUDIO_SECONDS: "Audio seconds",
}


def focus_parameters(parameters: Parameters) -> Parameters:
    """The question with what FOCUS takes for granted: charges by day, app and model."""
    return {"granularity": ["day"], "group_by": [",".join(GROUPS)], **parameters}


def refuse_unfit(query: UsageQuery) -> None:
    """Raises QueryError for what cannot be said in charges."""
    if query.granularity == "total":
        message = "granularity is 'total', which FOCUS does not know; expected hour, day or month"
        raise QueryError("invalid_parameter", message, "granularity")
    if query.figures:
        raise QueryError("invalid_parameter", "figures is given, but the columns are those of FOCUS", "figures")
    if not set(GROUPS) <= set(query.group_by):
        message = "group_by lacks app or model: FOCUS has a row for each; others may stand beside them"
        raise QueryError("invalid_parameter", message, "group_by")
    for name, given in (("fill", query.fill), ("compare", query.compare)):
        if given:
            raise QueryError("invalid_parameter", f"{name} does not go with format=focus: leave it out", name)


def as_focus(page: Page, names: Names, provider: str) -> str:
    """A row for each charge period, app, model, kind of token and price. `provider` charges the apps."""
    beside = {name: _column(name) for name in page.query.group_by if name not in GROUPS}
    header = [*COLUMNS, *OWN_COLUMNS, *beside.values()]
    issuer = dict.fromkeys(_ISSUER, provider)
    texts = [*_ISSUER, *_CHOSEN_BY_OTHERS, *OWN_COLUMNS, *beside.values()]
    return csv_text(header, _rows(page, names, issuer, beside), texts)


def _rows(
    page: Page, names: Names, issuer: Mapping[str, str], beside: Mapping[str, str]
) -> Iterator[Mapping[str, str | None]]:
    periods = _Periods(page.query)
    for row, sums in zip(page.rows, page.sums, strict=True):
        known = {
            **_FIXED,
            **issuer,
            **periods.of(datetime.fromisoformat(row["start"])),
            **_account(row["app"], names),
            **{column: row[name] for name, column in beside.items()},
        }
        for charge, price in _merged(sums):
            yield known | _charged(row["model"], charge, price)


def _merged(sums: Sums) -> Iterable[tuple[Charge, Price | None]]:
    """What sums are charged for, once for each kind, rate and source of the price; None where there is none."""
    found: dict[tuple[object, ...], tuple[Charge, Price | None]] = {}
    for price, counted in sums.items():
        for charge in charges(counted, price):
            priced = None if charge.rate is None else price
            key = charge.kind, charge.rate, charge.approximations, priced and priced.source
            before, _ = found.get(key, (None, None))
            if before is not None:
                more = None if charge.amount is None else EXACT.add(charge.amount, before.amount or 0)
                charge = charge._replace(quantity=charge.quantity + before.quantity, amount=more)
            found[key] = charge, priced
    return found.values()


_FIXED: Final[Mapping[str, str | None]] = {
    "BillingCurrency": "USD",
    "ChargeCategory": "Usage",
    "ChargeClass": None,
    "ChargeFrequency": "Usage-Based",
    "PricingCategory": "Standard",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Language models",
    "ServiceSubcategory": "Generative AI",
}


class _Periods:
    """The charge and billing periods of a question's buckets."""

    def __init__(self, query: UsageQuery):
        self._query = query
        self._starts = bucket_starts(query.start, query.end, query.granularity, query.zone)
        self._known: dict[datetime, Mapping[str, str]] = {}

    def of(self, bucket: datetime) -> Mapping[str, str]:
        """A bucket's period, as far as it lies in the range: only that was counted."""
        if bucket not in self._known:
            after: Sequence[datetime] = self._starts[bisect_right(self._starts, bucket) :]
            start, end = max(bucket, self._query.start), min([*after[:1], self._query.end])
            month = start.astimezone(self._query.zone).date().replace(day=1)
            self._known[bucket] = {
                "ChargePeriodStart": _utc(start),
                "ChargePeriodEnd": _utc(end),
                "BillingPeriodStart": _utc(midnight(month, self._query.zone)),
                "BillingPeriodEnd": _utc(midnight(month_after(month), self._query.zone)),
            }
        return self._known[bucket]


def _account(app: str, names: Names) -> dict[str, str | None]:
    center = names.cost_centers.get(app)
    return {
        "SubAccountId": app,
        "SubAccountName": names.display_names.get(app, app),
        "Tags": None if center is None else _json({"cost_center": center}),
    }


def _charged(model: str | None, charge: Charge, price: Price | None) -> dict[str, str | None]:
    """One charge. Without a price the costs and unit prices are null, since 0 would be a lie."""
    audio = charge.kind == AUDIO_SECONDS
    consumed = Decimal(charge.quantity).scaleb(-6 if audio else 0, EXACT)
    sku = f"{model or UNNAMED_MODEL}/{charge.kind}"
    amount = None if charge.amount is None else decimal_text(charge.amount)
    rate = None if charge.rate is None else decimal_text(charge.rate)
    unit = "Seconds" if audio else "Tokens"
    costs = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
    at = "no price" if rate is None else f"{rate} USD per 1000000 {unit}"
    return {
        **dict.fromkeys(costs, amount),
        **dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), rate),
        **dict.fromkeys(("SkuId", "SkuPriceId"), sku),
        "ChargeDescription": f"{model or UNNAMED_MODEL}: {_METERS[charge.kind]}, {at}",
        "ConsumedQuantity": decimal_text(consumed),
        "ConsumedUnit": unit,
        "PricingQuantity": decimal_text(consumed.scaleb(-6, EXACT)),
        "PricingUnit": f"1000000 {unit}",
        "SkuMeter": _METERS[charge.kind],
        "SkuPriceDetails": _json(({"x_Model": model} if model else {}) | {"x_TokenType": charge.kind}),
        "x_Model": model,
        "x_TokenType": charge.kind,
        "x_PriceSource": None if price is None else price.source,
        "x_Approximations": ", ".join(charge.approximations) or None,
    }


def _column(dimension: str) -> str:
    return "x_" + dimension.title().replace("_", "")


def _json(value: Mapping[str, str]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
