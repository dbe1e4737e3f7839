"""prices.price: exact, linear, and nothing charged twice."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.measures import Measures, measures_of, total
from models.usage import Usage
from prices.price import CACHE_KINDS, PARTS, Cost, Price, charges, cost, decimal_text
from tests.models.test_measures import call

GPT_4O = Price(
    "test",
    {
        "prompt_tokens": Decimal("2.50"),
        "cached_prompt_tokens": Decimal("1.25"),
        "completion_tokens": Decimal(10),
        "audio_seconds": Decimal(100),
    },
)
NEARLY = Price("test", {"prompt_tokens": Decimal(1), "completion_tokens": Decimal(1)}, approximations=("long_prompts",))
EMBEDDING = Price("test", {"prompt_tokens": Decimal("0.13")})

rates = st.decimals(0, 10**9, places=12)
prices = st.builds(
    lambda wholes, parts: Price("test", wholes | parts),
    st.fixed_dictionaries({"prompt_tokens": rates}, optional={"completion_tokens": rates, "audio_seconds": rates}),
    st.dictionaries(st.sampled_from([part for parts in PARTS.values() for part in parts]), rates),
)
counts = st.none() | st.integers(0, 10**12)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """As collectors normalise it: the total is that of prompt and completion where one of them is known."""
    names = [name for name in Usage._fields if name not in ("audio_seconds", "total_tokens_reported")]
    fields: dict[str, Any] = {name: draw(counts) for name in names}
    prompt, completion = fields["prompt_tokens"], fields["completion_tokens"]
    if (prompt, completion) != (None, None):
        fields["total_tokens"] = (prompt or 0) + (completion or 0)
    return Usage(**fields, audio_seconds=draw(st.none() | st.decimals(0, 10**6, places=3)))


def sums(seconds: str | None = None, **fields: int) -> Measures:
    """The sums of one call with this usage."""
    return measures_of(call(Usage(**fields, audio_seconds=None if seconds is None else Decimal(seconds))))


def amount(price: Price, seconds: str | None = None, **fields: int) -> Decimal | None:
    return cost({price: sums(seconds, **fields)}).amount


def test_cached_tokens_are_charged_once_at_their_own_rate() -> None:
    """peers-user-asks 10: full-rate prompt plus cached again is the error that others made."""
    charged = amount(GPT_4O, prompt_tokens=1_000_000, cached_prompt_tokens=400_000, completion_tokens=0)
    assert charged == Decimal("0.6") * Decimal("2.50") + Decimal("0.4") * Decimal("1.25")


def test_reasoning_is_inside_the_completion_and_never_added() -> None:
    with_reasoning = amount(GPT_4O, prompt_tokens=0, completion_tokens=1_000_000, reasoning_tokens=900_000)
    assert with_reasoning == amount(GPT_4O, prompt_tokens=0, completion_tokens=1_000_000) == Decimal(10)


def test_a_part_without_a_rate_is_charged_as_its_whole() -> None:
    charged = amount(GPT_4O, prompt_tokens=1_000_000, audio_prompt_tokens=1_000_000, completion_tokens=0)
    assert charged == Decimal("2.50")


def test_seconds_of_audio_are_charged_by_time() -> None:
    assert amount(GPT_4O, seconds="60") == Decimal("0.006")


def test_what_has_no_price_is_unpriced_and_not_0() -> None:
    unpriced = sums(prompt_tokens=7, completion_tokens=3, total_tokens=10, seconds="1.5")
    assert cost({None: unpriced}) == Cost(None, Decimal(0), 10, 1_500_000)


def test_a_kind_without_a_rate_is_unpriced_beside_what_has_one() -> None:
    found = cost({EMBEDDING: sums(prompt_tokens=1_000_000, completion_tokens=5, total_tokens=1_000_005)})
    assert found == Cost(Decimal("0.13"), Decimal(0), 5, 0)


def test_a_total_without_its_parts_is_unpriced_whatever_the_price() -> None:
    """Which of them were prompt and which completion nobody said, and they cost differently."""
    assert cost({GPT_4O: sums(total_tokens=100)}) == Cost(None, Decimal(0), 100, 0)


def test_what_is_free_costs_0_which_is_not_none() -> None:
    free = Price("test", {"prompt_tokens": Decimal(0), "completion_tokens": Decimal(0)})
    assert amount(free, prompt_tokens=5, completion_tokens=5, total_tokens=10) == 0
    assert cost({}).amount == cost({None: {}}).amount == 0


def test_calls_without_usage_cost_nothing() -> None:
    assert cost({GPT_4O: measures_of(call(None)), None: measures_of(call(None))}) == Cost()


@given(usages(), prices)
def test_what_the_cache_saved_is_what_the_same_tokens_cost_more_without_rates_of_its_own(
    usage: Usage, price: Price
) -> None:
    uncached = Price("test", {kind: rate for kind, rate in price.per_million.items() if kind not in CACHE_KINDS})
    measures = measures_of(call(usage))
    found = cost({price: measures})
    assert found.cache_savings == (cost({uncached: measures}).amount or 0) - (found.amount or 0)


def test_writing_to_the_cache_can_cost_more_than_reading_from_it_saved() -> None:
    price = Price("test", {"prompt_tokens": Decimal(2), "cache_write_prompt_tokens": Decimal("2.5")})
    written = sums(prompt_tokens=1_000_000, cache_write_prompt_tokens=1_000_000, total_tokens=1_000_000)
    assert cost({price: written}).cache_savings == Decimal("-0.5")


def test_the_approximate_share_is_named() -> None:
    usage = sums(prompt_tokens=1_000_000, total_tokens=1_000_000)
    assert cost({GPT_4O: usage, NEARLY: usage}) == Cost(Decimal("3.50"), Decimal(1), 0, 0)


def test_more_cached_than_prompt_is_not_charged_negatively() -> None:
    """A sender that leaves the cache out of its prompt: linear rates would make money of it."""
    wrong = sums(prompt_tokens=10, cached_prompt_tokens=5_000, completion_tokens=0, total_tokens=10)
    right = sums(prompt_tokens=90_000, cached_prompt_tokens=0, completion_tokens=0, total_tokens=90_000)
    alone = cost({GPT_4O: wrong}).amount
    assert alone == Decimal(5_000) * Decimal("1.25") / 10**6
    together = cost({GPT_4O: total([wrong, right])}).amount
    assert together == alone + Decimal(90_000) * Decimal("2.50") / 10**6


@given(st.lists(usages(), max_size=6), prices)
def test_any_partition_of_calls_costs_together_what_the_whole_does(found: list[Usage], price: Price) -> None:
    each = [cost({price: measures_of(call(usage))}) for usage in found]
    whole = cost({price: total(measures_of(call(usage)) for usage in found)})
    assert sum((Fraction(part.amount or 0) for part in each), Fraction()) == Fraction(whole.amount or 0)
    assert sum(part.unpriced_tokens for part in each) == whole.unpriced_tokens
    assert sum(part.unpriced_audio_microseconds for part in each) == whole.unpriced_audio_microseconds
    lines = [charge for usage in found for charge in charges(measures_of(call(usage)), price)]
    unpriced = whole.unpriced_tokens or whole.unpriced_audio_microseconds
    assert (whole.amount is None) == (bool(unpriced) and all(line.amount is None for line in lines))


@given(usages(), prices)
def test_one_call_is_charged_for_each_token_once_and_never_less_than_nothing(usage: Usage, price: Price) -> None:
    """By brute force over the kinds of one call, in fractions."""
    expected, unpriced = Fraction(), (usage.total_tokens or 0)
    for whole, parts in PARTS.items():
        tokens = {part: getattr(usage, part) or 0 for part in parts}
        tokens[whole] = max(0, (getattr(usage, whole) or 0) - sum(tokens.values()))
        unpriced -= getattr(usage, whole) or 0
        for kind, count in tokens.items():
            rate = price.per_million.get(kind, price.per_million.get(whole))
            if rate is None:
                unpriced += count
            else:
                expected += Fraction(rate) * count / 10**6
    of_prompt = None if "completion_tokens" in price.per_million else price.per_million.get("prompt_tokens")
    rate = price.per_million.get("total_tokens", of_prompt)
    told_apart = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
    if rate is not None and (alone := (usage.total_tokens or 0) - told_apart):
        expected += Fraction(rate) * alone / 10**6
        unpriced -= alone
    if "audio_seconds" in price.per_million:
        expected += Fraction(price.per_million["audio_seconds"]) * Fraction(usage.audio_seconds or 0) / 10**6
    found = cost({price: measures_of(call(usage))})
    assert Fraction(found.amount or 0) == expected >= 0
    assert found.unpriced_tokens == unpriced >= 0


@given(usages(), prices)
def test_charges_add_up_to_the_cost(usage: Usage, price: Price) -> None:
    """An export shows one line per kind: they must not say another sum."""
    lines = list(charges(measures_of(call(usage)), price))
    assert len({line.kind for line in lines}) == len(lines)
    assert all(line.quantity > 0 for line in lines)
    whole = cost({price: measures_of(call(usage))}).amount or 0
    assert sum((Fraction(line.amount or 0) for line in lines), Fraction()) == Fraction(whole)


@pytest.mark.parametrize(
    ("value", "text"),
    [("0", "0"), ("0E-18", "0"), ("10", "10"), ("1E+3", "1000"), ("0.003250", "0.00325"), ("1E-24", f"0.{'0' * 23}1")],
)
def test_decimals_are_shown_with_all_digits_and_no_exponent(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text
