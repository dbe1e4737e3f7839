"""Sessions: numbering, windows and links by handle (AMQP 1.0 part 2, section 2.5)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from . import performatives
from .broker import Broker
from .errors import HANDLE_IN_USE, UNATTACHED_HANDLE, AmqpError
from .frames import encode_frame
from .links import MAX_MESSAGE_SIZE, Link, ReceivingLink, SendingLink
from .links_to_nodes import create_link
from .performatives import ATTACH, DETACH, DISPOSITION, FLOW, TRANSFER, Performative

if TYPE_CHECKING:
    from .connection import Connection

_HANDLE_MAX = 1023
_UINT32 = 0xFFFFFFFF
# The window this side announces is as good as no window: TCP already holds back a client that sends too fast.
_WINDOW = 1 << 30
_TRANSFER_OVERHEAD = 64  # more than the frame header and the transfer performative take


class Session:
    """One session; the client's channel number serves for both directions, and so do its handles."""

    def __init__(self, connection: Connection, broker: Broker, channel: int, begin: Performative) -> None:
        self.connection = connection
        self.broker = broker
        self.links: dict[int, Link] = {}
        self._channel = channel
        # A transfer id counts transfer frames, a delivery id counts messages.
        self._next_outgoing_id = 0
        self._next_delivery_id = 0
        self._next_incoming_id: int = begin["next_outgoing_id"] or 0
        self._client_window: int = begin["incoming_window"] or 0
        self._held_back: deque[bytes] = deque()  # transfer frames the client's window has no room for
        self.send(performatives.begin(channel, self._next_outgoing_id, _WINDOW, _HANDLE_MAX))

    # ------------------------------------------------------------------------------------------------- sending

    @property
    def can_send(self) -> bool:
        return self.connection.writable and not self._held_back and self._client_window > 0

    def send(self, performative: bytes) -> None:
        self.connection.write(encode_frame(self._channel, performative))

    def send_flow(self, handle: int, delivery_count: int, credit: int, *, drain: bool = False) -> None:
        ids = self._next_incoming_id, self._next_outgoing_id
        self.send(performatives.flow(*ids, _WINDOW, handle, delivery_count, credit, drain=drain))

    def send_messages(self, handle: int, messages: list[bytes]) -> None:
        """Send whole messages, split into as many transfers as the client's frame size needs (section 2.6.14)."""
        room = self.connection.max_frame_size - _TRANSFER_OVERHEAD
        for message in messages:
            delivery_id = self._next_delivery_id
            self._next_delivery_id = (delivery_id + 1) & _UINT32
            for at in range(0, len(message), room):
                transfer = performatives.transfer(handle, delivery_id, more=at + room < len(message))
                self._held_back.append(encode_frame(self._channel, transfer + message[at : at + room]))
        self._send_within_window()

    def _send_within_window(self) -> None:
        count = min(self._client_window, len(self._held_back))
        if count > 0:
            self._client_window -= count
            self._next_outgoing_id = (self._next_outgoing_id + count) & _UINT32
            self.connection.write(b"".join(self._held_back.popleft() for _ in range(count)))

    def wake_links(self) -> None:
        """The socket or the client's window has room again."""
        for link in self.links.values():
            if isinstance(link, SendingLink):
                link.wake()

    # ----------------------------------------------------------------------------------------------- receiving

    def handle(self, frame: Performative) -> None:
        if frame.code == TRANSFER:
            self._transfer(frame)
        elif frame.code == FLOW:
            self._flow(frame)
        elif frame.code == ATTACH:
            self._attach(frame)
        elif frame.code == DETACH:
            self._link(frame).detached_by_client(frame)
            del self.links[frame["handle"]]
        elif frame.code == DISPOSITION:
            pass  # everything is sent settled: there is nothing left to learn about it

    def release(self) -> None:
        """The session has ended, in whatever way."""
        for link in self.links.values():
            link.release()
        self.links.clear()
        self._held_back.clear()

    def _link(self, frame: Performative) -> Link:
        link = self.links.get(frame["handle"])
        if link is None:
            raise AmqpError(UNATTACHED_HANDLE, f"No link is attached with the handle {frame['handle']}.")
        return link

    def _attach(self, frame: Performative) -> None:
        handle = frame["handle"]
        if frame["name"] is None or handle is None or not 0 <= handle <= _HANDLE_MAX:
            raise AmqpError(UNATTACHED_HANDLE, f"An attach needs a name and a handle up to {_HANDLE_MAX}.")
        current = self.links.get(handle)
        if current is not None and not current.closed:
            raise AmqpError(HANDLE_IN_USE, f"The handle {handle} belongs to the link '{current.name}'.")
        # A refusal, too, begins with an attach (section 2.6.3). Unlike there, it repeats the client's source and
        # target, because the SDK reports nothing but "Invalid link" without them.
        self.send(performatives.attach_reply(frame, MAX_MESSAGE_SIZE))
        try:
            link = create_link(self, frame)
        except AmqpError as error:
            link = Link(self, frame)
            link.detach(error)
        self.links[handle] = link
        if not link.closed:
            link.opened()

    def _transfer(self, frame: Performative) -> None:
        self._next_incoming_id = (self._next_incoming_id + 1) & _UINT32
        link = self._link(frame)
        if isinstance(link, ReceivingLink):
            link.transfer(frame)

    def _flow(self, frame: Performative) -> None:
        """The client's window counts from the transfer it expects next (section 2.5.6)."""
        expected = frame["next_incoming_id"] or 0
        window = (expected + (frame["incoming_window"] or 0) - self._next_outgoing_id) & _UINT32
        self._client_window = 0 if window > _UINT32 // 2 else window
        self._send_within_window()
        if frame["handle"] is None:
            self.wake_links()
            return
        link = self._link(frame)
        if isinstance(link, SendingLink):
            link.flow(frame)
