"""The prices for a question: the operator's own, read from their table, before the catalogue's."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from ledger.directory import Directory
from ledger.versions import Versions
from prices.book import PriceBook
from prices.catalogue import Catalogue
from prices.entry import PriceEntry, stored_entry
from queries.names import Names
from queries.question import UsageQuery
from queries.spans import months


class Pricing:
    """Reads the operator's prices for each question, so that a correction counts at once."""

    def __init__(self, own: Versions, catalogue: Catalogue | None, directory: Directory):
        self._own = own
        self._catalogue = catalogue
        self._directory = directory

    async def book(self, keep: Callable[[PriceEntry], bool] = lambda _: True) -> PriceBook:
        """The prices as they are now, of the operator's own those to `keep`. Raises StoreBusy, and SettingsError if the
        catalogue lacks a provider."""
        if self._catalogue and not self._catalogue.version:
            await asyncio.to_thread(self._catalogue.load)  # a second, in which the app goes on collecting
        own = {found.id: stored_entry(found.document) for found in await self._own.all()}
        return PriceBook({name: entry for name, entry in own.items() if keep(entry)}, self._catalogue)

    async def cut(self, query: UsageQuery, book: PriceBook, names: Names) -> UsageQuery:
        """The question with the edges at which prices of its models change. Raises StoreBusy."""
        models = await self._models(query, names)
        return replace(query, edges=tuple(book.changes(models, query.start, query.end)))

    async def _models(self, query: UsageQuery, names: Names) -> set[str | None]:
        if "model" in query.filters:
            return set(query.filters["model"])
        found = await asyncio.gather(*(self._directory.models(month) for month in months(query.start, query.end)))
        return {names.model(*pair) for pairs in found for pair in pairs}
