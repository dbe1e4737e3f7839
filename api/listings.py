"""GET /api/apps and GET /api/models: what had calls in the months of a range."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import services
from api.registry import etag_of, shown
from api.response import Request, Response, json_response
from api.used import used
from ledger.registry import Entry
from models.registry import Alias, AppEntry
from queries import spans
from queries.asking import column
from queries.names import Names
from queries.parameters import AppsParameters, MonthsParameters
from queries.question import filters_of, refuse_unknown, time_range

DEFAULT_RANGE = timedelta(days=31)


async def apps(request: Request) -> Response:
    """Each app with the months (`YYYY-MM`) of the range in which it had calls, and what is entered of it; of those that
    the caller may see, and that the question names."""
    months = _months(request, AppsParameters.names())
    directory = services.get().directory
    entries = {entry.name: entry for entry in await services.get().apps.all()}
    wanted = filters_of(request.parameters, ("app",)).get("app")
    of_month = directory.apps if wanted is None else partial(directory.some_apps, apps=wanted)
    found = await asyncio.gather(*(of_month(month) for month in months))
    active: dict[str, list[str]] = defaultdict(list)
    for month, names in zip(months, found, strict=True):
        for app in names:
            active[app].append(_dashed(month))
    listed = []
    known = {*active, *entries}
    for only in (wanted, request.allowed):
        known = known if only is None else known & only
    for app in sorted(known):
        entry = entries.get(app)
        listed.append({"app": app, "months": active.get(app, []), **shown(entry, AppEntry), "etag": _etag(entry)})
    return json_response({"months": [_dashed(month) for month in months], "apps": listed})


async def models(request: Request) -> Response:
    """Each model with the deployments that it answered for, and the aliases; a null model did not say its name, and no
    alias says it for its deployment. To a caller who may not see all apps: what its apps used, with its aliases."""
    months = _months(request, MonthsParameters.names())
    entries = await services.get().models.all()
    names = Names(column(entries, "model"))
    pairs = (await used(months, request.allowed, services.now())).pairs
    deployments: dict[str | None, set[str]] = defaultdict(set)
    for model, deployment in pairs:
        deployments[names.model(model, deployment)].update([deployment] if deployment is not None else [])
    ordered = sorted(deployments.items(), key=lambda item: (item[0] is not None, item[0] or ""))
    listed = [{"model": model, "deployments": sorted(of)} for model, of in ordered]
    if request.allowed is not None:
        asked_for = {deployment for _, deployment in pairs}
        entries = [entry for entry in entries if entry.name in asked_for]
    aliases = [{"deployment": entry.name, **shown(entry, Alias), "etag": _etag(entry)} for entry in entries]
    return json_response({"months": [_dashed(month) for month in months], "models": listed, "aliases": aliases})


def _etag(entry: Entry | None) -> str | None:
    return None if entry is None else etag_of(entry)


def _months(request: Request, known: Sequence[str]) -> list[str]:
    refuse_unknown(request.parameters, known)
    max_days = services.get().settings.query_max_days
    start, end = time_range(request.parameters, services.now(), max_days, DEFAULT_RANGE)
    return spans.months(start, end)


def _dashed(month: str) -> str:
    return f"{month[:4]}-{month[4:]}"
