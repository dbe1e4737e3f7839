"""A dated price, and what sums of tokens cost at it.

All rates are US dollars per million of a kind, as decimals. Cost is linear in the sums: any partition of calls costs
together what the whole does, to the last digit. That holds because what is not linear, parts that exceed their whole
or overlap, is settled call by call when calls are counted (models/overlap.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from types import MappingProxyType
from typing import Final, NamedTuple

from models.measures import AUDIO_MICROSECONDS, EXCESS_COMPLETION_TOKENS, EXCESS_PROMPT_TOKENS, OVERLAPS
from models.overlap import Overlap

AUDIO_SECONDS: Final = "audio_seconds"
PARTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "prompt_tokens": (
            "cached_prompt_tokens",
            "cache_write_prompt_tokens",
            "audio_prompt_tokens",
            "image_prompt_tokens",
            "cached_audio_prompt_tokens",
            "cached_image_prompt_tokens",
        ),
        "completion_tokens": ("audio_completion_tokens", "image_completion_tokens"),
    }
)
"""The two wholes, and the parts in them that may have a rate of their own. What has none is charged as its whole:
so are reasoning and predictions, always."""

TOTAL: Final = "total_tokens"
"""Tokens of which only the total was reported. A price without a rate for them charges them as its prompt, if it has no
rate for completions: so are embeddings', which have none."""
KINDS: Final = (*(kind for whole, parts in PARTS.items() for kind in (whole, *parts)), TOTAL, AUDIO_SECONDS)
"""What can have a rate, in the order in which prices show them."""

_EXCESS: Final = {"prompt_tokens": EXCESS_PROMPT_TOKENS, "completion_tokens": EXCESS_COMPLETION_TOKENS}
EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation, Overflow])
"""A digit that would be lost is an error: sums of 64 bits times rates of 21 digits leave room for many more."""

ALWAYS: Final = ""
NEVER: Final = "~"


@dataclass(frozen=True, slots=True, eq=False)
class Price:
    """`per_million`: the rate of each kind, in US dollars per million tokens, or per million seconds.

    It applies to calls with `valid_from` <= time < `valid_to`, both on full hours in UTC; None is without end. `source`
    says where it is from. `approximations` names what the true price depends on besides (ASPECTS), so that it is near
    but not exact. `is_list`: from a list, which may lack a rate for a kind that the provider charges apart; what the
    operator entered is what is meant.
    """

    source: str
    per_million: Mapping[str, Decimal]
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    approximations: tuple[str, ...] = ()
    is_list: bool = False
    first_hour: str = field(init=False)
    end_hour: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first_hour", hour_text(self.valid_from) if self.valid_from else ALWAYS)
        object.__setattr__(self, "end_hour", hour_text(self.valid_to) if self.valid_to else NEVER)

    def applies_at(self, hour: str) -> bool:
        """`hour` is `YYYYMMDDHH` in UTC, as in the keys of rows: compared as text, for every row that is read."""
        return self.first_hour <= hour < self.end_hour

    def rate(self, kind: str) -> Decimal | None:
        """The rate of a kind: a part without one is charged as what it is besides, in the end as its whole."""
        found = self.per_million.get(kind)
        if found is None and kind == TOTAL and "completion_tokens" not in self.per_million:
            return self.per_million.get("prompt_tokens")
        for name in _CHARGED_AS.get(kind, ()) if found is None else ():
            if (found := self.per_million.get(name)) is not None:
                break
        return found


_CHARGED_AS: Final[Mapping[str, tuple[str, ...]]] = {
    **{part: (whole,) for whole, parts in PARTS.items() for part in parts},
    "cached_audio_prompt_tokens": ("cached_prompt_tokens", "audio_prompt_tokens", "prompt_tokens"),
    "cached_image_prompt_tokens": ("cached_prompt_tokens", "image_prompt_tokens", "prompt_tokens"),
}

ASPECTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "long_prompts": "prompts above a length cost more; all are charged at the rate of short ones",
        "time_of_day": "another rate applies at some hours of the day; the rate outside of them is charged",
        "reasoning": "reasoning has a rate of its own; it is charged as completion",
        "requests": "each request costs a fee, which is left out",
        "text_rate": "audio or images, for which the list has no rate, are charged at that of text",
    }
)
"""What a catalogue price can depend on that sums do not tell, or it does not."""
_OF_NO_TEXT: Final = frozenset(part for parts in PARTS.values() for part in parts if "audio" in part or "image" in part)


def hour_text(time: datetime) -> str:
    """`YYYYMMDDHH`."""
    return f"{time:%Y%m%d%H}"


_UNCACHED: Final = {
    "cached_prompt_tokens": "prompt_tokens",
    "cache_write_prompt_tokens": "prompt_tokens",
    "cached_audio_prompt_tokens": "audio_prompt_tokens",
    "cached_image_prompt_tokens": "image_prompt_tokens",
}
CACHE_KINDS: Final = tuple(_UNCACHED)
"""The parts of a prompt that a cache makes cheaper, or dearer."""


class Charge(NamedTuple):
    """`quantity` tokens (or microseconds of audio) of one kind at `rate` per million; without a rate, no amount.
    `approximations` are those of the price, and of its use for this kind."""

    kind: str
    quantity: int
    rate: Decimal | None
    amount: Decimal | None
    approximations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What usage costs in US dollars. `amount` is None where nothing of it has a price, which is not the same as 0.

    `approximate` is the share of `amount` that is near but not exact. What no price covers is in
    `unpriced_tokens` and `unpriced_audio_microseconds`. `cache_savings` is by how much more the same tokens would have
    cost without a cache, as what they are besides: what reading from it saved, less what writing to it cost more.
    """

    amount: Decimal | None = Decimal(0)
    approximate: Decimal = Decimal(0)
    unpriced_tokens: int = 0
    unpriced_audio_microseconds: int = 0
    cache_savings: Decimal = Decimal(0)


def charges(sums: Mapping[str, int], price: Price | None) -> Iterator[Charge]:
    """What sums are charged for, kind by kind. Together the tokens are those that were reported, each once: what was
    cached is not charged as prompt again. Kinds without tokens are left out. `total_tokens` are those of totals that
    were reported without their parts, which say how many but not of which kind."""
    overlaps = Overlap(*[sums.get(name, 0) for name in OVERLAPS])
    apart = {
        "cached_prompt_tokens": -overlaps.charged_cached_audio - overlaps.charged_cached_image,
        "audio_prompt_tokens": -overlaps.overlapping_audio,
        "image_prompt_tokens": -overlaps.overlapping_image,
    }
    both = {
        "cached_audio_prompt_tokens": overlaps.charged_cached_audio,
        "cached_image_prompt_tokens": overlaps.charged_cached_image,
    }
    for whole, parts in PARTS.items():
        rest = sums.get(whole, 0) + sums.get(_EXCESS[whole], 0)
        rest -= overlaps.overlapping_excess if whole == "prompt_tokens" else 0
        for part in parts:
            quantity = both[part] if part in both else sums.get(part, 0) + apart.get(part, 0)
            rest -= quantity
            if quantity:
                yield _charge(part, quantity, price, -6)
        if rest:
            yield _charge(whole, rest, price, -6)
    if rest := sums.get("total_tokens", 0) - sum(sums.get(whole, 0) for whole in PARTS):
        yield _charge(TOTAL, rest, price, -6)
    if seconds := sums.get(AUDIO_MICROSECONDS, 0):
        yield _charge(AUDIO_SECONDS, seconds, price, -12)


def _charge(kind: str, quantity: int, price: Price | None, scale: int) -> Charge:
    rate = price.rate(kind) if price else None
    amount = None if rate is None else EXACT.multiply(Decimal(quantity), rate).scaleb(scale, EXACT)
    near = () if price is None or rate is None else price.approximations
    if price and rate is not None and price.is_list and kind in _OF_NO_TEXT and kind not in price.per_million:
        near = (*near, "text_rate")
    return Charge(kind, quantity, rate, amount, near)


def cost(by_price: Mapping[Price | None, Mapping[str, int]]) -> Cost:
    """The cost of sums, kept apart by the price that applies to them (None: there is none)."""
    amount = approximate = savings = Decimal(0)
    priced = False
    tokens = seconds = 0
    for price, sums in by_price.items():
        for charge in charges(sums, price):
            if charge.amount is not None:
                priced = True
                amount = EXACT.add(amount, charge.amount)
                if charge.approximations:
                    approximate = EXACT.add(approximate, charge.amount)
                if price and charge.kind in CACHE_KINDS:
                    savings = EXACT.add(savings, _saved(charge, price))
            elif charge.kind == AUDIO_SECONDS:
                seconds += charge.quantity
            else:
                tokens += charge.quantity
    return Cost(amount if priced or not (tokens or seconds) else None, approximate, tokens, seconds, savings)


def _saved(charge: Charge, price: Price) -> Decimal:
    """What a part of the prompt would have cost more without the cache; 0 where that has no rate."""
    uncached = price.rate(_UNCACHED[charge.kind])
    if uncached is None or charge.rate is None:
        return Decimal(0)
    return EXACT.multiply(Decimal(charge.quantity), EXACT.subtract(uncached, charge.rate)).scaleb(-6, EXACT)


def decimal_text(amount: Decimal) -> str:
    """All digits and no exponent: `0.00325`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
