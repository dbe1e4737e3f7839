"""Frames: cutting the byte stream of a connection into frames and back (AMQP 1.0 part 2, sections 2.2 and 2.3)."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .errors import FRAMING_ERROR, AmqpError

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"

AMQP_FRAME = 0
SASL_FRAME = 1

MAX_FRAME_SIZE = 65536
MIN_MAX_FRAME_SIZE = 512

_HEADER = struct.Struct(">IBBH")  # size, data offset in words of four bytes, type, channel


class ProtocolHeader(NamedTuple):
    """The eight bytes with which each protocol layer begins."""

    value: bytes


class Frame(NamedTuple):
    type: int
    channel: int
    body: bytes  # empty in a heartbeat


def encode_frame(channel: int, body: bytes, frame_type: int = AMQP_FRAME) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), 2, frame_type, channel) + body


class FrameReader:
    """Collects bytes as they arrive and gives them out frame by frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[ProtocolHeader | Frame]:
        """Add `data` and yield every frame that is complete now; AmqpError when the stream makes no sense."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= _HEADER.size:
                if buffer[at : at + 4] == b"AMQP":  # as a frame size this would be 1.1 GB
                    yield ProtocolHeader(bytes(buffer[at : at + 8]))
                    at += 8
                    continue
                size, offset_words, frame_type, channel = _HEADER.unpack_from(buffer, at)
                offset = offset_words * 4
                if not _HEADER.size <= offset <= size <= MAX_FRAME_SIZE:
                    raise AmqpError(FRAMING_ERROR, f"invalid frame header: size {size}, data offset {offset}")
                if len(buffer) - at < size:
                    break
                body = bytes(buffer[at + offset : at + size])
                at += size
                yield Frame(frame_type, channel, body)
        finally:
            del buffer[:at]
