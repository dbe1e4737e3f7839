"""prices.book: of several prices, the one that is meant."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prices.book import PriceBook
from prices.catalogue import Catalogue
from prices.entry import PriceEntry, read_entry
from prices.price import hour_text

NOVEMBER, DECEMBER = "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"
HOUR = "2026111512"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    found = Catalogue(["azure"])
    found.load()
    return found


def own(rate: str = "1", **members: Any) -> PriceEntry:
    return read_entry({"model": "gpt-4o", "per_million": {"prompt_tokens": rate}, **members})


def source(book: PriceBook, hour: str = HOUR, model: str | None = "gpt-4o", **values: Any) -> str | None:
    price = book.find(values.pop("app", "some-app"), model, values, hour)
    return price.source if price else None


def test_an_own_price_goes_before_the_catalogue_and_only_in_its_time(catalogue: Catalogue) -> None:
    book = PriceBook({"a": own(valid_from=NOVEMBER, valid_to=DECEMBER)}, catalogue)
    assert source(book, "2026110100") == source(book, "2026113023") == "prices/a"
    for hour in ("2026103123", "2026120100"):
        assert (source(book, hour) or "").endswith("gpt-4o (azure, at the price of openai)")


def test_without_a_catalogue_the_own_prices_are_all() -> None:
    book = PriceBook({"a": own()}, None)
    assert (source(book), source(book, model="o3"), source(book, model=None)) == ("prices/a", None, None)


def test_more_dimensions_go_first_then_the_longer_name_then_the_later_beginning() -> None:
    book = PriceBook(
        {
            "all": own(model="*"),
            "prefix": own(model="gpt-4*"),
            "model": own(),
            "later": own(valid_from=NOVEMBER),
            "ptu": own(model="*", scope={"deployment": "chat-ptu"}),
            "team": own(model="*", scope={"deployment": "chat-ptu", "app": "search"}),
        },
        None,
    )
    assert source(book, deployment="chat-ptu", app="search") == "prices/team"
    assert source(book, deployment="chat-ptu", app="other") == "prices/ptu"
    assert source(book, deployment="chat") == "prices/later"
    assert source(book, "2026103100", deployment="chat") == "prices/model"
    assert source(book, model="gpt-4.1") == "prices/prefix"
    assert source(book, model=None, deployment="chat-ptu") == "prices/ptu"
    assert source(book, model="o3") == "prices/all"


def test_changes_are_those_of_the_models_in_the_range_and_no_others(catalogue: Catalogue) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    entries = {
        "a": own(valid_from=NOVEMBER, valid_to=DECEMBER),
        "b": own(model="o3", valid_from="2026-05-01T00:00:00Z"),
    }
    book = PriceBook(entries, catalogue)
    assert book.changes(["gpt-4o", None], start, end) == [
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    ]
    assert book.changes(["gpt-4o"], datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)) == []


FIRST = datetime(2026, 11, 1, tzinfo=UTC)
hours = st.integers(0, 60).map(lambda count: FIRST + count * timedelta(hours=1))
ranges = st.tuples(hours, hours).filter(lambda pair: pair[0] < pair[1])
texts = st.none() | hours.map(lambda hour: hour.isoformat())
entries = st.builds(
    lambda model, rate, times, scope: own(
        str(rate), model=model, scope=scope, valid_from=times[0].isoformat(), valid_to=times[1].isoformat()
    ),
    st.sampled_from(["gpt-4o", "gpt*", "*"]),
    st.integers(0, 9),
    ranges,
    st.dictionaries(st.sampled_from(["app", "deployment"]), st.sampled_from(["x", "y"]), max_size=2),
)


@given(st.dictionaries(st.sampled_from("abcd"), entries), ranges, st.sampled_from(["x", "y", "z"]))
def test_between_two_changes_the_price_is_the_same(
    found: dict[str, PriceEntry], asked: tuple[datetime, datetime], app: str
) -> None:
    """What a row of a whole day or month may be priced with."""
    book = PriceBook(found, None)
    start, end = asked
    edges = [start, *book.changes(["gpt-4o"], start, end), end]
    for begin, stop in pairwise(edges):
        prices = set()
        while begin < stop:
            prices.add(book.find(app, "gpt-4o", {"deployment": "x"}, hour_text(begin)))
            begin += timedelta(hours=1)
        assert len(prices) == 1


def test_a_rate_is_that_of_the_price_that_applies() -> None:
    price = PriceBook({"a": own("2.5")}, None).find("app", "gpt-4o", {}, HOUR)
    assert price is not None
    assert price.rate("cached_prompt_tokens") == Decimal("2.5")
