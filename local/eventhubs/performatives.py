"""Performatives: the frame bodies with which peers talk (AMQP 1.0 part 2, section 2.7; SASL: part 5, section 5.3).

Every performative is written with all its fields, nulls at the end included: the Python SDK's own AMQP library reads
fields by index and fails on a shorter list, although the specification allows leaving trailing nulls out.
"""

import struct
from dataclasses import dataclass
from typing import Any

from .amqp_types import (
    FALSE,
    NULL,
    TRUE,
    AmqpDecodeError,
    Described,
    array_of_symbols,
    boolean,
    compound_header,
    decode,
    described,
    list_of,
    string,
    symbol,
    ubyte,
    uint,
    ulong,
    ushort,
)

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
ERROR = 0x1D
ACCEPTED_STATE, REJECTED_STATE = 0x24, 0x25
SASL_MECHANISMS, SASL_INIT, SASL_CHALLENGE, SASL_RESPONSE, SASL_OUTCOME = range(0x40, 0x45)

_Schema = tuple[tuple[str, type | tuple[type, ...]], ...]

# Field names and the Python types their values must have; `object` where this package does not look at the field.
_SCHEMAS: dict[int, _Schema] = {
    OPEN: (
        ("container_id", str),
        ("hostname", str),
        ("max_frame_size", int),
        ("channel_max", int),
        ("idle_time_out", int),
        ("outgoing_locales", object),
        ("incoming_locales", object),
        ("offered_capabilities", object),
        ("desired_capabilities", object),
        ("properties", object),
    ),
    BEGIN: (
        ("remote_channel", int),
        ("next_outgoing_id", int),
        ("incoming_window", int),
        ("outgoing_window", int),
        ("handle_max", int),
        ("offered_capabilities", object),
        ("desired_capabilities", object),
        ("properties", object),
    ),
    ATTACH: (
        ("name", str),
        ("handle", int),
        ("role", bool),
        ("snd_settle_mode", int),
        ("rcv_settle_mode", int),
        ("source", Described),
        ("target", Described),
        ("unsettled", object),
        ("incomplete_unsettled", object),
        ("initial_delivery_count", int),
        ("max_message_size", int),
        ("offered_capabilities", object),
        ("desired_capabilities", (str, list)),
        ("properties", dict),
    ),
    FLOW: (
        ("next_incoming_id", int),
        ("incoming_window", int),
        ("next_outgoing_id", int),
        ("outgoing_window", int),
        ("handle", int),
        ("delivery_count", int),
        ("link_credit", int),
        ("available", int),
        ("drain", bool),
        ("echo", bool),
        ("properties", object),
    ),
    TRANSFER: (
        ("handle", int),
        ("delivery_id", int),
        ("delivery_tag", bytes),
        ("message_format", int),
        ("settled", bool),
        ("more", bool),
        ("rcv_settle_mode", int),
        ("state", object),
        ("resume", bool),
        ("aborted", bool),
        ("batchable", bool),
    ),
    DISPOSITION: (
        ("role", bool),
        ("first", int),
        ("last", int),
        ("settled", bool),
        ("state", object),
        ("batchable", bool),
    ),
    DETACH: (("handle", int), ("closed", bool), ("error", object)),
    END: (("error", object),),
    CLOSE: (("error", object),),
    SASL_INIT: (("mechanism", str), ("initial_response", bytes), ("hostname", str)),
}


@dataclass(slots=True)
class Performative:
    """A decoded performative: `frame["handle"]` is a value, or None where the peer left it out."""

    code: int
    values: dict[str, Any]
    encoded: dict[str, bytes]  # the same fields as they came, to be echoed
    payload: bytes

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)


def decode_performative(body: bytes) -> Performative:
    """Decode a frame body; raises AmqpDecodeError for anything but a known performative with the right types."""
    try:
        return _decode_performative(body)
    except (IndexError, struct.error) as error:
        raise AmqpDecodeError("the frame ends inside its performative") from error


def _decode_performative(body: bytes) -> Performative:
    if body[0] != 0:
        raise AmqpDecodeError("a frame that does not start with a performative")
    code, at = decode(body, 1)
    schema = _SCHEMAS.get(code) if isinstance(code, int) else None
    if schema is None:
        raise AmqpDecodeError(f"unknown performative {code!r}")
    list_code, at = body[at], at + 1
    if list_code == 0x45:
        count, end = 0, at
    elif list_code in (0xC0, 0xD0):
        count, at, end = compound_header(list_code == 0xC0, body, at)
    else:
        raise AmqpDecodeError("a performative that is not a list")
    if count > len(schema):
        raise AmqpDecodeError(f"performative 0x{code:02x} has {count} fields")
    values: dict[str, Any] = {}
    encoded: dict[str, bytes] = {}
    for name, kind in schema[:count]:
        value, after = decode(body, at)
        if value is not None and not isinstance(value, kind):
            raise AmqpDecodeError(f"field {name!r} of performative 0x{code:02x} has the wrong type")
        values[name], encoded[name] = value, body[at:after]
        at = after
    if at != end:
        raise AmqpDecodeError("a performative does not end where its size says")
    return Performative(code, values, encoded, body[end:])


# ------------------------------------------------------------------------------------------------ what is sent


def sasl_mechanisms() -> bytes:
    """ANONYMOUS, and the name under which the service announces that the token comes later, over $cbs."""
    return described(SASL_MECHANISMS, list_of([array_of_symbols(["ANONYMOUS", "MSSBCBS"])]))


def sasl_outcome_ok() -> bytes:
    return described(SASL_OUTCOME, list_of([ubyte(0), NULL]))


def open_frame(container_id: str, max_frame_size: int, channel_max: int) -> bytes:
    fields = [string(container_id), NULL, uint(max_frame_size), ushort(channel_max)]
    return described(OPEN, list_of(fields + [NULL] * 6))


def begin(remote_channel: int, next_outgoing_id: int, window: int, handle_max: int) -> bytes:
    fields = [ushort(remote_channel), uint(next_outgoing_id), uint(window), uint(window), uint(handle_max)]
    return described(BEGIN, list_of(fields + [NULL] * 3))


_SETTLED = ubyte(1)  # the snd-settle-mode of everything this endpoint sends (part 2, section 2.8.2)


def attach_reply(request: Performative, max_message_size: int) -> bytes:
    """The answer to an attach: the other role, and source and target as the peer named them."""
    peer_receives = request["role"]
    fields = [
        string(request["name"]),
        uint(request["handle"]),
        boolean(not peer_receives),
        _SETTLED if peer_receives else request.encoded.get("snd_settle_mode", NULL),
        request.encoded.get("rcv_settle_mode", NULL),
        request.encoded.get("source", NULL),
        request.encoded.get("target", NULL),
        NULL,
        NULL,
        uint(0) if peer_receives else NULL,
        ulong(max_message_size),
        NULL,
        NULL,
        NULL,
    ]
    return described(ATTACH, list_of(fields))


def flow(
    next_incoming_id: int,
    next_outgoing_id: int,
    window: int,
    handle: int,
    delivery_count: int,
    link_credit: int,
    *,
    drain: bool = False,
) -> bytes:
    fields = [
        uint(next_incoming_id),
        uint(window),
        uint(next_outgoing_id),
        uint(window),
        uint(handle),
        uint(delivery_count),
        uint(link_credit),
        NULL,
        boolean(drain),
        FALSE,
        NULL,
    ]
    return described(FLOW, list_of(fields))


# Settled deliveries need no tag of their own to be told apart (part 2, section 2.6.12), and the SDK keeps every tag it
# has ever seen in a set; one shared tag keeps a consumer that runs for days from growing.
_SHARED_TAG = b"\xa0\x01\x00"
_TRANSFER_END = b"".join([_SHARED_TAG, uint(0), TRUE])
_TRANSFER_REST = NULL * 5


def transfer(handle: int, delivery_id: int, *, more: bool) -> bytes:
    """A settled transfer of message format 0; its payload follows directly."""
    fields = uint(handle) + uint(delivery_id) + _TRANSFER_END + boolean(more) + _TRANSFER_REST
    return described(TRANSFER, bytes((0xC0, len(fields) + 1, 11)) + fields)


def disposition(delivery_id: int, state: bytes) -> bytes:
    fields = [TRUE, uint(delivery_id), uint(delivery_id), TRUE, state, NULL]
    return described(DISPOSITION, list_of(fields))


def accepted() -> bytes:
    return described(ACCEPTED_STATE, list_of([]))


def rejected(condition: str, description: str) -> bytes:
    return described(REJECTED_STATE, list_of([error(condition, description)]))


def detach(handle: int, *, closed: bool, failure: bytes = NULL) -> bytes:
    return described(DETACH, list_of([uint(handle), boolean(closed), failure]))


def end(failure: bytes = NULL) -> bytes:
    return described(END, list_of([failure]))


def close(failure: bytes = NULL) -> bytes:
    return described(CLOSE, list_of([failure]))


def error(condition: str, description: str) -> bytes:
    return described(ERROR, list_of([symbol(condition), string(description), NULL]))
