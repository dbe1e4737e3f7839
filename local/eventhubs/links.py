"""Links: the one-way streets for messages inside a session (AMQP 1.0 part 2, section 2.6).

Named after what this endpoint does: a ReceivingLink takes messages from the client (a producer, or a request), a
SendingLink gives it messages (events of a partition, or responses). links_to_nodes.py has what they do with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import performatives
from .amqp_types import NULL, AmqpDecodeError
from .errors import DECODE_ERROR, MESSAGE_TOO_LARGE, AmqpError
from .performatives import Performative

if TYPE_CHECKING:
    from .session import Session

MAX_MESSAGE_SIZE = 1024 * 1024  # of a single event and of a batch, as the service has it

_UINT32 = 0xFFFFFFFF
_CREDIT = 1000  # how many messages a client may send before it hears of new credit


class Link:
    """What both directions share: identity, and how the link ends."""

    def __init__(self, session: Session, attach: Performative) -> None:
        self.session = session
        self.name: str = attach["name"]
        self.handle: int = attach["handle"]
        self.closed = False

    def opened(self) -> None:
        """Called once the attach has been answered."""

    def release(self) -> None:
        """Give up what the link holds; nothing is sent or taken on it any more."""
        self.closed = True

    def detach(self, error: AmqpError) -> None:
        """End the link from this side, telling the client why."""
        if not self.closed:
            self.release()
            failure = performatives.error(error.condition, error.description)
            self.session.send(performatives.detach(self.handle, closed=True, failure=failure))

    def detached_by_client(self, frame: Performative) -> None:
        """The client's detach: answered, unless it is the answer to ours."""
        if not self.closed:
            self.release()
            self.session.send(performatives.detach(self.handle, closed=bool(frame["closed"]), failure=NULL))


class ReceivingLink(Link):
    """Puts the transfers of a delivery together, and settles it with what receive() makes of the message."""

    def __init__(self, session: Session, attach: Performative) -> None:
        super().__init__(session, attach)
        self._delivery_count: int = attach["initial_delivery_count"] or 0
        self._credit = 0
        self._first: Performative | None = None
        self._payload = bytearray()
        self._settled = False

    def receive(self, message: bytes, message_format: int) -> bytes | None:
        """Take a message; answers the delivery state to settle with, or None to leave the sender without answer.

        AmqpError and AmqpDecodeError reject the message.
        """
        raise NotImplementedError

    def opened(self) -> None:
        self._grant_credit()

    def _grant_credit(self) -> None:
        """Let the client send on. Backpressure is TCP's: a message is dealt with before the next one is read."""
        self._credit = _CREDIT
        self.session.send_flow(self.handle, self._delivery_count, self._credit)

    def transfer(self, frame: Performative) -> None:
        if self.closed:
            return
        if self._first is None:
            self._first = frame
            self._settled = False
        self._settled = self._settled or bool(frame["settled"])
        if len(self._payload) <= MAX_MESSAGE_SIZE:  # of a longer message only keep enough to know that it is
            self._payload += frame.payload
        if frame["more"] and not frame["aborted"]:
            return
        first, message = self._first, bytes(self._payload)
        self._first = None
        self._payload.clear()
        self._delivery_count = (self._delivery_count + 1) & _UINT32
        # The SDK sends on without credit, so running out of it is no error here; the count only says when to renew.
        self._credit -= 1
        if not frame["aborted"]:
            state = self._state_for(message, first["message_format"] or 0)
            if state is not None and not self._settled:
                self.session.send(performatives.disposition(first["delivery_id"] or 0, state))
        if self._credit < _CREDIT // 2 and not self.closed:
            self._grant_credit()

    def _state_for(self, message: bytes, message_format: int) -> bytes | None:
        try:
            if len(message) > MAX_MESSAGE_SIZE:
                raise AmqpError(
                    MESSAGE_TOO_LARGE,
                    f"The received message exceeds the limit ({MAX_MESSAGE_SIZE} bytes) currently allowed on the link.",
                )
            return self.receive(message, message_format)
        except AmqpDecodeError as error:
            return performatives.rejected(DECODE_ERROR, str(error))
        except AmqpError as error:
            return performatives.rejected(error.condition, error.description)


class SendingLink(Link):
    """Sends messages, already settled, as far as the client's credit, its session window and the socket allow."""

    def __init__(self, session: Session, attach: Performative) -> None:
        super().__init__(session, attach)
        self.credit = 0
        self._delivery_count = 0
        self._drain = False
        self._pump_scheduled = False

    def next_messages(self, limit: int) -> list[bytes]:
        """The next messages, at most `limit` and no more than fit comfortably in memory; none for now: []."""
        raise NotImplementedError

    def flow(self, frame: Performative) -> None:
        """The client's new credit (section 2.6.7): it counts from the delivery count the client has seen."""
        if self.closed:
            return
        seen = frame["delivery_count"] or 0
        credit = (seen + (frame["link_credit"] or 0) - self._delivery_count) & _UINT32
        self.credit = 0 if credit > _UINT32 // 2 else credit  # negative in serial number arithmetic
        self._drain = bool(frame["drain"])
        if frame["echo"]:
            self.session.send_flow(self.handle, self._delivery_count, self.credit)
        self._pump()

    def wake(self) -> None:
        """Send soon what can be sent; several calls in one turn of the event loop cost one pump."""
        if not self._pump_scheduled and not self.closed:
            self._pump_scheduled = True
            self.session.connection.call_soon(self._pump)

    def _pump(self) -> None:
        """Send one portion, then let others have their turn before the next."""
        self._pump_scheduled = False
        if self.closed or not self.session.can_send:
            return
        if self.credit > 0:
            portion = self.next_messages(self.credit)
            if portion:
                self._delivery_count = (self._delivery_count + len(portion)) & _UINT32
                self.credit -= len(portion)
                self.session.send_messages(self.handle, portion)
                self.wake()
                return
        if self._drain:  # nothing left to send: use the credit up, as asked (section 2.6.7)
            self._drain = False
            self._delivery_count = (self._delivery_count + self.credit) & _UINT32
            self.credit = 0
            self.session.send_flow(self.handle, self._delivery_count, 0, drain=True)
