"""prices.catalogue: the prices of the real package, by the names that models answer with."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from models.errors import SettingsError
from prices.catalogue import MAX_KNOWN, Catalogue, _periods
from prices.price import ASPECTS, KINDS, Price, hour_text
from settings import DEFAULT_PRICE_PROVIDERS

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

PROVIDERS = DEFAULT_PRICE_PROVIDERS.split(",")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    found = Catalogue(PROVIDERS)
    found.load()
    return found


def now(prices: tuple[Price, ...]) -> Price:
    (price,) = [price for price in prices if price.applies_at("2026112012")]
    return price


@pytest.mark.parametrize(
    ("model", "source", "prompt", "cached", "completion"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o (azure, at the price of openai)", "2.5", "1.25", "10"),
        ("GPT-4o-mini-2024-07-18", "gpt-4o-mini (azure, at the price of openai)", "0.15", "0.075", "0.6"),
        ("gpt-35-turbo", "gpt-3.5-turbo (azure, at the price of openai)", "0.5", "0.5", "1.5"),
        ("o3-mini", "o3-mini (azure)", "1.1", "0.55", "4.4"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0 (azure, at the price of anthropic)", "3", "0.3", "15"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "(aws)", "3", "0.3", "15"),
        ("gemini-2.5-pro", "gemini-2.5-pro (google)", "1.25", "0.125", "10"),
    ],
)
def test_models_are_found_by_the_names_they_answer_with(
    catalogue: Catalogue, model: str, source: str, prompt: str, cached: str, completion: str
) -> None:
    price = now(catalogue.prices(model))
    assert price.source.startswith(f"{catalogue.version}: ")
    assert price.source.endswith(source)
    kinds = ("prompt_tokens", "cached_prompt_tokens", "completion_tokens")
    assert [price.rate(kind) for kind in kinds] == [Decimal(prompt), Decimal(cached), Decimal(completion)]


@pytest.mark.parametrize(
    "model", ["gpt-4o-2024-08-06.ft-0123456789abcdef", "my-team's-model", "chat", "", "tts-1", "x" * 100_000]
)
def test_what_it_does_not_know_or_does_not_charge_by_tokens_has_no_price(catalogue: Catalogue, model: str) -> None:
    """Also a fine-tuned model, whose price is another than that of the model it was made of."""
    assert catalogue.prices(model) == ()


def test_audio_by_the_hour_becomes_a_rate_per_million_seconds(catalogue: Catalogue) -> None:
    assert now(catalogue.prices("whisper-1")).per_million == {"audio_seconds": Decimal(100)}


def test_a_price_that_changed_is_split_at_its_day_in_utc(catalogue: Catalogue) -> None:
    """OpenAI made o3 cheaper by 80 % on 10 June 2025; looked up at openai itself, since Azure's page has no history."""
    openai = Catalogue(["openai"])
    openai.load()
    before, after = openai.prices("o3")
    assert before.valid_from is None
    assert before.valid_to == after.valid_from == datetime(2025, 6, 10, tzinfo=UTC)
    assert after.valid_to is None
    assert (before.per_million["prompt_tokens"], after.per_million["prompt_tokens"]) == (Decimal(10), Decimal(2))


def test_what_sums_do_not_tell_makes_a_price_approximate(catalogue: Catalogue) -> None:
    assert now(catalogue.prices("gpt-4o")).approximations == ()
    assert now(catalogue.prices("gemini-2.5-pro")).approximations == ("long_prompts",)
    assert now(catalogue.prices("gpt-realtime")).per_million["cached_audio_prompt_tokens"] == Decimal("0.4")
    assert now(catalogue.prices("deepseek-r1")).approximations == ("time_of_day",)


def test_every_price_of_the_package_is_what_the_package_says_at_every_time() -> None:
    """Standard rates, at each edge and a day around it; where it says otherwise, the price is named approximate."""
    from genai_prices.data_snapshot import get_snapshot

    compared = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            for price in _periods(model, "test"):
                assert set(price.per_million) <= set(KINDS)
                assert set(price.approximations) <= set(ASPECTS)
                _agrees(model, price)
                compared += 1
    assert compared > 1000


def _agrees(model: "ModelInfo", price: Price) -> None:
    for time in (
        price.valid_from or datetime(2019, 1, 1, tzinfo=UTC),
        price.valid_to and price.valid_to.replace(hour=0),
    ):
        if time is None or not price.applies_at(hour_text(time)) or "time_of_day" in price.approximations:
            continue
        said = model.get_prices(time)
        for kind, name in (("prompt_tokens", "input_mtok"), ("completion_tokens", "output_mtok")):
            rate = getattr(said, name)
            if rate is not None:
                assert price.per_million[kind] == getattr(rate, "base", rate), (model.id, time)


def test_a_provider_that_the_package_lacks_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"PRICE_PROVIDERS names 'azur': expected .*azure"):
        Catalogue(["azur"]).load()


def test_names_without_end_do_not_fill_the_memory(catalogue: Catalogue) -> None:
    small = Catalogue(["azure"])
    small.load()
    small._providers.clear()
    for number in range(MAX_KNOWN + 5):
        small.prices(str(number))
    assert len(small._known) <= MAX_KNOWN
