"""What the links do: publish to a hub, read a partition, and carry requests and responses.

create_link() picks the kind of link by its address and direction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import management, messages, performatives
from .amqp_types import Described
from .broker import Broker, Entity, SendFault, entity_path
from .errors import INVALID_FIELD, NOT_FOUND, UNAUTHORIZED, AmqpError
from .links import Link, ReceivingLink, SendingLink
from .management import CBS_NODE, MANAGEMENT_NODE, Request, Response
from .performatives import Performative

if TYPE_CHECKING:
    from .session import Session

_PORTION_BYTES = 256 * 1024  # how much of a partition is read and handed to the socket at a time
_EPOCH = "com.microsoft:epoch"
_RUNTIME_METRICS = "com.microsoft:enable-receiver-runtime-metric"
# Positions of fields in the lists that describe a source and a target (part 3, sections 3.5.3 and 3.5.4).
_ADDRESS, _FILTER = 0, 7


def create_link(session: Session, attach: Performative) -> Link:
    """The link for an attach; AmqpError if the client may not have it."""
    client_receives = bool(attach["role"])
    address = _terminus_field(attach["source" if client_receives else "target"], _ADDRESS)
    if not isinstance(address, str):
        raise AmqpError(INVALID_FIELD, "The link has no address.")
    node = entity_path(address)
    if node in (CBS_NODE, MANAGEMENT_NODE):
        return ResponseLink(session, attach, node) if client_receives else RequestLink(session, attach, node)
    entity = session.broker.resolve(address)
    if session.broker.checks_tokens and not session.connection.authorized:
        raise AmqpError(UNAUTHORIZED, f"Unauthorized access to '{node}': no valid token was put on this connection.")
    return ReadLink(session, attach, entity) if client_receives else PublishLink(session, attach, entity)


def _terminus_field(terminus: Described | None, index: int) -> Any:
    fields = terminus.value if terminus is not None else None
    return fields[index] if isinstance(fields, list) and len(fields) > index else None


class PublishLink(ReceivingLink):
    """A producer's link to a hub or to one partition of it."""

    def __init__(self, session: Session, attach: Performative, entity: Entity) -> None:
        super().__init__(session, attach)
        self._broker = session.broker
        self._hub = entity.hub
        self._partition = None if entity.partition_id is None else entity.hub.partition(entity.partition_id)

    def receive(self, message: bytes, message_format: int) -> bytes | None:
        if not self._broker.serves(self._hub):
            self.detach(AmqpError(NOT_FOUND, f"The messaging entity '{self._hub.name}' was deleted."))
            return None
        fault = self._broker.next_send_fault()
        if fault is None or fault.stored:
            self._store(message, message_format)
        return performatives.accepted() if fault is None else self._fail(fault)

    def _store(self, message: bytes, message_format: int) -> None:
        key = messages.partition_key(message)
        events = messages.batch_members(message) if message_format == messages.BATCH_FORMAT else [message]
        partition = self._partition or self._hub.partition_for(key)
        partition.append(events, key, self._broker.now_ms())

    def _fail(self, fault: SendFault) -> bytes | None:
        if fault.action == "reject":
            return performatives.rejected(fault.condition, fault.description)
        if fault.action == "drop":
            self.session.connection.abort()
        return None


class ReadLink(SendingLink):
    """A consumer's link to a partition."""

    def __init__(self, session: Session, attach: Performative, entity: Entity) -> None:
        super().__init__(session, attach)
        if entity.consumer_group is None or entity.partition_id is None:
            raise AmqpError(INVALID_FIELD, "A receiver must name a consumer group and a partition.")
        entity.hub.check_consumer_group(entity.consumer_group)
        epoch = (attach["properties"] or {}).get(_EPOCH)
        capabilities = attach["desired_capabilities"] or ()
        self.consumer_group = entity.consumer_group.lower()
        self.epoch = epoch if isinstance(epoch, int) else None
        self._clock = session.broker.now_ms
        self._partition = entity.hub.partition(entity.partition_id)
        self._next = self._partition.start_position(_selector(attach["source"]))
        self._wants_metrics = _RUNTIME_METRICS in ([capabilities] if isinstance(capabilities, str) else capabilities)
        self._partition.admit(self)

    def release(self) -> None:
        super().release()
        self._partition.release(self)

    def next_messages(self, limit: int) -> list[bytes]:
        events = self._partition.log.read(self._next, limit, _PORTION_BYTES)
        self._next += len(events)
        last = self._partition.log.last
        if self._wants_metrics and last is not None:
            metrics = messages.runtime_metrics(last, self._clock())
            return [messages.with_delivery_annotations(event, metrics) for event in events]
        return events


def _selector(source: Described | None) -> str | None:
    """The start position in the source's filter set, which has one (described) filter (part 3, section 3.5.8)."""
    filters = _terminus_field(source, _FILTER)
    if not isinstance(filters, dict):
        return None
    for value in filters.values():
        text = value.value if isinstance(value, Described) else value
        if isinstance(text, bytes | str):
            return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return None


class RequestLink(ReceivingLink):
    """The half of a link pair that takes requests to $cbs or $management."""

    def __init__(self, session: Session, attach: Performative, node: str) -> None:
        super().__init__(session, attach)
        self._node = node
        self._answer: Callable[[Broker, Request], Response] = (
            management.answer_token if node == CBS_NODE else management.answer_management
        )

    def receive(self, message: bytes, message_format: int) -> bytes | None:
        request = management.decode_request(message)
        response = self._answer(self.session.broker, request)
        if self._node == CBS_NODE and response.status < 300:
            self.session.connection.authorized = True
        for link in self.session.links.values():
            if isinstance(link, ResponseLink) and link.node == self._node:
                link.post(management.encode_response(request, response))
                break
        return performatives.accepted()


class ResponseLink(SendingLink):
    """The half of a link pair that brings the responses."""

    def __init__(self, session: Session, attach: Performative, node: str) -> None:
        super().__init__(session, attach)
        self.node = node
        self._waiting: deque[bytes] = deque()

    def post(self, response: bytes) -> None:
        self._waiting.append(response)
        self.wake()

    def next_messages(self, limit: int) -> list[bytes]:
        return [self._waiting.popleft()] if self._waiting else []
