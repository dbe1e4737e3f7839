"""collectors.decode: the records in an event's bytes, and each that is none at its own place."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.cut import is_cut
from collectors.decode import decode
from models.errors import BadRecord
from tests.collectors.reading import collected
from tests.support.events import usage_event

GOOD = json.dumps(usage_event()).encode()
BAD_LINES = [
    b"oops",
    b"[oops]",
    GOOD[:60],
    b'{"schema": NaN}',
    b"\xff\xfe{}",
    b"12",
    b'"text"',
    b"null",
    b"{}{}",
    b'{"request_id": "a", "body": "cut he',
]


def with_total(number: bytes) -> bytes:
    return GOOD.replace(b'"total_tokens": 15', b'"total_tokens": ' + number)


def balanced(text: str) -> bytes:
    """One item at most, whatever else is wrong with it."""
    return ("{" + text.replace("{", "").replace("}", "") + "}").encode("utf-8", "surrogatepass")


def outcome(body: bytes) -> str:
    """A letter a record: + an object, ~ one that lost its end, - none."""
    return "".join("-" if isinstance(record, BadRecord) else "~" if is_cut(record) else "+" for record in decode(body))


def test_object_array_and_lines_are_records() -> None:
    assert outcome(GOOD) == "+"
    assert outcome(b"[" + GOOD + b", " + GOOD + b"]") == "++"
    for end in (b"\n", b"\r\n", b"\r", b"\n\n"):
        assert outcome(GOOD + end + GOOD + end) == "++"
    assert outcome(json.dumps([{}, {}], indent=2).encode()) == "++"


def test_lines_may_hold_arrays() -> None:
    assert outcome(GOOD + b"\n[" + GOOD + b"]") == "++"
    assert outcome(b"[" + GOOD + b"]\n" + GOOD) == "++"


def test_byte_order_mark_is_allowed() -> None:
    assert outcome(b"\xef\xbb\xbf" + GOOD) == "+"


@pytest.mark.parametrize(
    "body", [b"", b"  \r\n ", b"\xef\xbb\xbf", b"\x00", b"not json", b'{"a": x,', b"\xff", b"[" * 100_000]
)
def test_event_without_any_record_is_one_bad_record(body: bytes) -> None:
    assert outcome(body) == "-"


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda line: repr(line[:20]))
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_bad_line_takes_no_neighbour_along(bad: bytes, place: int) -> None:
    lines = [GOOD] * 3
    lines.insert(place, bad)
    result = collected(b"\n".join(lines))
    assert (len(result.calls), len(result.dead_letters)) == (3, 1)
    assert result.dead_letters[0].position == place


@pytest.mark.parametrize("bad", [None, 5, "text", True, [], [[]], {}, {"schema": "usage-event/2"}])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_bad_item_of_an_array_takes_no_neighbour_along(bad: object, place: int) -> None:
    items: list[object] = [usage_event() for _ in range(3)]
    items.insert(place, bad)
    result = collected(items)
    assert (len(result.calls), len(result.dead_letters)) == (3, 1)
    assert result.dead_letters[0].position == place


BAD_ITEMS = [
    b"",
    b"oops",
    b'{"a": oops}',
    b'{"a": }',
    b'{"a" 1}',
    b"{'a': 1}",
    b'{"a": 01, "b": [1, 2,]}',
    b'{"a": "\xff\xfe"}',
    b'{"a": "\\ud83d"}',
    b'{"a": "\\x"}',
    b'{"a": ' + b"7" * 5000 + b"}",
    b'{"a": -' + b"7" * 100_000 + b"}",
    b"[" * 500 + b"]" * 500,
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b'{"a": NaN, "b": [Infinity, -Infinity]}',
    with_total(b"NaN"),
    with_total(b"1e400"),
    with_total(b"9" * 5000),
    GOOD.replace(b'"duration_ms": 800', b'"duration_ms": -Infinity'),
]
"""Each would spoil a document that holds it, or does spoil it for some parsers."""

CONTAINERS: dict[str, Callable[[list[bytes]], bytes]] = {
    "array": lambda items: b"[" + b",".join(items) + b"]",
    "array with an item a line": lambda items: b"\xef\xbb\xbf[\n  " + b",\n  ".join(items) + b"\n]\n",
    "lines": b"\n".join,
    "records": lambda items: b'{"records":[' + b",".join(items) + b"]}",
    "records in lines": lambda items: b'{ "records" : [\r\n' + b",\r\n".join(items) + b"\r\n] }\r\n",
}


@given(
    st.sampled_from(list(CONTAINERS.values())),
    st.lists(
        st.sampled_from(BAD_ITEMS) | st.text(alphabet="abc {}:1.-\u00e9\ud800").map(balanced), min_size=1, max_size=3
    ),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
)
def test_no_bad_item_changes_what_the_others_give(
    container: Callable[[list[bytes]], bytes], bad: list[bytes], places: list[int]
) -> None:
    good = [json.dumps(usage_event(request_id=f"good-{number}")).encode() for number in range(3)]
    items = list(good)
    for place, item in zip(places, bad, strict=False):
        items.insert(place, item)
    calls = collected(container(items)).calls
    given_by_good = [call._replace(position=0) for call in calls if call.request_id.startswith("good-")]
    assert given_by_good == [call._replace(position=0) for call in collected(container(good)).calls]
    assert len(given_by_good) == 3


@pytest.mark.parametrize(
    ("number", "field"),
    [(b"NaN", "usage.total_tokens"), (b"Infinity", "usage.total_tokens"), (b"1e400", "usage.total_tokens"),
     (b"9" * 4300, "usage.total_tokens"), (b"9" * 4301, None)],
    ids=lambda part: str(part)[:10],
)  # fmt: skip
def test_a_number_that_is_none_is_judged_by_the_member_that_it_is_in(number: bytes, field: str | None) -> None:
    """Up to the 4,300 digits that the parser takes; where nobody reads it, a call is not lost for it."""
    letter = collected(with_total(number)).dead_letters[0]
    assert (letter.reason, letter.field) == ("invalid_field" if field else "not_json", field)
    unread = collected(GOOD.replace(b'"schema"', b'"unread": ' + number + b', "schema"'))
    assert len(unread.calls) == (1 if field else 0)


def test_bad_item_says_what_is_wrong_with_it() -> None:
    letters = collected(b"[" + GOOD + b', {"a": oops}, 5, {"b": ' + b"7" * 5000 + b"}]").dead_letters
    assert [(letter.position, letter.reason) for letter in letters] == [(n, "not_json") for n in (1, 2, 3)]
    assert [str(letter.got)[:40] for letter in letters] == [
        "text that is not JSON (expected value at", "the number 5", "text that is not JSON (number out of ran"
    ]  # fmt: skip


def test_an_array_that_was_cut_may_have_a_bad_item_as_well() -> None:
    assert outcome(b"[" + GOOD + b", oops, " + GOOD + b", " + GOOD[:-9]) == "+-+~"


def test_bad_event_takes_no_other_event_of_the_batch_along() -> None:
    good = [usage_event() for _ in range(3)]
    result = collected(b"\xff", good[0], b"", good[1], [good[2], None], {"schema": 1})
    assert [call.request_id for call in result.calls] == [event["request_id"] for event in good]
    assert [letter.origin.sequence_number for letter in result.dead_letters] == [0, 2, 4, 5]
    assert [letter.position for letter in result.dead_letters] == [0, 0, 1, 0]


@pytest.mark.parametrize("lines", [usage_event(), usage_event(tools=[{}, {"a": {}}, {}])])
def test_indented_object_that_was_cut_is_one_record_and_not_one_a_line(lines: dict[str, object]) -> None:
    text = json.dumps(lines, indent=2).encode()
    assert {outcome(text[:cut]) for cut in range(1, len(text))} == {"~"}


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ud83d\\ud83d", "\\ude00\\ud83d"])
@pytest.mark.parametrize("ending", ["", " and on"])
def test_half_an_emoji_does_not_cost_the_event(half: str, ending: str) -> None:
    """A sender in JavaScript or Python that cuts its body's tail within a surrogate pair sends the half escaped."""
    event = json.dumps(usage_event(body="BODY", body_offset=5)).replace("BODY", half + "..." + half + ending)
    result = collected(event.encode())
    assert [call.usage.total_tokens for call in result.calls] == [15]


@pytest.mark.parametrize("field", ["request_id", "app_id", "model", "deployment", "user_id"])
def test_half_an_emoji_in_an_identifier_is_counted_or_set_aside(field: str) -> None:
    event = json.dumps(usage_event(**{field: "HALF"})).replace("HALF", "a\\ud83d")
    result = collected(event.encode(), usage_event())
    assert result.received == 2
    for call in result.calls:
        repr(call).encode()


def test_half_an_emoji_harms_no_whole_one() -> None:
    """Beside it, before and after a backslash, in the same text or another."""
    whole = "a\U0001f600\\\U0001f600"
    event = json.dumps(usage_event(user_id=whole, body="HALF", body_offset=5)).replace("HALF", "\\ud83d")
    assert collected(event.encode()).calls[0].user == whole


def test_last_line_and_last_item_may_be_cut() -> None:
    assert outcome(GOOD + b"\n" + GOOD[:-9]) == "+~"
    assert outcome(b"[" + GOOD + b",\n" + GOOD[:-9]) == "+~"
    assert outcome(b"[" + GOOD + b",") == "+"


INDENTED = json.dumps(usage_event(), indent=2).encode()


@pytest.mark.parametrize(
    "wrapper", [b"[%s", b'{"records":[%s', b'{ "records" : [%s'], ids=["array", "records", "spaced"]
)
@pytest.mark.parametrize("between", [b",\n", b"\n,", b"\n,\n", b",\r\n  ", b",", b"\n, "], ids=repr)
@pytest.mark.parametrize("opening", [b"", b"\n", b"\n  "], ids=repr)
@pytest.mark.parametrize("good", [GOOD, INDENTED], ids=["flat", "indented"])
def test_an_array_that_was_cut_is_no_lines(wrapper: bytes, opening: bytes, between: bytes, good: bytes) -> None:
    """Wherever its line ends are."""
    result = collected(wrapper % opening + between.join([good, good, good, good[:20]]))
    assert (len(result.calls), [letter.position for letter in result.dead_letters]) == (3, [3])


@pytest.mark.parametrize(
    "start",
    [
        b'["',
        b'{"a":',
        b'"\\u',
        b'{"\\',
        b'{"a\\',
        b"\\u12",
        b'{"a":\n',
        b"[\n",
        b"{}\n{",
        b"[1,",
        b'["',
        b'[{"a":[1]},',
    ],
)
def test_hostile_text_is_read_in_linear_time(start: bytes) -> None:
    began = time.process_time()
    assert decode(start * (50_000 // len(start)))
    assert time.process_time() - began < 2


@pytest.mark.parametrize("item", [b'{"a":[1]},', b'"",', b"[],", b"x,", b'"\\\\",', b'{"a":{"b":{"c":"d"}}},'])
def test_a_large_array_with_a_bad_item_is_read_in_a_moment(item: bytes) -> None:
    count = 250_000 // len(item)
    began = time.process_time()
    assert len(decode(b"[" + item * count + b"oops]")) == count + 1
    assert time.process_time() - began < 4


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_at_least_one_record_or_an_empty_array(body: bytes) -> None:
    records = decode(body)
    assert records or json.loads(body.decode("utf-8-sig")) == []
