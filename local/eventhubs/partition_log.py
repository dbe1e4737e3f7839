"""The log of one partition: an append-only file of the events exactly as consumers get them.

A record is a header (length of the message, CRC-32 of all that follows the CRC, sequence number, enqueued time) and the
message. Records are written with one unbuffered write per batch, so once append() returns the operating system has
the bytes and a killed process loses nothing. There is no fsync: this is a local tool, and an event need not survive a
power cut. Memory holds 16 bytes per event (file position and enqueued time); bodies are read from the file.

An event's offset is the position of its record in the file, and its sequence number is its place in the log, counted
from 0. Nothing is ever removed, so there is no retention: delete the data directory to start afresh.
"""

import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from .errors import EndpointError
from .messages import Stamp

Field = Literal["sequence-number", "offset", "enqueued-time"]

_HEADER = struct.Struct(">IIqq")  # message length, CRC-32, sequence number, enqueued time in ms
_CHECKED = struct.Struct(">qq")  # the part of the header the CRC covers
_MAX_MESSAGE = 2 * 1024 * 1024  # twice what a publisher may send: a longer record is damage


def _crc(sequence_number: int, enqueued_ms: int, message: bytes) -> int:
    return zlib.crc32(message, zlib.crc32(_CHECKED.pack(sequence_number, enqueued_ms)))


class PartitionLog:
    """Opens or creates the file; `report` gets one line if a torn last record had to be cut off."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._path = path
        self._positions = array("q")
        self._times = array("q")
        self._end = 0
        self._file = path.open("a+b", buffering=0)
        try:
            self._load(report)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def last(self) -> Stamp | None:
        """The stamp of the newest event, None while there is none."""
        if not self._positions:
            return None
        return Stamp(len(self._positions) - 1, self._positions[-1], self._times[-1])

    def append(self, messages: Sequence[bytes], now_ms: int, stamp: Callable[[bytes, Stamp], bytes]) -> None:
        """Write all `messages`, each as `stamp` makes it from its place in the log; none if it fails for one.

        Enqueued times never go backwards inside a partition, whatever the clock does: consumers search by them.
        """
        enqueued_ms = max(now_ms, self._times[-1]) if self._times else now_ms
        first = len(self._positions)
        positions, records = [], []
        end = self._end
        for sequence_number, message in enumerate(messages, first):
            body = stamp(message, Stamp(sequence_number, end, enqueued_ms))
            crc = _crc(sequence_number, enqueued_ms, body)
            records += [_HEADER.pack(len(body), crc, sequence_number, enqueued_ms), body]
            positions.append(end)
            end += _HEADER.size + len(body)
        self._write(b"".join(records))
        self._positions.extend(positions)
        self._times.extend([enqueued_ms] * len(positions))
        self._end = end

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            self._file.truncate(self._end)  # such as a full disk: leave no half batch behind
            raise

    def read(self, first: int, max_events: int, max_bytes: int) -> list[bytes]:
        """Up to `max_events` messages from sequence number `first` on, at least one if there is one."""
        if first >= len(self):
            return []
        start = self._positions[first]
        limit = start + max_bytes
        last = len(self) if self._end <= limit else bisect_right(self._positions, limit) - 1
        last = max(min(last, first + max_events), first + 1)
        bounds = [*self._positions[first:last], self._positions[last] if last < len(self) else self._end]
        self._file.seek(start)
        data = self._file.read(bounds[-1] - start)
        return [
            data[begin - start + _HEADER.size : end - start]
            for begin, end in pairwise(bounds)  # each record ends where the next begins
        ]

    def find(self, field: Field, value: int, *, inclusive: bool) -> int:
        """The sequence number of the first event whose `field` is greater than (or, inclusive, equal to) `value`."""
        search = bisect_left if inclusive else bisect_right
        if field == "sequence-number":
            return min(max(value if inclusive else value + 1, 0), len(self))
        return search(self._positions if field == "offset" else self._times, value)

    # ------------------------------------------------------------------------------------------------- start-up

    def _load(self, report: Callable[[str], None]) -> None:
        """Build the index from the file and cut off a last record that was not written to its end."""
        size = self._file.seek(0, 2)
        with self._path.open("rb") as file:
            while self._end < size:
                header = file.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    break
                length, crc, sequence_number, enqueued_ms = _HEADER.unpack(header)
                if length > _MAX_MESSAGE:
                    raise self._damaged()
                message = file.read(length)
                record_end = self._end + _HEADER.size + length
                whole = len(message) == length
                if not whole or sequence_number != len(self) or crc != _crc(sequence_number, enqueued_ms, message):
                    if record_end < size:
                        raise self._damaged()
                    break
                self._positions.append(self._end)
                self._times.append(enqueued_ms)
                self._end = record_end
        if self._end < size:
            self._file.truncate(self._end)
            report(f"{self._path}: cut off a torn last record ({size - self._end} bytes after event {len(self) - 1})")

    def _damaged(self) -> EndpointError:
        return EndpointError(
            f"{self._path} is damaged at byte {self._end} with more data behind it; "
            "move the data directory away to start with an empty one"
        )
