"""Which price applies to a model at a time: the operator's own, the most specific first; then the catalogue's."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from prices.catalogue import Catalogue
from prices.entry import PriceEntry
from prices.price import Price


class Candidate(NamedTuple):
    """A price that applies to a model's calls in its time, if they have all values of `scope`."""

    price: Price
    scope: Mapping[str, str]


class PriceBook:
    """Prices as they are now, for one question: it remembers what it was asked. `own` are those of the operator by
    their ids; without a catalogue they are all."""

    def __init__(self, own: Mapping[str, PriceEntry], catalogue: Catalogue | None):
        self._own = sorted(
            ((_rank(name, entry), entry, entry.price(name)) for name, entry in own.items()),
            key=lambda ranked: ranked[0],
            reverse=True,
        )
        self._catalogue = catalogue
        self._known: dict[str | None, tuple[Candidate, ...]] = {}
        self._scoped = sorted({name for entry in own.values() for name in entry.scope})
        self._scopes: dict[str | None, tuple[str, ...]] = {}
        self._fitting: dict[tuple[str | None, ...], list[Price]] = {}

    def candidates(self, model: str | None) -> tuple[Candidate, ...]:
        """All prices of a model, at any time: of those that apply to a call, the first does."""
        found = self._known.get(model)
        if found is None:
            own = [Candidate(price, entry.scope) for _, entry, price in self._own if entry.matches(model)]
            listed = self._catalogue.prices(model) if self._catalogue and model is not None else ()
            found = self._known[model] = (*own, *(Candidate(price, {}) for price in listed))
        return found

    def scopes(self, model: str | None) -> tuple[str, ...]:
        """The dimensions, beside the app, on which a model's price depends."""
        found = self._scopes.get(model)
        if found is None:
            names = {name for _, scope in self.candidates(model) for name in scope}
            found = self._scopes[model] = tuple(sorted(names - {"app"}))
        return found

    def find(self, app: str, model: str | None, values: Mapping[str, Any], hour: str) -> Price | None:
        """The price of an app's calls that began in `hour` (`YYYYMMDDHH`), with the values of their dimensions."""
        key = (model, *[app if name == "app" else values.get(name) for name in self._scoped])
        prices = self._fitting.get(key)
        if prices is None:
            known = dict(zip(self._scoped, key[1:], strict=True))
            prices = [price for price, scope in self.candidates(model) if scope.items() <= known.items()]
            self._fitting[key] = prices
        for price in prices:
            if price.applies_at(hour):
                return price
        return None

    def changes(self, models: Iterable[str | None], start: datetime, end: datetime) -> list[datetime]:
        """The times between `start` and `end` at which another price may begin to apply to one of `models`."""
        edges = {
            edge
            for model in models
            for price, _ in self.candidates(model)
            for edge in (price.valid_from, price.valid_to)
            if edge is not None and start < edge < end
        }
        return sorted(edges)


def _rank(name: str, entry: PriceEntry) -> tuple[object, ...]:
    """More dimensions before fewer, then the longer name of a model, then the one that begins later."""
    literal = len(entry.model.replace("*", ""))
    return len(entry.scope), literal, "*" not in entry.model, entry.price(name).first_hour, name
