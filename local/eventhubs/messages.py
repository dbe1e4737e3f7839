"""Messages: the sections of an AMQP message and what the service does to them (AMQP 1.0 part 3, section 3.2).

A message is a run of described sections. They are handled as spans of bytes, so that a publisher's body and properties
come out exactly as they went in; only the annotations are rewritten.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from .amqp_types import (
    AmqpDecodeError,
    compound_header,
    decode,
    described,
    long,
    map_of,
    skip,
    string,
    symbol,
    timestamp,
)

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)

# The message format with which a sender says that each data section is a whole message of its own.
BATCH_FORMAT = 0x80013700

_PARTITION_KEY = "x-opt-partition-key"
_SERVICE_ANNOTATIONS = {"x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time"}


class Stamp(NamedTuple):
    """What the service adds to an event: its place in the partition and when it was taken in."""

    sequence_number: int
    offset: int
    enqueued_ms: int


class Section(NamedTuple):
    """Where one section lies in the message: the whole of it, and its value behind the descriptor."""

    kind: int
    start: int
    value: int
    end: int


def sections(message: bytes) -> list[Section]:
    """All sections of `message`; AmqpDecodeError if it is not made of message sections only."""
    found = []
    at = 0
    while at < len(message):
        if message[at] != 0:
            raise AmqpDecodeError("a message section without a descriptor")
        kind, value = decode(message, at + 1)
        if not isinstance(kind, int) or not HEADER <= kind <= FOOTER:
            raise AmqpDecodeError(f"unknown message section {kind!r}")
        end = skip(message, value)
        found.append(Section(kind, at, value, end))
        at = end
    return found


def _raw_map_items(message: bytes, at: int) -> Iterator[tuple[Any, bytes, bytes]]:
    """Each key of the map at `at`, decoded, with the bytes of the key and of its value."""
    code = message[at]
    if code not in (0xC1, 0xD1):
        raise AmqpDecodeError("annotations that are not a map")
    count, at, _ = compound_header(code == 0xC1, message, at + 1)
    for _ in range(count // 2):
        key, value = decode(message, at)
        end = skip(message, value)
        yield key, message[at:value], message[value:end]
        at = end


def partition_key(message: bytes) -> str | None:
    """The partition key in the message's annotations, if the publisher set one."""
    for section in sections(message):
        if section.kind == MESSAGE_ANNOTATIONS:
            for key, _, value in _raw_map_items(message, section.value):
                if key == _PARTITION_KEY:
                    found = decode(value)[0]
                    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
    return None


def batch_members(message: bytes) -> list[bytes]:
    """The messages inside a message of BATCH_FORMAT."""
    members = []
    for section in sections(message):
        if section.kind == DATA:
            member = decode(message, section.value)[0]
            if not isinstance(member, bytes):
                raise AmqpDecodeError("a batch member that is not binary")
            members.append(member)
    return members


def stamped(message: bytes, stamp: Stamp, key: str | None) -> bytes:
    """The message as consumers get it: with sequence number, offset, enqueued time and partition key.

    Delivery annotations are dropped, as they concern only the publisher's own transfer (section 3.2.2).
    """
    header, rest = b"", []
    annotations: list[tuple[bytes, bytes]] = []
    replaced = _SERVICE_ANNOTATIONS if key is None else _SERVICE_ANNOTATIONS | {_PARTITION_KEY}
    for section in sections(message):
        if section.kind == MESSAGE_ANNOTATIONS:
            annotations += [(k, v) for name, k, v in _raw_map_items(message, section.value) if name not in replaced]
        elif section.kind == HEADER:
            header = message[section.start : section.end]
        elif section.kind != DELIVERY_ANNOTATIONS:
            rest.append(message[section.start : section.end])
    if key is not None:
        annotations.append((symbol(_PARTITION_KEY), string(key)))
    annotations += [
        (symbol("x-opt-sequence-number"), long(stamp.sequence_number)),
        (symbol("x-opt-offset"), string(str(stamp.offset))),
        (symbol("x-opt-enqueued-time"), timestamp(stamp.enqueued_ms)),
    ]
    return b"".join([header, described(MESSAGE_ANNOTATIONS, map_of(annotations)), *rest])


def runtime_metrics(last: Stamp, now_ms: int) -> bytes:
    """Delivery annotations about the end of the partition (the SDK's track_last_enqueued_event_properties)."""
    return described(
        DELIVERY_ANNOTATIONS,
        map_of(
            [
                (symbol("last_enqueued_sequence_number"), long(last.sequence_number)),
                (symbol("last_enqueued_offset"), string(str(last.offset))),
                (symbol("last_enqueued_time_utc"), timestamp(last.enqueued_ms)),
                (symbol("runtime_info_retrieval_time_utc"), timestamp(now_ms)),
            ]
        ),
    )


def with_delivery_annotations(message: bytes, annotations: bytes) -> bytes:
    """Put delivery annotations where they belong: after the header, before everything else."""
    at = skip(message, 0) if decode(message, 1)[0] == HEADER else 0
    return message[:at] + annotations + message[at:]
