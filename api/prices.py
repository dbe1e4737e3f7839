"""GET /api/prices: which price applies to which model, from when and from where; and what has none.
GET, PUT, DELETE /api/prices/{id}: a price of the operator's own.

An own price is never overwritten: each edit makes a version, whose number is the ETag; deleting ends its validity.
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import services
from api.edits import checked_id, json_body, refuse_changed, shown_version, version_answer, version_etag
from api.registry import names
from api.response import Request, Response, json_response
from api.usage import answered
from api.used import used
from ledger.versions import Document, Version
from models.errors import QueryError
from prices.book import Candidate, PriceBook
from prices.entry import PriceEntry, read_entry, stored_entry
from prices.price import ASPECTS, KINDS, charges, decimal_text, hour_text
from queries.parameters import EndParameters, PricesParameters
from queries.pricing import Pricing
from queries.question import UsageQuery, full_hour, one_of, refuse_unknown, single, time_range
from queries.spans import months

DEFAULT_RANGE: Final = timedelta(days=31)
MAX_PRICES: Final = 2_000
"""All of them are read for each question."""
HOUR: Final = timedelta(hours=1)


async def listed(request: Request) -> Response:
    """The prices of each model that had calls in the months of a range; with `missing=1`, what had none in it. Who may
    not see all apps is told of the models of its apps, and of those own prices that can apply to their calls."""
    refuse_unknown(request.parameters, PricesParameters.names())
    found, now = services.get(), services.now()
    start, end = time_range(request.parameters, now, found.settings.query_max_days, DEFAULT_RANGE)
    at, model = full_hour(request.parameters, "at"), single(request.parameters, "model")
    answer: dict[str, Any] = {"from": _text(start), "to": _text(end), "currency": "USD"}
    if one_of(request.parameters, "missing", PricesParameters.choices("missing"), "0") == "1":
        return json_response(answer | {"missing": await _missing(start, end, model, now, request.allowed)})
    deployments: dict[str | None, set[str]] = {} if model is None else {model: set()}
    entered, had = await asyncio.gather(names(), used(months(start, end), request.allowed, now))
    book = await Pricing(found.prices, found.catalogue, found.directory).book(lambda entry: had.shows(entry, entered))
    for answering, deployment in had.pairs:
        name = entered.model(answering, deployment)
        if model in (None, name):
            deployments.setdefault(name, set()).update([deployment] if deployment is not None else [])
    ordered = sorted(deployments.items(), key=lambda item: (item[0] is not None, item[0] or ""))
    models = [
        {"model": name, "deployments": sorted(of), "prices": _applying(book, name, start, end, at)}
        for name, of in ordered
    ]
    own = [
        version
        for version in await found.prices.all()
        if (model is None or _entry(version).matches(model)) and had.shows(_entry(version), entered)
    ]
    catalogue = found.catalogue.version if found.catalogue else None
    shown = [shown_version(version) for version in own]
    return json_response(answer | {"catalogue": catalogue, "models": models, "own": shown})


async def one(request: Request) -> Response:
    """An own price with its history, or a new version of it."""
    name = checked_id(request.route["id"])
    if request.method == "PUT":
        return await _put(request, name)
    if request.method == "DELETE":
        return await _end(request, name)
    refuse_unknown(request.parameters, ())
    history = await services.get().prices.history(name)
    if not history:
        raise _not_found()
    return _answer(history[-1], history=[shown_version(version) for version in history])


async def _put(request: Request, name: str) -> Response:
    refuse_unknown(request.parameters, ())
    found = services.get()
    entry = read_entry(json_body(request.body, "a price"))
    for dimension in entry.scope:
        if dimension not in ("app", *found.settings.dimensions):
            message = f"usage is not summed up by {dimension}, so no price can depend on it; an operator can add it to "
            raise QueryError("dimension_not_aggregated", f"{message}AGGREGATE_DIMENSIONS", f"scope.{dimension}")
    document = entry.model_dump(mode="json")
    existing = {version.id for version in await found.prices.all()}
    if name not in existing and len(existing) >= MAX_PRICES:
        raise QueryError("too_many_prices", f"there are {MAX_PRICES} prices of your own, which is the most", None, 409)

    def change(before: Version | None) -> Document:
        if before is None or before.document != document:
            refuse_changed(request.headers, version_etag(before), "price")
        return document

    made = await found.prices.edit(name, change, services.now())
    return _answer(made, 200 if name in existing else 201)


async def _end(request: Request, name: str) -> Response:
    """What was charged until now stays so, unless an earlier `valid_to` is given."""
    refuse_unknown(request.parameters, EndParameters.names())
    now = services.now()
    given = full_hour(request.parameters, "valid_to") or now.replace(minute=0, second=0, microsecond=0) + HOUR

    def change(before: Version | None) -> Document:
        if before is None:
            raise _not_found()
        refuse_changed(request.headers, version_etag(before), "price")
        entry = _entry(before)
        end = max(given, entry.valid_from or given)
        return entry.model_copy(update={"valid_to": min(end, entry.valid_to or end)}).model_dump(mode="json")

    return _answer(await services.get().prices.edit(name, change, now))


async def _missing(
    start: datetime, end: datetime, model: str | None, now: datetime, allowed: Collection[str] | None
) -> list[dict[str, Any]]:
    """What was charged nothing for want of a price, by model, and by deployment where that is summed up. The calls are
    those that reported usage where there is no price, or one without a rate that they need."""
    groups = ("model", "deployment") if "deployment" in services.get().settings.dimensions else ("model",)
    filters = {} if model is None else {"model": frozenset([model])}
    answer = await answered(UsageQuery(start, end, "total", groups, filters), now, allowed)
    return [
        {
            **{name: row[name] for name in groups},
            "calls": sum(
                counted.get("usage_reported", 0)
                for price, counted in sums.items()
                if any(charge.amount is None for charge in charges(counted, price))
            ),
            **{name: row[name] for name in ("unpriced_tokens", "unpriced_audio_seconds")},
        }
        for row, sums in zip(answer.rows, answer.sums, strict=True)
        if row["unpriced_tokens"] or row["unpriced_audio_seconds"]
    ]


def _applying(
    book: PriceBook, model: str | None, start: datetime, end: datetime, at: datetime | None
) -> list[dict[str, Any]]:
    """The prices that apply at a time, or at any of the range: of those whose scope a call has, the first does."""
    first, last = (start, end - HOUR) if at is None else (at, at)
    return [
        _price(candidate)
        for candidate in book.candidates(model)
        if candidate.price.first_hour <= hour_text(last) and candidate.price.end_hour > hour_text(first)
    ]


def _price(candidate: Candidate) -> dict[str, Any]:
    price, scope = candidate
    return {
        "source": price.source,
        "scope": dict(scope),
        "valid_from": price.valid_from and _text(price.valid_from),
        "valid_to": price.valid_to and _text(price.valid_to),
        "per_million": {kind: decimal_text(price.per_million[kind]) for kind in KINDS if kind in price.per_million},
        "approximations": {name: ASPECTS[name] for name in price.approximations},
    }


def _entry(version: Version) -> PriceEntry:
    return stored_entry(version.document)


def _answer(version: Version, status: int = 200, **more: Any) -> Response:
    return version_answer(version, shown_version(version) | more, status)


def _not_found() -> QueryError:
    return QueryError("not_found", "there is no price of your own with this id", "id", 404)


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
