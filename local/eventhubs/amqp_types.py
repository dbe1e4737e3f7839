"""The AMQP 1.0 type system: bytes to Python values and back (AMQP 1.0 part 1, sections 1.2 and 1.6).

Decoding answers plain Python values: the AMQP type is not kept, because no caller here needs it. Encoding therefore
has one function per AMQP type this package sends. Everything a peer can send is bounded: a decoder never reads past
the buffer, never nests deeper than MAX_DEPTH and never makes more elements than there are bytes.
"""

import struct
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

MAX_DEPTH = 32

NULL = b"\x40"
TRUE = b"\x41"
FALSE = b"\x42"


class AmqpDecodeError(Exception):
    """Bytes that are not a valid AMQP encoding; the only error decode() and skip() raise."""


class Described(NamedTuple):
    """A value with a descriptor that says what it means (part 1, section 1.1.2)."""

    descriptor: Any
    value: Any


# --------------------------------------------------------------------------------------------------------- decoding

_CONSTANTS: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}

_FIXED = {
    code: struct.Struct(">" + layout)
    for code, layout in {
        0x50: "B",  # ubyte
        0x51: "b",  # byte
        0x52: "B",  # smalluint
        0x53: "B",  # smallulong
        0x54: "b",  # smallint
        0x55: "b",  # smalllong
        0x56: "?",  # boolean
        0x60: "H",  # ushort
        0x61: "h",  # short
        0x70: "I",  # uint
        0x71: "i",  # int
        0x72: "f",  # float
        0x73: "4s",  # char; it and the decimals are answered as their raw bytes
        0x74: "4s",  # decimal32
        0x80: "Q",  # ulong
        0x81: "q",  # long
        0x82: "d",  # double
        0x83: "q",  # timestamp, milliseconds since 1970
        0x84: "8s",  # decimal64
        0x94: "16s",  # decimal128
        0x98: "16s",  # uuid
    }.items()
}

_TEXT_ENCODINGS = {0x0: None, 0x1: "utf-8", 0x3: "ascii"}  # binary, string, symbol

_UINT32 = struct.Struct(">I")
_TWO_UINT32 = struct.Struct(">II")


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The value that starts at `at`, and where the next one starts."""
    try:
        return _decode(data, at, 0)
    except (IndexError, struct.error) as error:
        raise AmqpDecodeError("the data ends inside a value") from error
    except UnicodeDecodeError as error:
        raise AmqpDecodeError(f"text that is not {error.encoding}") from error


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    code = data[at]
    if code:
        return _decode_body(code, data, at + 1, depth)
    _check_depth(depth)
    descriptor, at = _decode(data, at + 1, depth + 1)
    value, at = _decode(data, at, depth + 1)
    return Described(descriptor, value), at


def _decode_body(code: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Decode what follows the constructor `code` (in an array one constructor serves all elements)."""
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if code in _FIXED:
        layout = _FIXED[code]
        value = layout.unpack_from(data, at)[0]
        return (uuid.UUID(bytes=value) if code == 0x98 else value), at + layout.size
    if code == 0x45:
        return [], at
    family, subtype = code >> 4, code & 0x0F
    if family in (0xA, 0xB) and subtype in _TEXT_ENCODINGS:
        start, end = _variable_span(family, data, at)
        encoding = _TEXT_ENCODINGS[subtype]
        return (data[start:end].decode(encoding) if encoding else data[start:end]), end
    if family in (0xC, 0xD) and subtype in (0, 1):
        _check_depth(depth)
        items, end = _decode_items(family == 0xC, data, at, depth + 1)
        return (items if subtype == 0 else _pairs_to_dict(items)), end
    if code in (0xE0, 0xF0):
        _check_depth(depth)
        return _decode_array(code == 0xE0, data, at, depth + 1)
    raise AmqpDecodeError(f"unknown constructor 0x{code:02x}")


def compound_header(short: bool, data: bytes, at: int) -> tuple[int, int, int]:
    """Count, first element and end of the list, map or array whose size field is at `at` (section 1.2.3)."""
    if short:
        size, count = data[at], data[at + 1]
        first, end = at + 2, at + 1 + size
    else:
        size, count = _TWO_UINT32.unpack_from(data, at)
        first, end = at + 8, at + 4 + size
    if end > len(data) or first > end:
        raise AmqpDecodeError("a list, map or array is larger than the data")
    if count > end - first:
        # True for arrays of zero-width elements as well, which no peer sends and which would let ten bytes
        # ask for four billion values.
        raise AmqpDecodeError("a list, map or array counts more elements than it has bytes")
    return count, first, end


def _decode_items(short: bool, data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    count, at, end = compound_header(short, data, at)
    items = []
    for _ in range(count):
        value, at = _decode(data, at, depth)
        items.append(value)
    if at != end:
        raise AmqpDecodeError("a list or map does not end where its size says")
    return items, end


def _decode_array(short: bool, data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    count, at, end = compound_header(short, data, at)
    if count == 0:
        return [], end
    descriptor, described = None, False
    if data[at] == 0:
        described = True
        descriptor, at = _decode(data, at + 1, depth)
    code, at = data[at], at + 1
    items = []
    for _ in range(count):
        value, at = _decode_body(code, data, at, depth)
        items.append(Described(descriptor, value) if described else value)
    if at != end:
        raise AmqpDecodeError("an array does not end where its size says")
    return items, end


def _pairs_to_dict(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise AmqpDecodeError("a map has a key without a value")
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as error:
        raise AmqpDecodeError("a map key is itself a list or map") from error


def _variable_span(family: int, data: bytes, at: int) -> tuple[int, int]:
    if family == 0xA:
        start, length = at + 1, data[at]
    else:
        start, length = at + 4, _UINT32.unpack_from(data, at)[0]
    end = start + length
    if end > len(data):
        raise AmqpDecodeError("a binary, string or symbol is longer than the data")
    return start, end


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise AmqpDecodeError(f"values nested more than {MAX_DEPTH} deep")


# The width of a value by the high half of its constructor (section 1.2): fixed, or told by a size field.
_FIXED_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}


def skip(data: bytes, at: int) -> int:
    """Where the value that starts at `at` ends, without decoding it."""
    try:
        end = _skip(data, at, 0)
    except (IndexError, struct.error) as error:
        raise AmqpDecodeError("the data ends inside a value") from error
    if end > len(data):
        raise AmqpDecodeError("the data ends inside a value")
    return end


def _skip(data: bytes, at: int, depth: int) -> int:
    code = data[at]
    if code == 0:
        _check_depth(depth)
        return _skip(data, _skip(data, at + 1, depth + 1), depth + 1)
    family = code >> 4
    if family in _FIXED_WIDTHS:
        return at + 1 + _FIXED_WIDTHS[family]
    if family in (0xA, 0xC, 0xE):
        return at + 2 + int(data[at + 1])
    if family in (0xB, 0xD, 0xF):
        return at + 5 + int(_UINT32.unpack_from(data, at + 1)[0])
    raise AmqpDecodeError(f"unknown constructor 0x{code:02x}")


# --------------------------------------------------------------------------------------------------------- encoding


def boolean(value: bool) -> bytes:
    return TRUE if value else FALSE


def ubyte(value: int) -> bytes:
    return struct.pack(">BB", 0x50, value)


def ushort(value: int) -> bytes:
    return struct.pack(">BH", 0x60, value)


def uint(value: int) -> bytes:
    return struct.pack(">BI", 0x70, value)


def ulong(value: int) -> bytes:
    return struct.pack(">BQ", 0x80, value)


def int32(value: int) -> bytes:
    return struct.pack(">Bi", 0x71, value)


def long(value: int) -> bytes:
    return struct.pack(">Bq", 0x81, value)


def timestamp(milliseconds: int) -> bytes:
    return struct.pack(">Bq", 0x83, milliseconds)


def binary(value: bytes) -> bytes:
    return _variable(0xA0, value)


def string(value: str) -> bytes:
    return _variable(0xA1, value.encode())


def symbol(value: str) -> bytes:
    return _variable(0xA3, value.encode("ascii"))


def _variable(short_code: int, value: bytes) -> bytes:
    if len(value) < 256:
        return bytes((short_code, len(value))) + value
    return struct.pack(">BI", short_code + 0x10, len(value)) + value


def list_of(encoded: Sequence[bytes]) -> bytes:
    return _compound(0xC0, len(encoded), b"".join(encoded))


def map_of(encoded_pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    parts = [part for pair in encoded_pairs for part in pair]
    return _compound(0xC1, len(parts), b"".join(parts))


def _compound(short_code: int, count: int, body: bytes) -> bytes:
    if count < 256 and len(body) < 255:  # the one-byte size counts the count byte, too
        return bytes((short_code, len(body) + 1, count)) + body
    return struct.pack(">BII", short_code + 0x10, len(body) + 4, count) + body


def array_of_symbols(values: Sequence[str]) -> bytes:
    return _array(0xB3, [value.encode("ascii") for value in values])


def array_of_strings(values: Sequence[str]) -> bytes:
    return _array(0xB1, [value.encode() for value in values])


def _array(element_code: int, values: list[bytes]) -> bytes:
    body = bytes((element_code,)) + b"".join(_UINT32.pack(len(value)) + value for value in values)
    return struct.pack(">BII", 0xF0, len(body) + 4, len(values)) + body


def described(code: int, encoded: bytes) -> bytes:
    """`encoded` behind a numeric descriptor; always the one-byte form, the only one the Python SDK reads."""
    return bytes((0x00, 0x53, code)) + encoded
