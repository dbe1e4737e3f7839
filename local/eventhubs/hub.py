"""Hubs, their partitions and consumer groups, and who may read a partition."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from . import messages
from .errors import (
    ARGUMENT_ERROR,
    ARGUMENT_OUT_OF_RANGE,
    INVALID_FIELD,
    LINK_STOLEN,
    NOT_FOUND,
    RESOURCE_LIMIT,
    AmqpError,
    EndpointError,
)
from .messages import Stamp
from .partition_log import Field, PartitionLog

DEFAULT_CONSUMER_GROUP = "$default"
MAX_PLAIN_READERS = 5  # per partition and consumer group, as the service has it

# The selector with which a reader says where to start, e.g. amqp.annotation.x-opt-offset > '512'
_SELECTOR = re.compile(
    r"amqp\.annotation\.x-opt-(?P<field>offset|sequence-number|enqueued-time)\s*(?P<operator>>=?)\s*'(?P<value>.*)'"
)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")


@dataclass(frozen=True)
class HubSpec:
    """A hub to serve. Every hub has the consumer group $Default besides those named."""

    name: str
    partitions: int = 4
    consumer_groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # The name becomes a folder name as well, so what it may hold matters beyond looks.
        if not _NAME.fullmatch(self.name):
            raise EndpointError(f"{self.name!r} is not a hub name: letters, digits, '.', '-' and '_' only")
        if not 1 <= self.partitions <= 1024:
            raise EndpointError(f"hub {self.name}: the number of partitions must be 1 to 1024, not {self.partitions}")

    @classmethod
    def parse(cls, text: str) -> "HubSpec":
        """NAME[:PARTITIONS[:GROUP[,GROUP...]]], as the command line takes it."""
        name, _, rest = text.partition(":")
        partitions, _, groups = rest.partition(":")
        if partitions and not partitions.isdecimal():
            raise EndpointError(f"hub {name}: {partitions!r} is not a number of partitions")
        return cls(name, int(partitions or cls.partitions), tuple(group for group in groups.split(",") if group))


class Reader(Protocol):
    """What a partition knows about a link that reads from it."""

    name: str
    consumer_group: str
    epoch: int | None

    def wake(self) -> None:
        """There are new events."""

    def detach(self, error: AmqpError) -> None:
        """The link may not read any longer."""


class Partition:
    """One partition: its log, and the links that read from it."""

    def __init__(self, partition_id: str, log: PartitionLog) -> None:
        self.id = partition_id
        self.log = log
        self.readers: list[Reader] = []

    def append(self, events: Sequence[bytes], key: str | None, now_ms: int) -> None:
        """Write events to the log, then wake the readers."""
        self.log.append(events, now_ms, lambda event, stamp: messages.stamped(event, stamp, key))
        for reader in self.readers:
            reader.wake()

    def start_position(self, selector: str | None) -> int:
        """The sequence number of the first event a reader with this selector gets; without one, the oldest."""
        if not selector:
            return 0
        match = _SELECTOR.fullmatch(selector)
        if match is None:
            raise AmqpError(INVALID_FIELD, f"The filter {selector!r} is not supported.")
        if match["value"] == "@latest":
            return len(self.log)
        try:
            value = int(match["value"])
        except ValueError:
            raise AmqpError(INVALID_FIELD, f"The filter {selector!r} does not compare with a number.") from None
        field: Field = match["field"]  # type: ignore[assignment]  # the expression allows these three only
        self._refuse_beyond_end(field, value)
        return self.log.find(field, value, inclusive=match["operator"] == ">=")

    def _refuse_beyond_end(self, field: Field, value: int) -> None:
        """As the service: a position behind the last event comes from an earlier hub of the same name."""
        last = self.log.last or Stamp(-1, -1, 0)
        end = {"offset": last.offset, "sequence-number": last.sequence_number}.get(field)
        if end is not None and value > end:
            name = field.replace("-", " ")
            raise AmqpError(
                ARGUMENT_ERROR, f"The supplied {name} '{value}' is invalid. The last {name} in the system is '{end}'."
            )

    def admit(self, reader: Reader) -> None:
        """Let `reader` in by the epoch rules (the SDK's owner_level), detaching readers it replaces.

        A reader with an epoch reads alone in its consumer group and gives way to an equal or higher epoch. Without
        epochs, five may read side by side.
        """
        others = [other for other in self.readers if other.consumer_group == reader.consumer_group]
        highest = max((other.epoch for other in others if other.epoch is not None), default=None)
        if highest is not None and (reader.epoch is None or reader.epoch < highest):
            raise AmqpError(
                LINK_STOLEN,
                f"Receiver '{reader.name}' with a higher epoch of '{highest}' already exists. "
                f"Receiver '{reader.name}' with epoch {reader.epoch} cannot be created.",
            )
        if reader.epoch is None and len(others) >= MAX_PLAIN_READERS:
            raise AmqpError(
                RESOURCE_LIMIT,
                "Exceeded the maximum number of allowed receivers per partition in a consumer group which is "
                f"{MAX_PLAIN_READERS}.",
            )
        if reader.epoch is not None:
            for other in others:
                other.detach(
                    AmqpError(
                        LINK_STOLEN,
                        f"New receiver '{reader.name}' with higher epoch of '{reader.epoch}' is created hence current "
                        f"receiver '{other.name}' with epoch '{other.epoch}' is getting disconnected.",
                    )
                )
        self.readers.append(reader)

    def release(self, reader: Reader) -> None:
        if reader in self.readers:
            self.readers.remove(reader)


class Hub:
    """A hub that is being served."""

    def __init__(self, spec: HubSpec, created_ms: int, partitions: list[Partition]) -> None:
        self.name = spec.name
        self.spec = spec
        self.created_ms = created_ms
        self.partitions = partitions
        self._consumer_groups = {DEFAULT_CONSUMER_GROUP, *(name.lower() for name in spec.consumer_groups)}
        self._next_partition = 0

    def partition(self, partition_id: str) -> Partition:
        for partition in self.partitions:
            if partition.id == partition_id:
                return partition
        raise AmqpError(
            ARGUMENT_OUT_OF_RANGE,
            f"The specified partition is invalid for an EventHub partition sender or receiver: '{partition_id}'. "
            f"It should be between 0 and {len(self.partitions) - 1}.",
        )

    def check_consumer_group(self, name: str) -> None:
        if name.lower() not in self._consumer_groups:
            raise AmqpError(NOT_FOUND, f"The consumer group '{name}' of event hub '{self.name}' could not be found.")

    def partition_for(self, key: str | None) -> Partition:
        """Where an event goes that names no partition: by its key, or in turn.

        Only "same key, same partition" is promised, as long as the number of partitions stays. Which partition a key
        goes to is not the service's choice.
        """
        if key is not None:
            return self.partitions[zlib.crc32(key.encode()) % len(self.partitions)]
        chosen = self.partitions[self._next_partition]
        self._next_partition = (self._next_partition + 1) % len(self.partitions)
        return chosen

    def close(self, error: AmqpError | None = None) -> None:
        """Close the logs; with an error, tell the readers first."""
        for partition in self.partitions:
            if error is not None:
                for reader in list(partition.readers):
                    reader.detach(error)
            partition.log.close()
