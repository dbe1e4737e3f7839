"""The whole stack as real processes with traffic through it, while its parts are killed, stopped and cut off.

    python -m tests.faults.soak --minutes 25 --kills 100        # what `make soak` runs; a short one is a test

Two functions hosts share the partitions of two hubs, in which the halves of many calls come apart. In random order
hosts are killed (SIGKILL) while they work, Azurite is stopped and started, or stays away until no client waits for it
any more and batches fail, connections to the hubs are cut, their endpoint is killed, and a host leaves and comes back,
so that partitions change hands. A share of the requests to the
tables fails in all ways of tests/faults/table_proxy.py. At last the hubs are deleted and made again. Then every event
is behind the checkpoints, and the call rows, the sums and the API's answer are what was sent: per app, model and hour,
to the token. Exit code 0 says so.

Azurite is only ever asked to stop (SIGTERM): killed, it forgets seconds of what it had confirmed, which Table Storage
does not.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Self

from azure.data.tables import TableClient
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError
from azure.storage.blob import ContainerClient

from local.azurite import Azurite
from local.eventhubs import connection_string
from local.parts import (
    CHECKPOINT_CONTAINER,
    CONSUMER_GROUP,
    HUBS,
    PARTITIONS,
    ROOT,
    app_settings,
    delete_checkpoints,
    event_hubs_arguments,
    python_part,
)
from local.ports import find_free
from local.processes import Part, PartError
from local.stack_settings import StackSettings
from tests.faults.table_proxy import TableProxy, at_random
from tests.faults.traffic import Sent, Traffic
from tests.support.audit import COUNTED, Cell, Sums, assert_exact, differences, sums, without_zeros

HOSTS = 2
READY_SECONDS = 60.0
GIVING_UP_SECONDS = 90.0
"""The longest that a batch goes on trying when the tables do not answer: all clients' and the ledger's own retries."""
PATIENCE_SECONDS = 300.0
"""The longest that nothing may move while the rest is being counted: some runs of the minute's timer."""
HOST_JSON = {  # small batches and quick changes of ownership: more happens in less time
    "maxEventBatchSize": "40",
    "loadBalancingUpdateInterval": "00:00:00.5",
    "partitionOwnershipExpirationInterval": "00:00:04",
}
EVENTS_PER_SEND = 20
MOST_BEHIND = 1_000
"""Events. When the hosts are further behind there is enough for them to do, and no more is sent for a while."""
BATCH = re.compile(r'\{"event": "batch".*\}')
_FAILED = '{"event": "batch_failed"'
ROUNDS_PER_LOSS = 4


class Fleet:
    """Azurite on disk, an Event Hubs endpoint and the functions hosts, each a process of its own.

    `seen` adds up what the hosts' logs say of their batches; of a killed host's last batch they say nothing.
    """

    def __init__(self, folder: Path, tables: Callable[[Azurite], str], app: Path = ROOT) -> None:
        *self.http_ports, amqp, table, blob = find_free(HOSTS + 3)
        settings = StackSettings(self.http_ports[0], amqp, table, blob, folder, sample=False)
        logs = folder / "logs"
        self._hubs_folder = folder / "eventhubs"
        self.azurite = Azurite(folder / "azurite", table, blob, log_path=logs / "azurite.log")
        self.hub = connection_string(amqp)
        self.event_hubs = python_part(
            "The Event Hubs endpoint", event_hubs_arguments(settings), logs / "event-hubs.log"
        )
        environment = app_settings(self.azurite.connection_string, self.hub) | {"UsageStorage": tables(self.azurite)}
        environment["JOIN_DEADLINE_SECONDS"] = "5"
        environment |= {f"AzureFunctionsJobHost__extensions__eventHubs__{name}": v for name, v in HOST_JSON.items()}
        self._logs, self._environment = logs, environment
        self.hosts = [self._host(number, app) for number in range(HOSTS)]
        self.seen: Counter[str] = Counter()

    def _host(self, number: int, app: Path) -> Part:
        return python_part(
            f"Functions host {number}",
            ["local.functions_host", "--app", str(app), "--port", str(self.http_ports[number])],
            self._logs / f"host-{number}.log",
            self._environment,
        )

    def deploy(self, number: int, app: Path, how: signal.Signals = signal.SIGTERM) -> None:
        """One host goes, and runs the app in that folder when it comes again."""
        self.end(self.hosts[number], how)
        self.hosts[number] = self._host(number, app)
        self.start(self.hosts[number])

    def __enter__(self) -> Self:
        try:
            self.azurite.start()
            self.start(self.event_hubs)
            for host in self.hosts:
                self.start(host)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for part in (*self.hosts, self.event_hubs):
            part.stop()
        self.azurite.stop()

    def start(self, part: Part, ready: bool = True) -> None:
        part.start()
        if ready:
            part.wait_for("^ready$" if part in self.hosts else "ready: Endpoint", READY_SECONDS)

    def end(self, part: Part, how: signal.Signals) -> None:
        """Returns when the process has ended."""
        assert part.pid is not None
        os.kill(part.pid, how)
        while part.exit_code is None:
            time.sleep(0.01)
        self._read_log(part)
        part.stop()

    def _read_log(self, part: Part) -> None:
        for line in BATCH.findall(part.log_text()):
            batch = json.loads(line)
            self.seen["batches"] += 1
            for name in ("received", "duplicate", "joined", "corrected", "dead_lettered", "conflicts", "retries"):
                self.seen[name] += batch[name]
        self.seen["batches that failed"] += part.log_text().count(_FAILED)
        self.seen["partitions lost in a batch"] += part.log_text().count("no checkpoint, host stops or partition lost")

    def failed(self) -> int:
        """How many batches failed in the hosts that run."""
        return sum(host.log_text().count(_FAILED) for host in self.hosts)

    def make_hubs_anew(self) -> None:
        """As an operator does it: the app is stopped, the hubs are deleted and made again, and the checkpoints go. The
        new events have the sequence numbers of old ones."""
        for part in (*self.hosts, self.event_hubs):
            self.end(part, signal.SIGTERM)
        shutil.rmtree(self._hubs_folder)
        delete_checkpoints(self.azurite.connection_string)
        for part in (self.event_hubs, *self.hosts):
            self.start(part)

    def behind(self) -> int:
        """How many events of all partitions no checkpoint has passed."""
        done = {}
        with ContainerClient.from_connection_string(self.azurite.connection_string, CHECKPOINT_CONTAINER) as container:
            for blob in container.list_blobs(include=["metadata"]):
                hub, _, kind, partition = blob.name.split("/")[-4:]
                if kind == "checkpoint":
                    done[hub, partition] = int(blob.metadata["sequencenumber"])
        return sum(last - done.get(place, -1) for hub in HUBS for place, last in self._last(hub))

    def _last(self, hub: str) -> Iterator[tuple[tuple[str, str], int]]:
        with EventHubConsumerClient.from_connection_string(self.hub, CONSUMER_GROUP, eventhub_name=hub) as client:
            for partition in map(str, range(PARTITIONS)):
                properties: dict[str, Any] = client.get_partition_properties(partition)
                yield (hub, partition), int(properties["last_enqueued_sequence_number"])


class Sender(threading.Thread):
    """Sends traffic with the real SDK until told to stop, or for now to wait; what was not confirmed is sent again."""

    def __init__(self, hub: str, traffic: Traffic, per_second: float) -> None:
        super().__init__(daemon=True)
        self.events = self.resent = 0
        self.waits = False
        self._hub = hub
        self._traffic = traffic
        self._pause = EVENTS_PER_SEND / per_second
        self._stopping = threading.Event()

    def run(self) -> None:
        with self._producers() as producers:
            while not self._stopping.wait(self._pause):
                if not self.waits:
                    self._send(producers, self._traffic.events(EVENTS_PER_SEND))
            self._send(producers, self._traffic.rest())

    def finish_with(self, events: list[Sent]) -> None:
        """Sends these too, and what they held back, when `finish` has ended the thread."""
        with self._producers() as producers:
            self._send(producers, [*events, *self._traffic.rest()])

    @contextlib.contextmanager
    def _producers(self) -> Iterator[dict[str, EventHubProducerClient]]:
        with contextlib.ExitStack() as stack:
            make = EventHubProducerClient.from_connection_string
            yield {
                hub: stack.enter_context(make(self._hub, eventhub_name=hub, retry_backoff_factor=0.1)) for hub in HUBS
            }

    def _send(self, producers: Mapping[str, EventHubProducerClient], events: list[Sent]) -> None:
        for hub, producer in producers.items():
            bodies = [event.body for event in events if event.hub == hub]
            while bodies and not self._is_sent(producer, bodies):
                self.resent += len(bodies)
                time.sleep(0.2)
        self.events += len(events)

    def _is_sent(self, producer: EventHubProducerClient, bodies: list[bytes]) -> bool:
        try:
            producer.send_batch([EventData(body) for body in bodies])
        except (EventHubError, OSError):
            return False
        return True

    def finish(self) -> None:
        self._stopping.set()
        self.join()


class ProxyThread:
    """The proxy with faults, on an event loop of its own; begins to fail when it has connections to fail."""

    def __init__(self, seed: int, share: float) -> None:
        self._seed = seed
        self._share = share
        self._started = threading.Event()

    def __call__(self, azurite: Azurite) -> str:
        """Starts it, and returns the connection string that leads through it."""
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(azurite),), daemon=True)
        self._thread.start()
        assert self._started.wait(READY_SECONDS)
        return self.proxy.connection_string

    async def _serve(self, azurite: Azurite) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with TableProxy(azurite, at_random(self._seed, self._share)) as self.proxy:
            self._started.set()
            await self._stop.wait()

    def finish(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


class Chaos:
    """What happens to the fleet. `done` counts it."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._draw = random.Random(seed)
        self.done: Counter[str] = Counter()

    def actions(self) -> Iterator[Callable[[], None]]:
        """Without end: in rounds of five kills and one of everything else, each in an order of its own. What takes long
        is not in every round."""
        for number in itertools.count():
            todo = [self.kill_host] * 5 + [self.restart_azurite, self.cut_connections, self.kill_event_hubs]
            todo += [self.rebalance] + [self.lose_azurite] * (number % ROUNDS_PER_LOSS == 0)
            self._draw.shuffle(todo)
            yield from todo

    def kill_host(self) -> None:
        """Somewhere in its work: a random moment after its first batch. Sometimes it stays away for a while."""
        host = self._draw.choice(self._fleet.hosts)
        with contextlib.suppress(PartError):  # silent: it may own no partition
            host.wait_for(BATCH.pattern, 10.0)
        time.sleep(self._draw.uniform(0, 0.7))
        self._fleet.end(host, signal.SIGKILL)
        if self._draw.random() < 0.2:
            time.sleep(self._draw.uniform(0, 5))  # the other takes its partitions
        self._fleet.start(host, ready=False)

    def restart_azurite(self) -> None:
        self._fleet.azurite.stop()
        time.sleep(self._draw.uniform(0, 2))
        self._fleet.azurite.start()

    def lose_azurite(self) -> None:
        """It stays away until a batch has failed, after all retries, and the host has it come again."""
        with contextlib.suppress(PartError):  # one host at least works
            self._draw.choice(self._fleet.hosts).wait_for(BATCH.pattern, 10.0)
        before, deadline = self._fleet.failed(), time.monotonic() + GIVING_UP_SECONDS
        self._fleet.azurite.stop()
        while self._fleet.failed() == before and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(self._draw.uniform(0, 5))
        self._fleet.azurite.start()

    def cut_connections(self) -> None:
        assert self._fleet.event_hubs.pid is not None
        os.kill(self._fleet.event_hubs.pid, signal.SIGUSR1)

    def kill_event_hubs(self) -> None:
        self._fleet.end(self._fleet.event_hubs, signal.SIGKILL)
        self._fleet.start(self._fleet.event_hubs)

    def rebalance(self) -> None:
        """A host leaves in order, the other takes over, and it comes back."""
        host = self._draw.choice(self._fleet.hosts)
        self._fleet.end(host, signal.SIGTERM)
        time.sleep(self._draw.uniform(0, 3))
        self._fleet.start(host)

    def run(self, action: Callable[[], None]) -> None:
        action()
        self.done[action.__name__] += 1


def main(arguments_given: list[str] | None = None) -> int:
    arguments = _arguments(arguments_given)
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    print(f"seed {arguments.seed}", flush=True)
    now = datetime.now(UTC)
    traffic = Traffic(arguments.seed, now, orphans=arguments.orphans)
    proxy = ProxyThread(arguments.seed, arguments.faults)
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        folder = Path(arguments.folder or name)
        with Fleet(folder, proxy) as fleet:
            chaos, sender = Chaos(fleet, arguments.seed), Sender(fleet.hub, traffic, arguments.rate)
            sender.start()
            began = time.monotonic()
            for number, action in enumerate(chaos.actions(), 1):
                chaos.run(action)
                if number % 10 == 0:
                    sender.waits = fleet.behind() > MOST_BEHIND
                _tell(began, chaos, sender)
                over = time.monotonic() - began > arguments.minutes * 60
                if over and chaos.done["kill_host"] >= arguments.kills and len(chaos.done) == 6:
                    break
            sender.finish()
            wait_until_counted(fleet, traffic.sent)
            fleet.make_hubs_anew()
            sender.finish_with(traffic.events(EVENTS_PER_SEND))
            wait_until_counted(fleet, traffic.sent)
            _check_answer(fleet, traffic.sent, now)
            for host in fleet.hosts:
                fleet.end(host, signal.SIGTERM)
            assert_exact(fleet.azurite.connection_string, traffic.sent)
            letters = _dead_letters(fleet)
            assert set(letters) <= {"not_json", "unknown_dialect", "invalid_field"}, letters
            assert letters.total() >= traffic.poison, (letters, traffic.poison)
            assert fleet.seen["batches that failed"] > 0, "the storage was never away for long"
        proxy.finish()
    _tell(began, chaos, sender)
    print(f"exact: {traffic.calls} calls in {sender.events} events, {sender.resent} of these sent again", flush=True)
    print(f"the tables: {proxy.proxy.requests} requests, {proxy.proxy.injected.total()} of them with a fault")
    print(f"the hosts' logs: {dict(fleet.seen)}; dead letters: {dict(letters)}")
    return 0


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25, help="go on for at least so long (%(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="and until so many hosts were killed (%(default)s)")
    parser.add_argument("--rate", type=float, default=30, help="events a second (%(default)s)")
    parser.add_argument("--faults", type=float, default=0.05, help="share of failing table requests (%(default)s)")
    parser.add_argument("--orphans", type=float, default=0.03, help="share of calls of which a half stays away")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="(random)")
    parser.add_argument("--folder", help="keep data and logs here (a temporary one)")
    return parser.parse_args(given)


def _tell(began: float, chaos: Chaos, sender: Sender) -> None:
    print(f"{time.monotonic() - began:6.0f} s  {sender.events} events  {dict(chaos.done)}", flush=True)


def wait_until_counted(fleet: Fleet, sent: Sums) -> None:
    """Until the checkpoints have passed every event, and the timer every deadline. AssertionError if that never is."""
    before: tuple[int, list[str]] | None = None
    moved = time.monotonic()
    while True:
        left = fleet.behind()
        wrong = [] if left else differences(fleet.azurite.connection_string, sent)
        if not left and not wrong:
            return
        if (left, wrong) != before:
            before, moved = (left, wrong), time.monotonic()
        if time.monotonic() - moved > PATIENCE_SECONDS:
            assert not left, f"{left} events stay uncounted"
            assert_exact(fleet.azurite.connection_string, sent)
        time.sleep(0.5)


def _check_answer(fleet: Fleet, sent: Sums, now: datetime) -> None:
    """The API, asked of a host, gives the rows that were sent."""
    start, end = now - timedelta(days=40), now + timedelta(days=1)
    url = f"http://127.0.0.1:{fleet.http_ports[0]}/api/usage?granularity=hour&group_by=app,model"
    url += f"&from={start:%Y-%m-%dT%H:00:00Z}&to={end:%Y-%m-%dT%H:00:00Z}"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as response:
        rows = json.load(response)["rows"]
    found = sums()
    for row in rows:
        hour = row["start"].translate({ord(sign): None for sign in "-T:"})[:10]
        found[Cell(row["app"], row["model"], hour)].update({name: row[name] for name in COUNTED})
    assert without_zeros(found) == without_zeros(sent), "the API's answer is not what was sent"


def _dead_letters(fleet: Fleet) -> Counter[str]:
    with TableClient.from_connection_string(fleet.azurite.connection_string, "deadletters") as table:
        return Counter(row["reason"] for row in table.list_entities(select=["reason"]))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
