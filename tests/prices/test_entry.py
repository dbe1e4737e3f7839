"""prices.entry: the operator's own prices. Every mistake names the member and what is possible."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import QueryError
from prices.entry import PriceEntry, read_entry

GOOD: dict[str, Any] = {"model": "gpt-4o*", "per_million": {"prompt_tokens": "2.10", "completion_tokens": "8"}}


def entry(**changes: Any) -> PriceEntry:
    return read_entry(GOOD | changes)


def test_what_was_written_comes_back() -> None:
    body = {
        "model": "gpt-4o*",
        "scope": {"deployment": "chat-ptu"},
        "valid_from": "2026-11-01T00:00:00Z",
        "valid_to": "2026-12-01T00:00:00Z",
        "currency": "USD",
        "per_million": {"prompt_tokens": "2.1", "completion_tokens": "0.000000000001"},
        "source": "contract 4711",
    }
    assert read_entry(body).model_dump(mode="json") == body
    assert read_entry(json.loads(read_entry(body).model_dump_json())) == read_entry(body)


def test_times_may_have_any_zone_and_are_kept_in_utc() -> None:
    assert entry(valid_from="2026-11-01T01:00:00+01:00").model_dump(mode="json")["valid_from"] == "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"model": "a*b*"}, "model"),
        ({"model": None}, "model"),
        ({"scope": {"team": "x"}}, "scope.team"),
        ({"scope": {"app": 7}}, "scope.app"),
        ({"scope": {"app": ""}}, "scope.app"),
        ({"scope": "app"}, "scope"),
        ({"valid_from": "2026-11-01"}, "valid_from"),
        ({"valid_from": "2026-11-01T00:30:00Z"}, "valid_from"),
        ({"valid_from": "0026-11-01T00:00:00Z"}, "valid_from"),
        ({"valid_from": 1_800_000_000}, "valid_from"),
        ({"valid_from": "2026-11-01T00:00:00Z", "valid_to": "2026-11-01T00:00:00Z"}, "valid_to"),
        ({"currency": "EUR"}, "currency"),
        ({"per_million": {}}, "per_million"),
        ({"per_million": {"cached_prompt_tokens": "1"}}, "per_million"),
        ({"per_million": {"prompt": "1"}}, "per_million.prompt"),
        ({"per_million": {"reasoning_tokens": "1"}}, "per_million.reasoning_tokens"),
        *(
            ({"per_million": {"prompt_tokens": rate}}, "per_million.prompt_tokens")
            for rate in (2.5, True, None, "", "NaN", "-1", "1e3", "1_000", "٣", "2,50", "1000000001", "0.0000000000001")
        ),
        ({"source": "x" * 501}, "source"),
        ({"price": "1"}, "price"),
    ],
)
def test_each_mistake_names_its_member_and_what_is_expected(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(QueryError) as caught:
        read_entry(GOOD | changes)
    assert (caught.value.code, caught.value.parameter, caught.value.status) == ("invalid_body", field, 400)
    assert str(caught.value).startswith((f"{field}: expected ", f"there is no {field}"))


@pytest.mark.parametrize("body", [None, [], "text", 7])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(QueryError, match="expected a JSON object"):
        read_entry(body)


def test_a_member_that_is_missing_is_named() -> None:
    with pytest.raises(QueryError, match=r"per_million: expected .* got nothing"):
        read_entry({"model": "x"})


def test_a_whole_number_may_be_a_number() -> None:
    assert entry(per_million={"prompt_tokens": 3}).per_million == {"prompt_tokens": Decimal(3)}


@pytest.mark.parametrize(
    ("pattern", "model", "matches"),
    [
        ("gpt-4o", "GPT-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o*", "gpt-4o-mini", True),
        ("gpt*mini", "gpt-4o-mini", True),
        ("gpt-4o*4o", "gpt-4o", False),  # the same letters may not be used twice
        ("*", "anything", True),
        ("*", None, True),
        ("gpt*", None, False),
        (".*", "gpt", False),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, model: str | None, matches: bool) -> None:
    assert entry(model=pattern).matches(model) is matches


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from([*GOOD, "scope", "valid_from", "source", "prompt_tokens", "x"]), x)
        ),
        max_leaves=8,
    )
)
def test_no_body_breaks_it(body: object) -> None:
    try:
        read_entry(body)
    except QueryError as error:
        assert error.status == 400
