"""What the app's settings and entries make of a question: for the API and for the timers."""

import asyncio

from queries.asking import Asker, names_entered
from queries.pricing import Pricing
from queries.read import Bounds, UsageReader
from services import Services


async def asker_of(found: Services, endpoint: str) -> Asker:
    """Asks with what is entered now; rows that are read are told under `endpoint`. Raises StoreBusy, SettingsError."""
    settings = found.settings
    pricing = Pricing(found.prices, found.catalogue, found.directory)
    names, book = await asyncio.gather(names_entered(found.models, found.apps), pricing.book())
    reader = UsageReader(found.usage, found.directory, concurrency=settings.query_concurrency, bounds=bounds_of(found))
    return Asker(reader, pricing, names, book, lambda rows: found.telemetry.entities_read(endpoint, rows))


def bounds_of(found: Services) -> Bounds:
    """The bounds that the settings give every question."""
    settings = found.settings
    return Bounds(
        max_entities=settings.query_max_entities,
        max_calls=settings.query_max_calls,
        max_call_days=settings.query_max_call_days,
        max_requests=settings.query_max_requests,
        max_seconds=settings.query_max_seconds,
        call_retention_days=settings.call_retention_days,
    )
