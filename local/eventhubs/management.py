"""Requests to the nodes $management (properties of hubs and partitions) and $cbs (tokens).

A request is a message whose application properties say what is wanted; the answer goes out on the link pair's other
half, correlated by the request's message-id (the AMQP management and claims-based security working drafts).
"""

from dataclasses import dataclass
from typing import Any

from .amqp_types import (
    NULL,
    AmqpDecodeError,
    array_of_strings,
    boolean,
    compound_header,
    decode,
    described,
    int32,
    list_of,
    long,
    map_of,
    skip,
    string,
    timestamp,
)
from .broker import Broker
from .errors import AmqpError
from .hub import Hub, Partition
from .messages import APPLICATION_PROPERTIES, PROPERTIES, VALUE, Stamp, sections

CBS_NODE = "$cbs"
MANAGEMENT_NODE = "$management"


@dataclass
class Request:
    message_id: bytes  # still encoded, as it is only echoed
    properties: dict[Any, Any]
    body: Any


@dataclass
class Response:
    status: int
    description: str
    body: bytes = NULL


def decode_request(message: bytes) -> Request:
    request = Request(NULL, {}, None)
    for section in sections(message):
        if section.kind == PROPERTIES:
            request.message_id = _first_item(message, section.value)
        elif section.kind == APPLICATION_PROPERTIES:
            properties = decode(message, section.value)[0]
            if not isinstance(properties, dict):
                raise AmqpDecodeError("application properties that are not a map")
            request.properties = properties
        elif section.kind == VALUE:
            request.body = decode(message, section.value)[0]
    return request


def _first_item(message: bytes, at: int) -> bytes:
    """The first field of a list, encoded: message-id in the properties section (part 3, section 3.2.4)."""
    code = message[at]
    if code not in (0xC0, 0xD0):
        return NULL
    count, first, _ = compound_header(code == 0xC0, message, at + 1)
    return message[first : skip(message, first)] if count else NULL


def encode_response(request: Request, response: Response) -> bytes:
    properties = [NULL] * 13
    properties[5] = request.message_id  # correlation-id
    status = [
        (string("status-code"), int32(response.status)),
        (string("status-description"), string(response.description)),
    ]
    return b"".join(
        [
            described(PROPERTIES, list_of(properties)),
            described(APPLICATION_PROPERTIES, map_of(status)),
            described(VALUE, response.body),
        ]
    )


def answer_token(broker: Broker, request: Request) -> Response:
    """$cbs put-token."""
    if broker.token_is_valid(_text(request.body)):
        return Response(202, "Accepted")
    return Response(401, "InvalidSignature: The token has an invalid signature or has expired.")


def answer_management(broker: Broker, request: Request) -> Response:
    """$management READ of a hub or a partition."""
    kind = _text(request.properties.get("type"))
    try:
        hub = broker.hub(_text(request.properties.get("name")))
        if kind == "com.microsoft:eventhub":
            return Response(200, "OK", _hub_properties(hub, kind))
        if kind == "com.microsoft:partition":
            partition = hub.partition(_text(request.properties.get("partition")))
            return Response(200, "OK", _partition_properties(hub, partition, kind))
    except AmqpError as error:
        return Response(404, error.description)
    return Response(400, f"Type {kind!r} is not supported.")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _hub_properties(hub: Hub, kind: str) -> bytes:
    return map_of(
        [
            (string("name"), string(hub.name)),
            (string("type"), string(kind)),
            (string("created_at"), timestamp(hub.created_ms)),
            (string("partition_count"), int32(len(hub.partitions))),
            (string("partition_ids"), array_of_strings([partition.id for partition in hub.partitions])),
        ]
    )


def _partition_properties(hub: Hub, partition: Partition, kind: str) -> bytes:
    last = partition.log.last or Stamp(-1, -1, 0)
    return map_of(
        [
            (string("name"), string(hub.name)),
            (string("type"), string(kind)),
            (string("partition"), string(partition.id)),
            (string("begin_sequence_number"), long(0)),
            (string("last_enqueued_sequence_number"), long(last.sequence_number)),
            (string("last_enqueued_offset"), string(str(last.offset))),
            (string("last_enqueued_time_utc"), timestamp(last.enqueued_ms)),
            (string("is_partition_empty"), boolean(len(partition.log) == 0)),
        ]
    )
