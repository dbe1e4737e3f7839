"""The server: listens on 127.0.0.1, from a thread of its own (EventHubsEndpoint) or as a program (serve)."""

import asyncio
import errno
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from .broker import Broker, SendFault
from .connection import Connection
from .data_dir import DataDirectory
from .errors import SERVER_BUSY, EndpointError
from .hub import HubSpec

HOST = "127.0.0.1"
KEY_NAME = "local"
KEY = "local"

_T = TypeVar("_T")


def connection_string(port: int, hub: str | None = None, *, key_name: str = KEY_NAME, key: str = KEY) -> str:
    """For the azure-eventhub SDK: UseDevelopmentEmulator=true makes it speak plain AMQP to the port in Endpoint."""
    text = (
        f"Endpoint=sb://{HOST}:{port};SharedAccessKeyName={key_name};SharedAccessKey={key};UseDevelopmentEmulator=true"
    )
    return text if hub is None else f"{text};EntityPath={hub}"


@asynccontextmanager
async def _listening(broker: Broker, port: int) -> AsyncIterator[tuple[int, set[Connection]]]:
    """Accept clients while the block runs; yields the port (chosen by the system for 0) and the connections."""
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: Connection(broker, connections), HOST, port)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
        raise EndpointError(f"port {port} on {HOST} {reason}") from None
    try:
        yield server.sockets[0].getsockname()[1], connections
    finally:
        server.close()
        for connection in list(connections):
            connection.close_for_shutdown()
        await asyncio.sleep(0)  # connections close in the next turn of the loop
        _cut(connections)  # of clients too slow to take what was written for them
        await asyncio.sleep(0)


def _cut(connections: Iterable[Connection]) -> None:
    for connection in list(connections):
        connection.abort()


async def serve(
    data_dir: Path | str,
    hubs: Iterable[HubSpec],
    port: int,
    *,
    keys: Mapping[str, str] | None = None,
    ready: Callable[[int], None] = lambda port: None,
    drop_on: signal.Signals | None = None,
) -> None:
    """Serve until cancelled; `ready` is called with the port once clients can connect. The signal `drop_on` cuts all
    connections without a word, as a network failure does."""
    data = DataDirectory(Path(data_dir))
    try:
        broker = Broker(data, hubs, keys, time.time)
        try:
            async with _listening(broker, port) as (bound_port, connections):
                if drop_on is not None:
                    asyncio.get_running_loop().add_signal_handler(drop_on, _cut, connections)
                ready(bound_port)
                await asyncio.get_running_loop().create_future()
        finally:
            broker.close()
    finally:
        data.close()


class EventHubsEndpoint:
    """The endpoint in a daemon thread of this process, for tests and for a parent program.

        with EventHubsEndpoint(folder, [HubSpec("usage-events", 4, ("usage-collector",))]) as endpoint:
            producer = EventHubProducerClient.from_connection_string(endpoint.connection_string("usage-events"))

    With `keys` (name to key) tokens are checked; without, any will do. `clock` gives the time in seconds since 1970.
    All methods may be called from any thread. After stop() it can be started again, on the same port.
    """

    def __init__(
        self,
        data_dir: Path | str,
        hubs: Iterable[HubSpec],
        port: int = 0,
        *,
        keys: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.port = port
        self._data_dir = Path(data_dir)
        self._hubs = list(hubs)
        self._keys = keys
        self._clock = clock
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Open the data directory and listen; EndpointError if either fails."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="local-eventhubs", daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise
        return self

    def stop(self) -> None:
        """Close all connections, release the port and the data directory; does nothing when not started."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop_requested.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def connection_string(self, hub: str | None = None, *, key_name: str = KEY_NAME, key: str = KEY) -> str:
        return connection_string(self.port, hub, key_name=key_name, key=key)

    # --------------------------------------------------------------------------------------------- looking inside

    def event_counts(self, hub: str) -> list[int]:
        """How many events each partition of the hub holds."""
        return self._call(lambda: [len(partition.log) for partition in self._broker.hub(hub).partitions])

    def connection_count(self) -> int:
        return self._call(lambda: len(self._connections))

    # ----------------------------------------------------------------------------------- what tests can make happen

    def recreate_hub(self, hub: str) -> None:
        """Delete the hub with its events and create it anew, as an operator may do with the real one."""
        self._call(lambda: self._broker.recreate_hub(hub))

    def delete_hub(self, hub: str) -> None:
        self._call(lambda: self._broker.delete_hub(hub))

    def create_hub(self, spec: HubSpec) -> None:
        self._call(lambda: self._broker.create_hub(spec))

    def drop_connections(self) -> None:
        """Cut all connections without a word, as a network failure does."""
        self._call(lambda: _cut(self._connections))

    def reject_sends(self, count: int = 1, condition: str = SERVER_BUSY, description: str = "injected fault") -> None:
        """Answer the next `count` messages (events or batches) of publishers with an error."""
        self._add_faults(count, SendFault("reject", condition=condition, description=description))

    def swallow_sends(self, count: int = 1, *, stored: bool = False) -> None:
        """Do not answer the next `count` messages; with `stored` keep their events all the same."""
        self._add_faults(count, SendFault("swallow", stored))

    def drop_on_sends(self, count: int = 1, *, stored: bool = False) -> None:
        """Cut the connection instead of answering the next `count` messages; `stored` as above."""
        self._add_faults(count, SendFault("drop", stored))

    def clear_faults(self) -> None:
        self._broker.send_faults.clear()

    def _add_faults(self, count: int, fault: SendFault) -> None:
        self._broker.send_faults.extend([fault] * count)

    # --------------------------------------------------------------------------------------------------- the thread

    def _call(self, function: Callable[[], _T]) -> _T:
        """Run `function` on the event loop, where all state lives, and wait for its result."""
        if self._thread is None:
            raise EndpointError("the endpoint is not running")

        async def run() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _run(self, started: "Future[None]") -> None:
        try:
            asyncio.run(self._main(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _main(self, started: "Future[None]") -> None:
        self._loop = asyncio.get_running_loop()
        self._stop_requested = asyncio.Event()
        data = DataDirectory(self._data_dir)
        try:
            self._broker = Broker(data, self._hubs, self._keys, self._clock)
            try:
                async with _listening(self._broker, self.port) as (self.port, self._connections):
                    started.set_result(None)
                    await self._stop_requested.wait()
            finally:
                self._broker.close()
        finally:
            data.close()
