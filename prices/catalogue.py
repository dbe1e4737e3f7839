"""The dated prices that the package genai-prices carries (github.com/pydantic/genai-prices, MIT licence), as it was
installed: nothing is fetched.

A model is looked up by the name with which it answered, at one provider after the other; at each, also at those whose
models it sells (the package's `fallback_model_providers`: Azure sells OpenAI's). What the package tells apart and sums
do not is named with the price (prices.price.ASPECTS). Batch and priority rates, fees of tools and the hour-long cache
are left out of it: usage is charged at the standard rates.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from models.errors import SettingsError
from prices.price import AUDIO_SECONDS, Price

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider

_RATES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "prompt_tokens": ("input_mtok", "input_text_mtok"),
        "cached_prompt_tokens": ("cache_read_mtok", "cache_text_read_mtok"),
        "cache_write_prompt_tokens": ("cache_write_mtok", "cache_write_5m_mtok", "cache_text_write_mtok"),
        "audio_prompt_tokens": ("input_audio_mtok",),
        "image_prompt_tokens": ("input_image_mtok",),
        "cached_audio_prompt_tokens": ("cache_audio_read_mtok",),
        "cached_image_prompt_tokens": ("cache_image_read_mtok",),
        "completion_tokens": ("output_mtok", "output_text_mtok"),
        "audio_completion_tokens": ("output_audio_mtok",),
        "image_completion_tokens": ("output_image_mtok",),
        AUDIO_SECONDS: ("input_audio_hours", "audio_hours"),
    }
)
"""The package's names for the rate of each kind; the first that a price has."""

_PLACES: Final = Decimal("1e-12")
MAX_KNOWN: Final = 10_000
"""Names come from senders: when more than that were looked up, all are forgotten, and each is looked up once more."""


class Catalogue:
    """The prices of models at `providers` (ids of the package), in this order. `load` comes before anything else."""

    def __init__(self, providers: Sequence[str]):
        self._ids = providers
        self._providers: list[tuple[str, Provider]] = []
        self._known: dict[str, tuple[Price, ...]] = {}
        self.version = ""

    def load(self) -> None:
        """Read the package's data: about a second, the first time. Raises SettingsError for a provider it lacks."""
        if self.version:
            return
        from genai_prices import __version__
        from genai_prices.data_snapshot import get_snapshot

        by_id = {provider.id: provider for provider in get_snapshot().providers}
        if unknown := [name for name in self._ids if name not in by_id]:
            expected = f"expected a comma list of {', '.join(sorted(by_id))}"
            raise SettingsError([f"PRICE_PROVIDERS names {name!r:.60}: {expected}" for name in unknown])
        for name in self._ids:
            provider = by_id[name]
            self._providers.append((name, provider))
            sold = provider.fallback_model_providers or []
            self._providers.extend((f"{name}, at the price of {other}", by_id[other]) for other in sold)
        self.version = f"genai-prices {__version__}"

    def prices(self, model: str) -> tuple[Price, ...]:
        """The prices of a model, the earliest first, each until the next one begins; none if no provider knows it."""
        found = self._known.get(model)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = self._known[model] = tuple(self._look_up(model))
        return found

    def _look_up(self, model: str) -> Iterator[Price]:
        for name, provider in self._providers:
            if info := provider.find_model(model):
                yield from _periods(info, f"{self.version}: {info.id} ({name})")
                return


def _periods(model: "ModelInfo", source: str) -> Iterator[Price]:
    """Of the prices that are active the last listed counts; before the first begins, the first listed does."""
    from genai_prices.types import ConditionalPrice, TimeOfDateConstraint

    listed = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    starts = [_start(price) for price in listed]
    hourly = [isinstance(price.constraint, TimeOfDateConstraint) for price in listed]
    edges: list[datetime | None] = [None, *sorted({start for start in starts if start is not None})]
    for begin, end in zip(edges, [*edges[1:], None], strict=True):
        active = [
            number
            for number, start in enumerate(starts)
            if not hourly[number] and (start is None or (begin is not None and start <= begin))
        ]
        chosen = max(active, default=0)
        # Without any rate it is free, or charged by what is not counted here: both are for the operator to say.
        if rates := _rates(listed[chosen].prices):
            aspects = _aspects(listed[chosen].prices, any(hourly[chosen + 1 :]))
            yield Price(source, MappingProxyType(rates), begin, end, aspects, is_list=True)


def _start(price: "ConditionalPrice") -> datetime | None:
    date = getattr(price.constraint, "start_date", None)
    return None if date is None else datetime.combine(date, time(), UTC)


def _rates(prices: "ModelPrice") -> dict[str, Decimal]:
    rates: dict[str, Decimal] = {}
    for kind, names in _RATES.items():
        rate = next((value for value in (getattr(prices, name) for name in names) if value is not None), None)
        if rate is None:
            continue
        rates[kind] = getattr(rate, "base", rate)
        if kind == AUDIO_SECONDS:
            # The one rate that is not per million; 12 places of a dollar per million seconds are exact enough for any.
            rates[kind] = (rates[kind] * 1_000_000 / 3600).quantize(_PLACES, ROUND_HALF_EVEN)
    return rates


def _aspects(prices: "ModelPrice", hourly: bool) -> tuple[str, ...]:
    names = (name for rates in _RATES.values() for name in rates)
    found = {
        "long_prompts": any(hasattr(getattr(prices, name), "tiers") for name in names),
        "time_of_day": hourly,
        "reasoning": prices.output_reasoning_mtok is not None,
        "requests": prices.requests_kcount is not None,
    }
    return tuple(name for name, applies in found.items() if applies)
