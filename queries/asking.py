"""A question, asked of the tables: rows read within bounds, priced and named as the operator entered it."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from ledger.registry import Entries, Entry
from prices.book import PriceBook
from queries.answer import Fold
from queries.names import Names, narrowed
from queries.pricing import Pricing
from queries.question import UsageQuery
from queries.read import UsageReader

Told = Callable[[int], None]
"""Called with how many rows were read."""


def column(entries: Iterable[Entry], name: str) -> dict[str, str]:
    """One column of those entries that have it, by their names."""
    return {entry.name: entry.columns[name] for entry in entries if name in entry.columns}


async def names_entered(models: Entries, apps: Entries) -> Names:
    """What is entered now. Raises StoreBusy."""
    of_models, of_apps = await asyncio.gather(models.all(), apps.all())
    return Names(column(of_models, "model"), column(of_apps, "cost_center"), column(of_apps, "display_name"))


class Asker:
    """Asks any number of questions of one moment: names and prices are those it was made with, the same for all."""

    def __init__(self, reader: UsageReader, pricing: Pricing, names: Names, book: PriceBook, told: Told):
        self._reader = reader
        self._pricing = pricing
        self._book = book
        self._told = told
        self.names = names

    async def fold(self, query: UsageQuery, now: datetime, max_rows: int, allowed: Collection[str] | None) -> Fold:
        """The sums that answer a question, of the apps that its caller may see (None: all). Raises QueryError and
        StoreError."""
        cut = await self._pricing.cut(query, self._book, self.names)
        fold = Fold(cut, max_rows, self._book, self.names)
        taken = await self._reader.read(narrowed(cut, self.names, allowed), fold.take, now)
        self._told(taken.rows)
        fold.counted_at = taken.newest
        return fold
