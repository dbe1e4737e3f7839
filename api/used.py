"""Which models a caller's apps used in the months of a range, by which deployments and with which other values."""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import services
from api.usage import bounds_of
from ledger.store import Entity
from prices.entry import PriceEntry
from queries.buckets import month_after
from queries.names import Names
from queries.question import UsageQuery
from queries.read import UsageReader, in_time


class Used(NamedTuple):
    """`pairs` of model and deployment as calls told them. `values` are the app and the dimensions of each sum of them,
    None for those of all apps: the directory, which names the models, does not tell apps apart."""

    pairs: frozenset[tuple[str | None, str | None]]
    values: list[Entity] | None = None

    def shows(self, entry: PriceEntry, names: Names) -> bool:
        """Whether a price of the operator's own may be shown: whether it can apply to what was used."""
        return self.values is None or any(
            entry.matches(names.value("model", values["app"], values)) and entry.scope.items() <= values.items()
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
    values: list[Entity] = []

    def take(app: str, columns: Entity) -> None:
        if columns.get("calls"):  # a call that was counted here until more was known of it leaves sums of nothing
            values.append({**columns, "app": app})

    reader = UsageReader(
        found.usage, found.directory, concurrency=found.settings.query_concurrency, bounds=bounds_of(found)
    )
    async with in_time(found.settings.query_max_seconds):
        await reader.read(UsageQuery(first, end, "total", (), {"app": frozenset(allowed)}), take, now)
    return Used(frozenset((each.get("model"), each.get("deployment")) for each in values), values)
