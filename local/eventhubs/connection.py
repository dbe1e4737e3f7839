"""One client's connection: protocol headers, SASL, open, close, heartbeats (AMQP 1.0 part 2, section 2.4).

The way of a frame: FrameReader (frames.py) -> Connection -> Session (session.py) -> Link (links.py) -> what the link is
attached to (links_to_nodes.py) -> hub and partition (hub.py) -> log (partition_log.py).
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from . import performatives
from .amqp_types import AmqpDecodeError
from .broker import Broker
from .errors import CONNECTION_FORCED, DECODE_ERROR, INTERNAL_ERROR, NOT_ALLOWED, AmqpError
from .frames import (
    AMQP_HEADER,
    MAX_FRAME_SIZE,
    MIN_MAX_FRAME_SIZE,
    SASL_FRAME,
    SASL_HEADER,
    Frame,
    FrameReader,
    ProtocolHeader,
    encode_frame,
)
from .performatives import BEGIN, CLOSE, END, OPEN, SASL_INIT, Performative, decode_performative
from .session import Session

_LOGGER = logging.getLogger(__name__)

_CHANNEL_MAX = 4999
_MIN_HEARTBEAT_SECONDS = 0.05
_CONTAINER_ID = "local-eventhubs"
# Bytes waiting for a slow client before partitions are no longer read for it.
_WRITE_BUFFER = 512 * 1024


class Connection(asyncio.Protocol):
    """Created per client by the server; whatever a client does ends its own connection at worst."""

    def __init__(self, broker: Broker, connections: "set[Connection]") -> None:
        self.authorized = False  # a valid token was put; only asked for when the broker checks tokens
        self.writable = True
        self.max_frame_size = MIN_MAX_FRAME_SIZE  # the client's; until its open only this is sure
        self._broker = broker
        self._connections = connections
        self._reader = FrameReader()
        self._sessions: dict[int, Session] = {}
        self._closing = False
        self._heartbeat: asyncio.TimerHandle | None = None

    # -------------------------------------------------------------------------------------- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = asyncio.get_running_loop()
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._release()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        for session in self._sessions.values():
            session.wake_links()

    def data_received(self, data: bytes) -> None:
        try:
            for item in self._reader.feed(data):
                if self._closing:
                    return
                if isinstance(item, ProtocolHeader):
                    self._header(item.value)
                elif item.body:  # an empty frame is a heartbeat
                    self._frame(item)
        except AmqpError as error:
            self.close(error)
        except AmqpDecodeError as error:
            self.close(AmqpError(DECODE_ERROR, str(error)))
        except Exception:  # a defect of this endpoint: the other clients should not feel it
            _LOGGER.exception("Closing an Event Hubs connection after an unexpected error")
            self.close(AmqpError(INTERNAL_ERROR, "The local endpoint failed; its log has the details."))

    # ----------------------------------------------------------------------------- called by sessions and links

    def write(self, data: bytes) -> None:
        if not self._closing:
            self._transport.write(data)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def close(self, error: AmqpError | None = None) -> None:
        """Say goodbye and close, giving what is already written the time to go out."""
        if not self._closing:
            failure = () if error is None else (performatives.error(error.condition, error.description),)
            self.write(encode_frame(0, performatives.close(*failure)))
            self._closing = True
            self._release()
            self._transport.close()

    def close_for_shutdown(self) -> None:
        self.close(AmqpError(CONNECTION_FORCED, "The local endpoint is stopping."))

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._closing = True
        self._transport.abort()

    def _release(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for session in self._sessions.values():
            session.release()
        self._sessions.clear()

    # ----------------------------------------------------------------------------------------------- receiving

    def _header(self, header: bytes) -> None:
        """Each layer starts with both sides sending the same header (section 2.2; part 5, section 5.3.1)."""
        if header == SASL_HEADER:
            self.write(SASL_HEADER + encode_frame(0, performatives.sasl_mechanisms(), SASL_FRAME))
        elif header == AMQP_HEADER:
            self.write(AMQP_HEADER)
        else:  # such as TLS over AMQP: answer with what is spoken here, and hang up
            self.write(AMQP_HEADER)
            self._closing = True
            self._transport.close()

    def _frame(self, frame: Frame) -> None:
        performative = decode_performative(frame.body)
        if frame.type == SASL_FRAME:
            if performative.code == SASL_INIT:
                self.write(encode_frame(0, performatives.sasl_outcome_ok(), SASL_FRAME))
        elif performative.code == OPEN:
            self._open(performative)
        elif performative.code == CLOSE:
            self.close()
        elif performative.code == BEGIN:
            self._begin(frame.channel, performative)
        elif frame.channel not in self._sessions:
            raise AmqpError(NOT_ALLOWED, f"There is no session on channel {frame.channel}.")
        elif performative.code == END:
            session = self._sessions.pop(frame.channel)
            session.release()
            session.send(performatives.end())
        else:
            self._sessions[frame.channel].handle(performative)

    def _open(self, frame: Performative) -> None:
        wanted = frame["max_frame_size"] or MAX_FRAME_SIZE
        self.max_frame_size = max(MIN_MAX_FRAME_SIZE, min(wanted, MAX_FRAME_SIZE))
        self.write(encode_frame(0, performatives.open_frame(_CONTAINER_ID, MAX_FRAME_SIZE, _CHANNEL_MAX)))
        if frame["idle_time_out"]:
            self._schedule_heartbeat(max(frame["idle_time_out"] / 2000, _MIN_HEARTBEAT_SECONDS))

    def _schedule_heartbeat(self, seconds: float) -> None:
        """Keep the client from timing out: an empty frame twice per idle time-out (section 2.4.5)."""

        def beat() -> None:
            self.write(encode_frame(0, b""))
            self._schedule_heartbeat(seconds)

        self._heartbeat = self._loop.call_later(seconds, beat)

    def _begin(self, channel: int, frame: Performative) -> None:
        if channel > _CHANNEL_MAX or channel in self._sessions:
            raise AmqpError(NOT_ALLOWED, f"Channel {channel} is in use or above {_CHANNEL_MAX}.")
        self._sessions[channel] = Session(self, self._broker, channel, frame)
