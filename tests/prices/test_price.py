"""prices.price: exact, linear, and nothing charged twice."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.measures import EXCEEDING_PARTS, Measures, measures_of, total
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
    more = Fraction(cost({uncached: measures}).amount or 0) - Fraction(found.amount or 0)
    assert Fraction(found.cache_savings) == more


def test_writing_to_the_cache_can_cost_more_than_reading_from_it_saved() -> None:
    price = Price("test", {"prompt_tokens": Decimal(2), "cache_write_prompt_tokens": Decimal("2.5")})
    written = sums(prompt_tokens=1_000_000, cache_write_prompt_tokens=1_000_000, total_tokens=1_000_000)
    assert cost({price: written}).cache_savings == Decimal("-0.5")


def test_what_is_audio_or_an_image_without_a_rate_in_the_catalogue_is_near_but_not_exact() -> None:
    """gpt-4o-audio-preview is listed with the rates of text alone, a fraction of what audio costs."""
    rates = {"prompt_tokens": Decimal("2.5"), "completion_tokens": Decimal(10)}
    listed, entered = Price("genai-prices", rates, is_list=True), Price("prices/mine", rates)
    usage = sums(
        prompt_tokens=2_000_000, audio_prompt_tokens=1_000_000, completion_tokens=1_000_000,
        image_completion_tokens=1_000_000, total_tokens=3_000_000,
    )  # fmt: skip
    assert cost({listed: usage}) == Cost(Decimal(15), Decimal("12.5"), 0, 0)
    assert cost({entered: usage}) == Cost(Decimal(15), Decimal(0), 0, 0)
    told = {line.kind: line.approximations for line in charges(usage, listed)}
    near = ("text_rate",)
    assert told == {"prompt_tokens": (), "audio_prompt_tokens": near, "image_completion_tokens": near}
    with_rate = Price("genai-prices", {**rates, "audio_prompt_tokens": Decimal(40)}, is_list=True)
    assert cost({with_rate: sums(prompt_tokens=9, audio_prompt_tokens=9, total_tokens=9)}).approximate == 0


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


def brute_force(usage: Usage) -> dict[str, int]:
    """What one call is charged for: of the tokens in a row, what was cached first, then what was told to be both."""
    told = {name: count or 0 for name, count in usage._asdict().items() if name != "audio_seconds"}
    cached, written = told["cached_prompt_tokens"], told["cache_write_prompt_tokens"]
    audio, image = told["audio_prompt_tokens"], told["image_prompt_tokens"]
    prompt = max(told["prompt_tokens"], cached + written, audio + image)
    cached_audio = min(told["cached_audio_prompt_tokens"], cached, audio)
    cached_image = min(told["cached_image_prompt_tokens"], cached - cached_audio, image)
    room = prompt - cached - written
    audio = min(audio - cached_audio, room)
    image = min(image - cached_image, room - audio)
    of_completion = told["audio_completion_tokens"] + told["image_completion_tokens"]
    return {
        "prompt_tokens": room - audio - image,
        "cached_prompt_tokens": cached - cached_audio - cached_image,
        "cache_write_prompt_tokens": written,
        "audio_prompt_tokens": audio,
        "image_prompt_tokens": image,
        "cached_audio_prompt_tokens": cached_audio,
        "cached_image_prompt_tokens": cached_image,
        "completion_tokens": max(0, told["completion_tokens"] - of_completion),
        "audio_completion_tokens": told["audio_completion_tokens"],
        "image_completion_tokens": told["image_completion_tokens"],
        "total_tokens": told["total_tokens"] - told["prompt_tokens"] - told["completion_tokens"],
        "audio_seconds": round((usage.audio_seconds or 0) * 10**6),
    }


def brute_rate(kind: str, rates: Mapping[str, Decimal]) -> Decimal | None:
    """Of a cached part: as cached, as what it is besides, as prompt."""
    names = [kind]
    if kind.startswith("cached_") and kind != "cached_prompt_tokens":
        names += ["cached_prompt_tokens", kind.removeprefix("cached_")]
    if kind == "total_tokens":
        names += [] if "completion_tokens" in rates else ["prompt_tokens"]
    elif kind.endswith("_tokens"):
        names.append("prompt_tokens" if "prompt" in kind else "completion_tokens")
    return next((rates[name] for name in names if name in rates), None)


@given(usages(), prices)
def test_one_call_is_charged_for_each_token_once_and_never_less_than_nothing(usage: Usage, price: Price) -> None:
    """By brute force over the kinds of one call, in fractions."""
    expected, unpriced = Fraction(), 0
    quantities = brute_force(usage)
    for kind, count in quantities.items():
        rate = brute_rate(kind, price.per_million)
        if rate is not None:
            expected += Fraction(rate) * count / 10 ** (12 if kind == "audio_seconds" else 6)
        elif kind != "audio_seconds":
            unpriced += count
    measures = measures_of(call(usage))
    found = cost({price: measures})
    assert {line.kind: line.quantity for line in charges(measures, price)} == {k: n for k, n in quantities.items() if n}
    assert Fraction(found.amount or 0) == expected >= 0
    assert found.unpriced_tokens == unpriced >= 0


@given(st.lists(usages(), max_size=4))
def test_what_is_charged_is_what_was_reported_unless_parts_contradict_it(found: list[Usage]) -> None:
    """Each token stands in one charge, however many parts it is of."""
    of_calls = [measures_of(call(usage)) for usage in found]
    charged = sum(line.quantity for line in charges(total(of_calls), None) if line.kind != "audio_seconds")
    reported = sum(usage.total_tokens or 0 for usage in found)
    contradict = any(measures.get(EXCEEDING_PARTS) for measures in of_calls)
    without_whole = any(None in (usage.prompt_tokens, usage.completion_tokens) for usage in found)
    assert charged == reported or ((contradict or without_whole) and charged > reported)


@pytest.mark.parametrize(
    ("cached", "audio", "both", "expected"),
    [
        (900, 900, 900, {"cached_audio_prompt_tokens": 900, "prompt_tokens": 100}),
        (900, 900, None, {"cached_prompt_tokens": 900, "audio_prompt_tokens": 100}),  # 800 must be both
        (900, 1000, 400, {"cached_audio_prompt_tokens": 400, "cached_prompt_tokens": 500, "audio_prompt_tokens": 100}),
        (300, 600, 200, {"cached_audio_prompt_tokens": 200, "cached_prompt_tokens": 100, "audio_prompt_tokens": 400,
                         "prompt_tokens": 300}),
        (0, 900, 900, {"audio_prompt_tokens": 900, "prompt_tokens": 100}),  # which contradicts itself
        (300, 600, None, {"cached_prompt_tokens": 300, "audio_prompt_tokens": 600, "prompt_tokens": 100}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("part", ["audio", "image"])
def test_what_is_both_cached_and_audio_is_charged_once(
    part: str, cached: int, audio: int, both: int | None, expected: dict[str, int]
) -> None:
    parts = {f"{part}_prompt_tokens": audio, f"cached_{part}_prompt_tokens": both, "cached_prompt_tokens": cached}
    told = {name: count for name, count in parts.items() if count is not None}
    measures = sums(None, prompt_tokens=1000, completion_tokens=0, total_tokens=1000, **told)
    named = {kind.replace("audio", part): count for kind, count in expected.items()}
    assert {line.kind: line.quantity for line in charges(measures, None)} == named


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
