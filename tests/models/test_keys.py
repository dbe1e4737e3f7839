"""models.keys: any text as part of a Table Storage key, and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.keys import MAX_ESCAPED_LENGTH, SURELY_SHORT, escape_key, unescape_key

texts = st.text(st.characters(codec="utf-8"), max_size=700)
TROUBLE = [
    "/",
    "\\",
    "#",
    "?",
    "%",
    "'",
    '"',
    " ",
    "|",
    "~",
    "~7E",
    "%2F",
    "\t\n\r\x00\x1f\x7f\x80\x9f",
    "é",
    "日本",
    "🚀",
    "\u2028",
]


@given(texts | st.text(alphabet="~0123456789ABCDEF%/", max_size=30))
def test_text_comes_back_from_its_key(text: str) -> None:
    assert unescape_key(escape_key(text)) == text


@pytest.mark.parametrize("text", [*TROUBLE, "".join(TROUBLE), "x" * 600, "/" * 600, "🚀" * 600, ""])
def test_troublesome_text_comes_back_from_its_key(text: str) -> None:
    assert unescape_key(escape_key(text)) == text


@given(texts)
def test_key_has_only_letters_that_every_table_and_url_takes(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._:@~-]*", escape_key(text), re.ASCII)


@given(texts, texts)
def test_different_texts_have_different_keys(one: str, other: str) -> None:
    assert (escape_key(one) == escape_key(other)) == (one == other)


@pytest.mark.parametrize("text", ["chat", "gpt-4o-2024-08-06", "0f8fad5b-d9cb-469f-a165-70867728950e", "a.b:c@d_e"])
def test_usual_names_stay_readable(text: str) -> None:
    assert escape_key(text) == text


def test_separator_of_our_keys_is_escaped() -> None:
    assert "|" not in escape_key("a|b")


def test_longest_text_leaves_room_in_a_key() -> None:
    assert MAX_ESCAPED_LENGTH + len("|202611") <= 512


def test_what_is_surely_short_takes_no_more_than_a_key_has_room_for() -> None:
    assert len(escape_key("🚀" * SURELY_SHORT)) <= MAX_ESCAPED_LENGTH
