"""collectors.sse: server-sent events split as the WHATWG standard says, on bytes."""

import re

from hypothesis import given
from hypothesis import strategies as st

from collectors.sse import data_from_end, data_from_start, is_event_stream

TELLING = ["\u2028", "a\u2029b", "\x0b\x0c\x1c\x85", " leading", "data: inside", ": no comment", ""]
line_texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20) | st.sampled_from(TELLING)
events = st.lists(st.lists(line_texts, min_size=1, max_size=3), max_size=6)


def by_the_standard(body: bytes) -> list[bytes]:
    """The events' data by the letter of WHATWG HTML 9.2.6, but the last event needs no blank line."""
    data: list[bytes] = []
    dispatched: list[bytes] = []
    for line in [*re.split(rb"\r\n|\r|\n", body.removeprefix(b"\xef\xbb\xbf")), b""]:
        field, _, value = line.partition(b":")
        if not line:
            if data:
                dispatched.append(b"\n".join(data))
            data = []
        elif field == b"data":
            data.append(value.removeprefix(b" "))
    return dispatched


@given(events, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["data:", "data: "]), st.booleans())
def test_data_comes_out_as_it_went_in(sent: list[list[str]], end: str, field: str, last_blank_line: bool) -> None:
    lines: list[str] = []
    for event in sent:
        lines += [": comment", "event: x", *(field + text for text in event), ""]
    body = (end.join(lines) + (end if last_blank_line else "")).encode()
    assert list(reversed(list(data_from_end(body)))) == by_the_standard(body)


@given(st.lists(st.sampled_from([b"data:", b"data: ", b":", b"x", b"\r", b"\n", b"\r\n", b"id", b" "]), max_size=30))
def test_any_bytes_are_split_by_the_standard(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert list(reversed(list(data_from_end(body)))) == by_the_standard(body)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_never_raise(body: bytes) -> None:
    list(data_from_end(body))
    list(data_from_start(body))
    is_event_stream(body)


@given(st.lists(line_texts, max_size=6), st.sampled_from(["\n", "\r\n", "\r"]))
def test_one_line_events_read_the_same_from_both_ends(sent: list[str], end: str) -> None:
    body = "".join(f"data:{text}{end}{end}" for text in sent).encode()
    assert list(data_from_start(body)) == list(reversed(list(data_from_end(body))))


def test_last_event_comes_first() -> None:
    assert list(data_from_end(b"data: 1\n\ndata: 2\ndata: 3\n\ndata: 4")) == [b"4", b"2\n3", b"1"]


def test_event_stream_is_known_by_a_line_that_only_it_has() -> None:
    assert is_event_stream(b"data: x")
    assert is_event_stream(b": hello\revent:x")
    assert not is_event_stream(b'{"data": [1], "event": "x"}')
    assert not is_event_stream(b'{\n  "data": [1],\n  "event": "x"\n}')
    assert not is_event_stream(b"nodata: x")
    assert not is_event_stream("a\u2028data: x".encode())
