"""collectors.sse: server-sent events split as the WHATWG standard says, on bytes, from either end."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import sse
from collectors.sse import EventStream, is_event_stream

TELLING = ["\u2028", "a\u2029b", "\x0b\x0c\x1c\x85", " leading", "data: inside", ": no comment", ""]
line_texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20) | st.sampled_from(TELLING)
events = st.lists(st.lists(line_texts, min_size=1, max_size=3), max_size=6)


@pytest.fixture(scope="module", autouse=True, params=[1, 7, 1024])
def window(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many bytes are split at once must not show in what comes out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "_FIRST_WINDOW", request.param)
        yield


def data(body: bytes) -> list[bytes]:
    """The events' data, which must be the same from both ends."""
    found = list(EventStream(body))
    assert list(reversed(EventStream(body))) == found[::-1]
    return found


def by_the_standard(body: bytes) -> list[bytes]:
    """The events' data by the letter of WHATWG HTML 9.2.6, but the last event needs no blank line."""
    lines: list[bytes] = []
    dispatched: list[bytes] = []
    for line in [*re.split(rb"\r\n|\r|\n", body.removeprefix(b"\xef\xbb\xbf")), b""]:
        field, _, value = line.partition(b":")
        if not line:
            if lines:
                dispatched.append(b"\n".join(lines))
            lines = []
        elif field == b"data":
            lines.append(value.removeprefix(b" "))
    return dispatched


@given(events, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["data:", "data: "]), st.booleans())
def test_data_comes_out_as_it_went_in(sent: list[list[str]], end: str, field: str, last_blank_line: bool) -> None:
    lines: list[str] = []
    for event in sent:
        lines += [": comment", "event: x", *(field + text for text in event), ""]
    body = (end.join(lines) + (end if last_blank_line else "")).encode()
    assert data(body) == by_the_standard(body)


@given(st.lists(st.sampled_from([b"data:", b"data: ", b":", b"x", b"\r", b"\n", b"\r\n", b"id", b" "]), max_size=30))
def test_any_bytes_are_split_by_the_standard(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert data(body) == by_the_standard(body)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_never_raise(body: bytes) -> None:
    data(body)
    is_event_stream(body)


def test_lines_of_one_event_are_one_datum() -> None:
    assert data(b"data: 1\n\ndata: 2\ndata: 3\n\ndata: 4") == [b"1", b"2\n3", b"4"]


def test_event_stream_is_known_by_a_line_that_only_it_has() -> None:
    assert is_event_stream(b"data: x")
    assert is_event_stream(b": hello\revent:x")
    assert not is_event_stream(b'{"data": [1], "event": "x"}')
    assert not is_event_stream(b'{\n  "data": [1],\n  "event": "x"\n}')
    assert not is_event_stream(b"nodata: x")
    assert not is_event_stream("a\u2028data: x".encode())
