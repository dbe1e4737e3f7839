"""What is done to good input to make bad input of it: pure, the same operations give the same result."""

import base64
import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

MAX_LENGTH = 60_000

TOKENS: tuple[bytes, ...] = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(b"data: ", b"event: x", b"data: [DONE]\n\n", b"\\ud83d", b"\\u0000", b"\\udc00\\ud800", b"\xed\xa0\x80", b"\xe2"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 30, b"1.5", b"[" * 300, b'{"a":' * 300),
    *(b'"usage":', b'"usage":null', b'"model":"m"', b'"error":{}', b'"records":[', b'"data_base64":"e30="'),
    *(b'"type":"message_delta"', b'"type":"message_stop"', b'"finish_reason":"stop"', b'"schema":"usage-event/1"'),
)

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, 2**53 + 1, 2**63, 10**12, 10**12 + 1, 10**40, 1e308),
    *("", " ", "x", "0", "12", "1e3", "null", "{}", "[]", "data: {}", "\ud800".encode("utf-8", "replace").decode()),
    *("\0", "\u2028", "é" * 1025, "🦄" * 600, "/\\#?%", "2026-11-20T12:00:00Z", "0001-01-01T00:00:00+01:00"),
    *("9999-12-31T23:59:60-23:59", "usage-event/1", "eyJhIjogMX0=", "AAAAAA==", '{"usage": {"prompt_tokens": 1}}'),
    *([], {}, [[]], [{}], [None], {"a": {}}, {"": ""}, [0, {}], {"usage": {"prompt_tokens": 1}}, {"body": "{}"}),
    *({"prompt_tokens": -1}, {"input_tokens": "7"}, {"content": [{"text": "t"}]}, {"records": []}, [[[[[{}]]]]]),
)


class Change(NamedTuple):
    """`kind` says what, `at` and `more` where and how far (as parts of 65,536), `what` which token, value or donor."""

    kind: str
    at: int
    more: int
    what: int


def mutate(seed: bytes, changes: Sequence[Change], donors: Sequence[bytes]) -> bytes:
    """At most MAX_LENGTH bytes of what the changes make of `seed`."""
    for change in changes:
        seed = KINDS[change.kind](seed, change, donors)[:MAX_LENGTH]
    return seed


def _place(length: int, part: int) -> int:
    return (length + 1) * (part % 65_536) // 65_536


def _span(data: bytes, change: Change) -> tuple[int, int]:
    start = _place(len(data), change.at)
    return start, min(len(data), start + 1 + _place(len(data) // 4, change.more))


def _cut_start(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    return data[_place(len(data), change.at) :]


def _cut_end(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    return data[: _place(len(data), change.at)]


def _remove(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    start, end = _span(data, change)
    return data[:start] + data[end:]


def _repeat(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    start, end = _span(data, change)
    return data[:start] + data[start:end] * (1 + change.what % 40) + data[end:]


def _flip(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    start, _ = _span(data, change)
    return data[:start] + bytes([change.what % 256]) + data[start + 1 :]


def _insert(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    start, _ = _span(data, change)
    return data[:start] + TOKENS[change.what % len(TOKENS)] + data[start:]


def _splice(data: bytes, change: Change, donors: Sequence[bytes]) -> bytes:
    donor = donors[change.what % len(donors)]
    return data[: _place(len(data), change.at)] + donor[_place(len(donor), change.more) :]


def _join(data: bytes, change: Change, donors: Sequence[bytes]) -> bytes:
    return data + (b"\n", b"", b",", b"\r\n\r\n")[change.more % 4] + donors[change.what % len(donors)]


_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def _number(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return data
    start, end = numbers[change.at % len(numbers)].span()
    return data[:start] + json.dumps(VALUES[change.what % len(VALUES)]).encode() + data[end:]


def _node(data: bytes, change: Change, donors: Sequence[bytes]) -> bytes:
    """Another value in the place of some node of a JSON document, or none."""
    document = _parsed(data)
    places = _places(document)
    if not places:
        return data
    holder, key = places[change.at % len(places)]
    match change.more % 5:
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]] * (1 + change.what % 3)
        case 2:
            holder[key] = json.dumps(holder[key])
        case 3:
            holder[key] = _parsed(donors[change.what % len(donors)])
        case _:
            holder[key] = VALUES[change.what % len(VALUES)]
    return json.dumps(document, ensure_ascii=bool(change.what % 2)).encode("utf-8", "surrogatepass")


def _wrap(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    """In one of the wrappers that records come in."""
    event = {"specversion": "1.0", "type": "t", "source": "s", "id": str(change.at)}
    document, text = _parsed(data), data.decode("utf-8", "replace")
    wrapped = (
        {"records": [document, document]},
        {**event, "data": document},
        {**event, "data": text},
        {**event, "data_base64": "!" + text},
        [document, document],
        {"response": text, "request": {"model": "m"}},
        {"schema": "usage-event/1", "request_id": "r", "timestamp": "2026-11-20T12:00:00Z", "body": text},
    )[change.what % 7]
    return json.dumps(wrapped).encode("utf-8", "surrogatepass")


def _amazon(data: bytes, change: Change, _donors: Sequence[bytes]) -> bytes:
    """As messages of Amazon's event stream, in base64; at times with a payload that is wrapped, or none of these."""
    payload = json.dumps({"bytes": base64.b64encode(data).decode()}).encode() if change.what % 2 else data
    head = struct.pack(">II", len(payload) + 16 + change.more % 3 - 1, 0)
    message = head + struct.pack(">I", zlib.crc32(head)) + payload + b"\0\0\0\0"
    return base64.b64encode(message * (1 + change.at % 3))


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _places(document: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo = [document]
    while todo and len(found) < 500:
        value = todo.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        found += [(value, key) for key in keys]
        todo += [value[key] for key in keys]
    return found


KINDS: dict[str, Callable[[bytes, Change, Sequence[bytes]], bytes]] = {
    "node": _node,
    "number": _number,
    "wrap": _wrap,
    "amazon": _amazon,
    "cut end": _cut_end,
    "cut start": _cut_start,
    "remove": _remove,
    "repeat": _repeat,
    "flip": _flip,
    "insert": _insert,
    "splice": _splice,
    "join": _join,
}
