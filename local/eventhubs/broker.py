"""The broker: everything the connections share - the hubs, the keys, the clock and the faults a test switches on."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from . import sas
from .data_dir import DataDirectory
from .errors import INVALID_FIELD, NOT_FOUND, AmqpError
from .hub import Hub, HubSpec

# HUB, HUB/Partitions/ID or HUB/ConsumerGroups/NAME/Partitions/ID
_ENTITY = re.compile(r"(?P<hub>[^/]+)(/ConsumerGroups/(?P<group>[^/]+))?(/Partitions/(?P<partition>[^/]+))?", re.I)


class Entity(NamedTuple):
    """What a link's address names."""

    hub: Hub
    consumer_group: str | None
    partition_id: str | None


@dataclass(frozen=True)
class SendFault:
    """What to do with a publisher's next message instead of storing and accepting it.

    `reject` answers with an error, `swallow` does not answer at all, `drop` cuts the connection. With `stored` the
    events are kept all the same, as when only the answer is lost: the publisher's retry then makes duplicates.
    """

    action: Literal["reject", "swallow", "drop"]
    stored: bool = False
    condition: str = ""
    description: str = "injected by a test"


class Broker:
    """Not thread-safe: used on the event loop only, apart from `send_faults`."""

    def __init__(
        self, data: DataDirectory, specs: Iterable[HubSpec], keys: Mapping[str, str] | None, clock: Callable[[], float]
    ) -> None:
        self.clock = clock
        self.send_faults: deque[SendFault] = deque()
        self._keys = keys
        self._data = data
        self._hubs: dict[str, Hub] = {}
        try:
            for spec in specs:
                self.create_hub(spec)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for hub in self._hubs.values():
            hub.close()
        self._hubs.clear()

    def now_ms(self) -> int:
        return int(self.clock() * 1000)

    @property
    def checks_tokens(self) -> bool:
        return self._keys is not None

    def token_is_valid(self, token: str) -> bool:
        return self._keys is None or sas.is_valid(token, self._keys, self.clock())

    def next_send_fault(self) -> SendFault | None:
        return self.send_faults.popleft() if self.send_faults else None

    # ---------------------------------------------------------------------------------------------------- hubs

    def serves(self, hub: Hub) -> bool:
        """False once the hub was deleted, even if another has its name by now."""
        return self._hubs.get(hub.name.lower()) is hub

    def hub(self, name: str) -> Hub:
        hub = self._hubs.get(name.lower())
        if hub is None:
            raise AmqpError(NOT_FOUND, f"The messaging entity '{name}' could not be found.")
        return hub

    def create_hub(self, spec: HubSpec, not_before_ms: int = 0) -> Hub:
        hub = self._data.open_hub(spec, max(self.now_ms(), not_before_ms))
        self._hubs[spec.name.lower()] = hub
        return hub

    def delete_hub(self, name: str) -> Hub:
        """Forget the hub and its events; its readers are detached, its publishers at their next message."""
        hub = self.hub(name)
        del self._hubs[name.lower()]
        hub.close(AmqpError(NOT_FOUND, f"The messaging entity '{hub.name}' was deleted."))
        self._data.delete_hub(hub)
        return hub

    def recreate_hub(self, name: str) -> None:
        """Delete the hub and create it again: sequence numbers and offsets restart, created_at is a later one."""
        deleted = self.delete_hub(name)
        self.create_hub(deleted.spec, not_before_ms=deleted.created_ms + 1)

    def resolve(self, address: str) -> Entity:
        """The entity an address names: a path, or an amqps:// URL with that path."""
        path = entity_path(address)
        match = _ENTITY.fullmatch(path)
        if match is None:
            raise AmqpError(NOT_FOUND, f"The messaging entity '{path}' could not be found.")
        return Entity(self.hub(match["hub"]), match["group"], match["partition"])


def entity_path(address: str) -> str:
    try:
        return (urlsplit(address).path if "://" in address else address).strip("/")
    except ValueError:
        raise AmqpError(INVALID_FIELD, f"'{address}' is not an address.") from None
