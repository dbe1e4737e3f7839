"""Which models a caller's apps used in the months of a range, by which deployments and with which other values."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import services
from asker import bounds_of
from ledger.store import Entity
from models.call import DIMENSIONS
from prices.entry import PriceEntry
from queries.buckets import month_after
from queries.names import Names
from queries.question import UsageQuery
from queries.read import UsageReader, in_time


class Used(NamedTuple):
    """`pairs` of model and deployment as calls told them. `values` are the app and the dimensions of each sum of them,
    None for those of all apps: the directory, which names the models, does not tell apps apart."""

    pairs: frozenset[tuple[str | None, str | None]]
    values: Sequence[Mapping[str, str | None]] | None = None

    def shows(self, entry: PriceEntry, names: Names) -> bool:
        """Whether a price of the operator's own may be shown: whether it can apply to what was used."""
        return self.values is None or any(
            entry.matches(names.model(values["model"], values["deployment"])) and entry.scope.items() <= values.items()
            for values in self.values
        )


async def used(months: Iterable[str], allowed: Collection[str] | None, now: datetime) -> Used:
    """What the apps (None: all) used in `months` (`YYYYMM`, without a gap). Which deployments some apps used is known
    only where usage is summed up by them. Raises QueryError and StoreBusy."""
    found, ordered = services.get(), sorted(months)
    if allowed is None:
        pairs = await asyncio.gather(*(found.directory.models(month) for month in ordered))
        return Used(frozenset(pair for of_month in pairs for pair in of_month))
    first, last = (datetime.strptime(month, "%Y%m").replace(tzinfo=UTC) for month in (ordered[0], ordered[-1]))
    end = datetime.combine(month_after(last.date()), first.timetz())
    calls: Counter[tuple[tuple[str, str | None], ...]] = Counter()

    def take(app: str, columns: Entity) -> None:
        told = ("model", *DIMENSIONS)
        calls[("app", app), *((name, columns.get(name)) for name in told)] += columns.get("calls", 0)

    reader = UsageReader(
        found.usage, found.directory, concurrency=found.settings.query_concurrency, bounds=bounds_of(found)
    )
    async with in_time(found.settings.query_max_seconds):
        await reader.read(UsageQuery(first, end, "total", (), {"app": frozenset(allowed)}), take, now)
    # Calls that were counted here until more was known of them leave sums of nothing.
    values = [dict(each) for each, number in calls.items() if number]
    return Used(frozenset((each["model"], each["deployment"]) for each in values), values)
