"""The codec: what is encoded decodes to the same, and no bytes make the decoders do anything but fail cleanly."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.eventhubs import amqp_types as amqp
from local.eventhubs import messages, performatives
from local.eventhubs.amqp_types import AmqpDecodeError, Described, decode, skip
from local.eventhubs.errors import AmqpError
from local.eventhubs.frames import Frame, FrameReader, encode_frame
from local.eventhubs.management import decode_request
from local.eventhubs.messages import Stamp

ASCII = st.text(st.characters(max_codepoint=127))


def integers(bits: int, *, signed: bool = False) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


# Pairs of a value and its encoding.
SCALARS = st.one_of(
    st.just((None, amqp.NULL)),
    st.booleans().map(lambda v: (v, amqp.boolean(v))),
    integers(8).map(lambda v: (v, amqp.ubyte(v))),
    integers(16).map(lambda v: (v, amqp.ushort(v))),
    integers(32).map(lambda v: (v, amqp.uint(v))),
    integers(64).map(lambda v: (v, amqp.ulong(v))),
    integers(32, signed=True).map(lambda v: (v, amqp.int32(v))),
    integers(64, signed=True).map(lambda v: (v, amqp.long(v))),
    integers(64, signed=True).map(lambda v: (v, amqp.timestamp(v))),
    st.binary(max_size=300).map(lambda v: (v, amqp.binary(v))),
    st.text(max_size=300).map(lambda v: (v, amqp.string(v))),
    ASCII.map(lambda v: (v, amqp.symbol(v))),
    st.lists(ASCII).map(lambda v: (v, amqp.array_of_symbols(v))),
    st.lists(st.text()).map(lambda v: (v, amqp.array_of_strings(v))),
)


def list_pair(pairs: list[tuple[Any, bytes]]) -> tuple[Any, bytes]:
    return [value for value, _ in pairs], amqp.list_of([encoded for _, encoded in pairs])


def map_pair(pairs: dict[str, tuple[Any, bytes]]) -> tuple[Any, bytes]:
    encoded = amqp.map_of((amqp.symbol(key), encoded) for key, (_, encoded) in pairs.items())
    return {key: value for key, (value, _) in pairs.items()}, encoded


def described_pair(code: int, pair: tuple[Any, bytes]) -> tuple[Any, bytes]:
    return Described(code, pair[0]), amqp.described(code, pair[1])


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6).map(list_pair),
        st.dictionaries(ASCII, inner, max_size=4).map(map_pair),
        st.builds(described_pair, integers(8), inner),
    ),
    max_leaves=10,
)


@given(VALUES, st.binary(max_size=5), st.binary(max_size=5))
def test_round_trip(pair: tuple[Any, bytes], before: bytes, after: bytes) -> None:
    value, encoded = pair
    data = before + encoded + after
    end = len(before) + len(encoded)
    assert decode(data, len(before)) == (value, end)
    assert skip(data, len(before)) == end


@given(st.binary(max_size=200))
def test_decoders_only_raise_their_own_error(data: bytes) -> None:
    functions: list[Any] = [
        lambda: decode(data),
        lambda: skip(data, 0),
        lambda: performatives.decode_performative(data),
        lambda: messages.batch_members(data),
        lambda: messages.partition_key(data),
        lambda: messages.stamped(data, Stamp(0, 0, 0), None),
        lambda: decode_request(data),
    ]
    for function in functions:
        with suppress(AmqpDecodeError):
            function()


@given(VALUES, st.integers(0, 400), st.integers(0, 255))
def test_damaged_values_only_raise_the_decode_error(pair: tuple[Any, bytes], at: int, byte: int) -> None:
    data = bytearray(pair[1])
    data[at % len(data)] = byte
    for damaged in (bytes(data), pair[1][:at]):
        with suppress(AmqpDecodeError):
            decode(damaged)


@given(st.sampled_from([0x70, 0x72, 0x73, 0x74, 0x75, 0x77]), VALUES)
def test_sections_with_any_value_only_raise_the_decode_error(kind: int, pair: tuple[Any, bytes]) -> None:
    message = amqp.described(kind, pair[1])
    functions: list[Any] = [
        lambda data: messages.stamped(data, Stamp(0, 0, 0), None),
        messages.batch_members,
        messages.partition_key,
        decode_request,
    ]
    for function in functions:
        with suppress(AmqpDecodeError):
            function(message)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x71\x00",  # an int without its end
        b"\xa1\x02\xff\xff",  # a string that is not UTF-8
        b"\xa3\x01\xe4",  # a symbol that is not ASCII
        b"\x57",  # no such type
        b"\xc1\x02\x01\x40",  # a map with a key only
        b"\xc1\x04\x02\xc0\x01\x00\x40"[:6],  # a map cut off
        b"\xc1\x05\x02\xc0\x01\x00\x40",  # a map with a list as key
        b"\xc0\x03\x01\x40\x40",  # a list longer than its elements
        b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",  # ten bytes that ask for four billion nulls
        b"\x00" * 5000,  # nested without end
        b"\xc0\xff\x01" * 2000,
    ],
)
def test_invalid_values(data: bytes) -> None:
    with pytest.raises(AmqpDecodeError):
        decode(data)


def test_types_that_are_only_read() -> None:
    assert decode(b"\x98" + bytes(range(16)))[0].bytes == bytes(range(16))
    assert decode(b"\x82" + b"\x3f\xf8" + bytes(6))[0] == 1.5
    assert decode(b"\x56\x01") == (True, 2)
    assert decode(b"\x45") == ([], 1)
    assert decode(b"\x54\xff") == (-1, 2)
    assert decode(b"\xe0\x06\x02\x00\x53\x05\x50\x01\x02"[:1] + b"\x07\x02\x00\x53\x05\x50\x01\x02")[0] == [
        Described(5, 1),
        Described(5, 2),
    ]


def test_a_performative_with_a_field_of_the_wrong_type_is_refused() -> None:
    body = amqp.described(performatives.DETACH, amqp.list_of([amqp.string("one")]))
    with pytest.raises(AmqpDecodeError, match="'handle'"):
        performatives.decode_performative(body)


@given(st.lists(st.tuples(integers(16), st.binary(max_size=50)), max_size=5), st.integers(1, 20))
def test_frames_in_pieces(frames: list[tuple[int, bytes]], size: int) -> None:
    stream = b"".join(encode_frame(channel, body) for channel, body in frames)
    reader = FrameReader()
    found = [frame for at in range(0, len(stream), size) for frame in reader.feed(stream[at : at + size])]
    assert found == [Frame(0, channel, body) for channel, body in frames]


@given(st.binary(max_size=100))
def test_a_stream_of_anything_only_raises_the_framing_error(data: bytes) -> None:
    try:
        list(FrameReader().feed(data))
    except AmqpError as error:
        assert error.condition == "amqp:connection:framing-error"


def test_the_service_annotations_replace_the_publishers() -> None:
    claimed = [(amqp.symbol("x-opt-sequence-number"), amqp.long(99)), (amqp.symbol("x-opt-mine"), amqp.int32(1))]
    header = amqp.described(messages.HEADER, amqp.list_of([amqp.TRUE]))
    body = amqp.described(messages.DATA, amqp.binary(b"body"))
    message = b"".join(
        [
            header,
            amqp.described(messages.DELIVERY_ANNOTATIONS, amqp.map_of([])),
            amqp.described(messages.MESSAGE_ANNOTATIONS, amqp.map_of(claimed)),
            body,
        ]
    )
    stamped = messages.stamped(message, Stamp(7, 512, 1000), "key")
    annotations = decode(stamped, len(header))[0]
    assert stamped.startswith(header)
    assert stamped.endswith(body)
    assert annotations == Described(
        messages.MESSAGE_ANNOTATIONS,
        {
            "x-opt-mine": 1,
            "x-opt-partition-key": "key",
            "x-opt-sequence-number": 7,
            "x-opt-offset": "512",
            "x-opt-enqueued-time": 1000,
        },
    )
    assert messages.partition_key(stamped) == "key"
    extra = amqp.described(messages.DELIVERY_ANNOTATIONS, amqp.map_of([]))
    assert messages.with_delivery_annotations(stamped, extra) == header + extra + stamped[len(header) :]
