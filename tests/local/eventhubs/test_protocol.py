"""What the SDK never does: a client speaking AMQP byte by byte, with small windows, credits and mistakes."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.eventhubs import EventHubsEndpoint
from local.eventhubs import amqp_types as amqp
from local.eventhubs import performatives as perf
from local.eventhubs.frames import AMQP_HEADER, Frame, FrameReader, ProtocolHeader, encode_frame
from local.eventhubs.messages import DATA
from local.eventhubs.partition_log import PartitionLog
from local.eventhubs.performatives import Performative, decode_performative

HUB = "usage-events"


class RawClient:
    """A socket, and just enough AMQP to make a session and links on channel 0."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader()
        self._arrived: list[ProtocolHeader | Frame] = []

    def close(self) -> None:
        self._socket.close()

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send(self, code: int, *fields: bytes, payload: bytes = b"") -> None:
        self.send_bytes(encode_frame(0, amqp.described(code, amqp.list_of(fields)) + payload))

    def next(self) -> ProtocolHeader | Frame:
        while not self._arrived:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._arrived += self._reader.feed(data)
        return self._arrived.pop(0)

    def expect(self, code: int) -> Performative:
        frame = self.next()
        assert isinstance(frame, Frame)
        performative = decode_performative(frame.body)
        assert performative.code == code, performative
        return performative

    def expect_end_of_stream(self) -> None:
        with pytest.raises((EOFError, ConnectionResetError)):
            self.next()

    def is_silent(self) -> bool:
        self._socket.settimeout(0.2)
        try:
            self._arrived.append(self.next())
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(5)
        return False

    def open(self, *, max_frame_size: int = 512, idle_time_out: bytes = amqp.NULL, window: int = 1000) -> None:
        self.send_bytes(AMQP_HEADER)
        self.send(perf.OPEN, amqp.string("raw"), amqp.NULL, amqp.uint(max_frame_size), amqp.ushort(1), idle_time_out)
        self.send(perf.BEGIN, amqp.NULL, amqp.uint(0), amqp.uint(window), amqp.uint(1000))
        assert self.next() == ProtocolHeader(AMQP_HEADER)
        self.expect(perf.OPEN)
        self.expect(perf.BEGIN)

    def attach(self, address: str, *, receiver: bool, handle: int = 0) -> None:
        terminus = [amqp.described(0x28 + i, amqp.list_of([amqp.string(address)])) for i in (0, 1)]
        count = amqp.NULL if receiver else amqp.uint(0)
        self.send(
            perf.ATTACH,
            *(amqp.string(f"link-{handle}"), amqp.uint(handle), amqp.boolean(receiver), amqp.NULL, amqp.NULL),
            *(*terminus, amqp.NULL, amqp.NULL, count),
        )
        self.expect(perf.ATTACH)

    def flow(self, *, expected: int, window: int, seen: int, credit: int, drain: bool = False) -> None:
        ids = amqp.uint(expected), amqp.uint(window), amqp.uint(0), amqp.uint(1000)
        link = amqp.uint(0), amqp.uint(seen), amqp.uint(credit), amqp.NULL, amqp.boolean(drain), amqp.FALSE, amqp.NULL
        self.send(perf.FLOW, *ids, *link)


@pytest.fixture
def raw(endpoint: EventHubsEndpoint) -> Iterator[Callable[[], RawClient]]:
    clients: list[RawClient] = []

    def connect() -> RawClient:
        clients.append(RawClient(endpoint.port))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def send_events(endpoint: EventHubsEndpoint, *bodies: bytes) -> None:
    client = RawClient(endpoint.port)
    client.open(max_frame_size=65536)
    client.attach(f"{HUB}/Partitions/0", receiver=False)
    client.expect(perf.FLOW)
    for number, body in enumerate(bodies):
        message = amqp.described(DATA, amqp.binary(body))
        start = amqp.uint(0), amqp.uint(number), amqp.binary(b"t"), amqp.uint(0), amqp.FALSE
        for at in range(0, len(message), 60_000):
            more = amqp.boolean(at + 60_000 < len(message))
            client.send(perf.TRANSFER, *start, more, payload=message[at : at + 60_000])
        assert client.expect(perf.DISPOSITION)["state"] == (perf.ACCEPTED_STATE, [])
    client.close()


READER = f"{HUB}/ConsumerGroups/usage-collector/Partitions/0"


@pytest.mark.parametrize(
    ("sent", "condition"),
    [
        (b"\x00\x00\x00\x04\x02\x00\x00\x00", "framing-error"),  # a frame shorter than its header
        (b"\x7f\xff\xff\xff\x02\x00\x00\x00", "framing-error"),  # a frame of two gigabytes
        (b"\x00\x00\x00\x09\x02\x00\x00\x00\xff", "decode-error"),
        (encode_frame(0, b"\x00\x53\x10\xc0\xff\x05"), "decode-error"),  # a list cut off
        (encode_frame(0, b"\x00\x53\x63\x45"), "decode-error"),  # no such performative
        (encode_frame(0, b"\x00\xa1\x01x\x45"), "decode-error"),
        (encode_frame(7, amqp.described(perf.FLOW, amqp.list_of([]))), "not-allowed"),  # no such session
        (encode_frame(0, amqp.described(perf.TRANSFER, amqp.list_of([amqp.uint(5)]))), "unattached-handle"),
        (encode_frame(0, amqp.described(perf.ATTACH, amqp.list_of([]))), "unattached-handle"),
        (encode_frame(0, amqp.described(perf.BEGIN, amqp.list_of([]))), "not-allowed"),  # the channel is in use
    ],
)
def test_mistakes_end_the_connection_and_nothing_else(
    endpoint: EventHubsEndpoint, raw: Callable[[], RawClient], sent: bytes, condition: str
) -> None:
    bystander, client = raw(), raw()
    bystander.open()
    client.open()
    client.send_bytes(sent)
    error = client.expect(perf.CLOSE)["error"]
    assert error.value[0].endswith(condition)
    client.expect_end_of_stream()
    bystander.attach(READER, receiver=True)
    assert endpoint.connection_count() == 1


def test_other_protocols_are_told_what_is_spoken(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.send_bytes(b"AMQP\x02\x01\x00\x00")  # TLS
    assert client.next() == ProtocolHeader(AMQP_HEADER)
    client.expect_end_of_stream()


def test_heartbeats(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.open(idle_time_out=amqp.uint(200))
    client.send_bytes(encode_frame(0, b""))  # theirs are welcome, too
    heartbeats = [client.next() for _ in range(3)]
    assert heartbeats == [Frame(0, 0, b"")] * 3


def test_links_that_cannot_be(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.open()
    for handle, (address, receiver, condition) in enumerate(
        [
            ("nowhere", False, "amqp:not-found"),
            (f"{HUB}/ConsumerGroups/strangers/Partitions/0", True, "amqp:not-found"),
            (f"{HUB}/Partitions/7", False, "com.microsoft:argument-out-of-range"),
            (HUB, True, "amqp:invalid-field"),
            ("amqps://[broken/x", True, "amqp:invalid-field"),
        ]
    ):
        client.attach(address, receiver=receiver, handle=handle)
        assert client.expect(perf.DETACH)["error"].value[0] == condition


def test_five_readers_may_share_a_partition(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.open()
    for handle in range(5):
        client.attach(READER, receiver=True, handle=handle)
    client.attach(READER, receiver=True, handle=5)
    assert client.expect(perf.DETACH)["error"].value[0] == "amqp:resource-limit-exceeded"
    client.send(perf.DETACH, amqp.uint(5), amqp.TRUE)  # the answer to theirs: not answered again
    client.send(perf.DETACH, amqp.uint(0), amqp.TRUE)
    assert client.expect(perf.DETACH)["handle"] == 0
    client.attach(READER, receiver=True, handle=5)
    client.attach(f"{HUB}/ConsumerGroups/$Default/Partitions/0", receiver=True, handle=6)
    assert client.is_silent()


def test_credit_is_honoured(endpoint: EventHubsEndpoint, raw: Callable[[], RawClient]) -> None:
    send_events(endpoint, *[b"%d" % number for number in range(5)])
    client = raw()
    client.open(max_frame_size=65536)
    client.attach(READER, receiver=True)
    assert client.is_silent()
    client.flow(expected=0, window=100, seen=0, credit=2)
    first, second = client.expect(perf.TRANSFER), client.expect(perf.TRANSFER)
    assert (first["delivery_id"], second["delivery_id"]) == (0, 1)
    assert (first["settled"], first["more"], first["message_format"]) == (True, False, 0)
    assert client.is_silent()
    client.flow(expected=2, window=100, seen=2, credit=100, drain=True)
    for _ in range(3):
        client.expect(perf.TRANSFER)
    drained = client.expect(perf.FLOW)
    assert (drained["delivery_count"], drained["link_credit"], drained["drain"]) == (102, 0, True)
    send_events(endpoint, b"later")
    assert client.is_silent()


def test_the_session_window_is_honoured_within_a_message(
    endpoint: EventHubsEndpoint, raw: Callable[[], RawClient]
) -> None:
    body = bytes(range(256)) * 8
    send_events(endpoint, body, b"next")
    client = raw()
    client.open(max_frame_size=512, window=2)
    client.attach(READER, receiver=True)
    client.flow(expected=0, window=2, seen=0, credit=10)
    frames = [client.expect(perf.TRANSFER) for _ in range(2)]
    assert client.is_silent()
    client.flow(expected=2, window=100, seen=0, credit=10)
    while frames[-1]["more"]:
        frames.append(client.expect(perf.TRANSFER))
    assert len(frames) >= 5
    message = b"".join(frame.payload for frame in frames)
    assert amqp.described(DATA, amqp.binary(body)) in message
    assert {frame["delivery_id"] for frame in frames} == {0}
    assert client.expect(perf.TRANSFER)["delivery_id"] == 1


def test_sending_in_pieces(endpoint: EventHubsEndpoint, raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.open()
    client.attach(HUB, receiver=False)
    assert client.expect(perf.FLOW)["link_credit"] >= 100
    message = amqp.described(DATA, amqp.binary(b"body"))
    start = amqp.uint(0), amqp.uint(0), amqp.binary(b"t"), amqp.uint(0), amqp.FALSE
    client.send(perf.TRANSFER, *start, amqp.TRUE, payload=message[:3])
    client.send(perf.TRANSFER, amqp.uint(0), payload=message[3:])
    settled = client.expect(perf.DISPOSITION)
    assert (settled["first"], settled["settled"], settled["state"]) == (0, True, (perf.ACCEPTED_STATE, []))
    client.send(perf.TRANSFER, *start, amqp.TRUE, payload=message)
    client.send(perf.TRANSFER, amqp.uint(0), *[amqp.NULL] * 8, amqp.TRUE)  # aborted
    client.send(perf.TRANSFER, amqp.uint(0), amqp.uint(2), amqp.binary(b"t"), amqp.uint(0), amqp.TRUE, payload=message)
    client.send(perf.TRANSFER, amqp.uint(0), amqp.uint(3), amqp.binary(b"t"), amqp.uint(0), payload=b"\x00\x53\x75\xff")
    settled = client.expect(perf.DISPOSITION)  # none for the message that was sent settled
    assert settled["first"] == 3
    assert settled["state"].value[0].value[0] == "amqp:decode-error"
    client.send(perf.DETACH, amqp.uint(0), amqp.TRUE)
    assert client.expect(perf.DETACH)["closed"]
    client.send(perf.END)
    client.expect(perf.END)
    client.send(perf.CLOSE)
    client.expect(perf.CLOSE)
    client.expect_end_of_stream()
    assert sum(endpoint.event_counts(HUB)) == 2


async def test_a_reader_that_does_not_read_costs_little_memory(
    endpoint: EventHubsEndpoint, raw: Callable[[], RawClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so much of the log is read ahead for it as the socket and one write buffer hold."""
    send_events(endpoint, *[bytes(100_000)] * 100)
    bytes_read = 0
    read = PartitionLog.read

    def counting(log: PartitionLog, *limits: Any) -> list[bytes]:
        nonlocal bytes_read
        found = read(log, *limits)
        bytes_read += sum(map(len, found))
        return found

    monkeypatch.setattr(PartitionLog, "read", counting)
    client = raw()
    client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.open(max_frame_size=65536, window=100_000)
    client.attach(READER, receiver=True)
    client.flow(expected=0, window=100_000, seen=0, credit=1000)
    before = -1
    while bytes_read != before:
        before = bytes_read
        await asyncio.sleep(0.2)
    assert 0 < bytes_read < 9_000_000  # of the 10 MB there are; most of it lies in the kernel's socket buffers
    client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    last = None
    while last is None or last["delivery_id"] < 99 or last["more"]:
        last = client.expect(perf.TRANSFER)
    assert bytes_read > 10_000_000
