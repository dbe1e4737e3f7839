"""queries.cursor: a cursor is read back as it was made, for its question and key, and for nothing else."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import QueryError
from queries.cursor import Cursors, Place

KEY = bytes(range(32))
PLACE = Place(datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC), ["12", 3, [None, "é"]])
QUESTION = {"app": ["a", "b"], "limit": ["9"]}


def refused(cursors: Cursors, cursor: str) -> None:
    with pytest.raises(QueryError) as caught:
        cursors.open(cursor)
    assert (caught.value.code, caught.value.parameter) == ("invalid_cursor", "cursor")


def test_a_cursor_leads_back_to_its_place() -> None:
    cursors = Cursors(KEY, "usage", QUESTION, None)
    assert cursors.open(cursors.seal(PLACE)) == PLACE


@pytest.mark.parametrize(
    "other",
    [
        Cursors(KEY[::-1], "usage", QUESTION, None),
        Cursors(KEY, "calls", QUESTION, None),
        Cursors(KEY, "usage", {**QUESTION, "app": ["a"]}, None),
        Cursors(KEY, "usage", {**QUESTION, "app": ["a,b"]}, None),
        Cursors(KEY, "usage", {**QUESTION, "to": ["x"]}, None),
        Cursors(KEY, "usage", QUESTION, "a"),
        Cursors(KEY, "usage", QUESTION, ""),
    ],
)
def test_nothing_else_takes_it(other: Cursors) -> None:
    refused(other, Cursors(KEY, "usage", QUESTION, None).seal(PLACE))


def test_pages_may_differ_in_size_and_format() -> None:
    cursor = Cursors(KEY, "usage", QUESTION, None).seal(PLACE)
    changed = {**QUESTION, "limit": ["5"], "format": ["csv"], "cursor": [cursor], "code": ["key"]}
    assert Cursors(KEY, "usage", changed, None).open(cursor) == PLACE


@given(st.text(max_size=80) | st.binary(max_size=60).map(bytes.hex))
def test_no_other_text_is_a_cursor(text: str) -> None:
    refused(Cursors(KEY, "usage", QUESTION, None), text)


@given(st.data())
def test_no_changed_cursor_is_taken(data: st.DataObject) -> None:
    cursors = Cursors(KEY, "usage", QUESTION, None)
    cursor = cursors.seal(PLACE)
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("ABab01-_=é"))
    if letter != cursor[place]:
        refused(cursors, cursor[:place] + letter + cursor[place + 1 :])
