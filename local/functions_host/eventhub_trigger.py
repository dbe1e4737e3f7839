"""The Event Hubs side: receives, runs the function batch by batch, and moves the checkpoints.

For each partition, in this order:
1. a batch is run, with the retries of the function's policy; no other batch of the partition runs meanwhile
2. if the host stops or the partition was lost before its end, nothing more happens: the batch comes again
3. else the checkpoint moves behind the batch, whether it succeeded or not (as the real extension does)
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.eventhub import CloseReason, EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient

from local.functions_host.app import EventHubTrigger, FunctionSpec
from local.functions_host.eventhub_batch import Gatherer, Partition, decode_many, decode_one
from local.functions_host.eventhub_options import Connection, EventHubOptions, find_connection, parse_options
from local.functions_host.invoke import Invoker, Outcome, is_set_within
from local.functions_host.settings import Settings

CHECKPOINT_CONTAINER = "azure-webjobs-eventhub"
_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.5, 15.0
_REPEAT_LOG_SECONDS = 30.0
# Under load, batches that are not full follow each other no faster: they grow meanwhile, and cost fewer checkpoints.
# An event that comes after a quiet moment does not wait.
_BATCH_INTERVAL_SECONDS = 0.1
_HELD_EVENTS_POLL_SECONDS = 0.2
# The clients' own retries are short, so that a fault is soon told; the loops here go on trying.
_HUB_RETRY: dict[str, Any] = {"retry_backoff_factor": 0.2, "retry_backoff_max": 2}
_STORAGE_RETRY: dict[str, Any] = {"initial_backoff": 1, "increment_base": 1, "retry_total": 1, "random_jitter_range": 0}
_STORAGE_API_VERSION = "2019-07-07"  # the checkpoint store's own; every emulator knows it

logger = logging.getLogger(__name__)


@dataclass
class _Lease:
    """One partition for as long as this host owns it; `ended` says that it does so no longer."""

    gatherer: Gatherer
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    batches: int = 0


class EventHubListener:
    """Runs one Event Hubs function for all partitions this host owns."""

    def __init__(self, spec: FunctionSpec, trigger: EventHubTrigger, settings: Settings, invoker: Invoker) -> None:
        self._spec = spec
        self._trigger = trigger
        self._invoker = invoker
        self._options: EventHubOptions = parse_options(settings.extension("eventHubs"))
        self._connection: Connection = find_connection(settings, trigger.connection, spec.name)
        self._stopping = asyncio.Event()
        self._leases: dict[str, _Lease] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._batches: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._logged: tuple[str, float] = ("", 0.0)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"event hub {self._spec.name}")

    async def stop(self, grace_seconds: float) -> None:
        """Starts no batch more; those running get the grace to end. None of them is checkpointed."""
        self._stopping.set()
        for lease in self._leases.values():
            lease.ended.set()
        if self._batches:
            await asyncio.wait(self._batches, timeout=grace_seconds)
            for batch in self._batches:
                batch.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=grace_seconds)

    async def _run(self) -> None:
        """Listens for ever: when the hub or the storage cannot be reached, tries again."""
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            try:
                await self._ensure_container()
                await self._listen()
            except Exception as fault:  # noqa: BLE001 - whatever it is, the host goes on
                self._report("cannot listen", fault)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)

    async def _ensure_container(self) -> None:
        container = ContainerClient.from_connection_string(
            self._connection.storage, CHECKPOINT_CONTAINER, api_version=_STORAGE_API_VERSION, **_STORAGE_RETRY
        )
        async with container:
            with contextlib.suppress(ResourceExistsError):
                await container.create_container()

    async def _listen(self) -> None:
        options = self._options
        store = BlobCheckpointStore.from_connection_string(
            self._connection.storage, CHECKPOINT_CONTAINER, **_STORAGE_RETRY
        )
        client, credential = self._client(
            checkpoint_store=store,
            load_balancing_interval=options.load_balancing_seconds,
            partition_ownership_expiration_interval=options.ownership_expiration_seconds,
            **_HUB_RETRY,
        )
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(store)
            if credential is not None:
                await stack.enter_async_context(credential)
            await stack.enter_async_context(client)
            # The asyncio client hands over what has arrived, up to the maximum; it never waits to fill a batch.
            # A wait time makes it call with no events too, which only events held back need.
            await client.receive_batch(
                self._on_batch,
                max_batch_size=options.max_batch_size,
                max_wait_time=_HELD_EVENTS_POLL_SECONDS if options.min_batch_size > 1 else None,
                prefetch=options.prefetch,
                starting_position=options.initial_position,
                on_error=self._on_error,
                on_partition_initialize=self._on_partition_initialize,
                on_partition_close=self._on_partition_close,
            )

    def _client(self, **settings: Any) -> tuple[EventHubConsumerClient, Any]:
        """The client, and the credential that has to be closed with it."""
        group, hub = self._trigger.consumer_group, self._trigger.event_hub
        if self._connection.connection_string is not None:
            client = EventHubConsumerClient.from_connection_string(
                self._connection.connection_string, group, eventhub_name=hub, **settings
            )
            return client, None
        from azure.identity.aio import DefaultAzureCredential  # slow to import, and rarely needed here

        assert self._connection.namespace is not None
        credential = DefaultAzureCredential()
        return EventHubConsumerClient(self._connection.namespace, hub, group, credential, **settings), credential

    async def _on_partition_initialize(self, context: PartitionContext) -> None:
        self._end_lease(context.partition_id)
        options = self._options
        gatherer = Gatherer(options.min_batch_size, options.max_batch_size, options.max_wait_seconds)
        self._leases[context.partition_id] = lease = _Lease(gatherer)
        if self._stopping.is_set():
            lease.ended.set()

    async def _on_partition_close(self, context: PartitionContext, reason: CloseReason) -> None:
        self._end_lease(context.partition_id)

    def _end_lease(self, partition_id: str) -> None:
        if lease := self._leases.pop(partition_id, None):
            lease.ended.set()

    async def _on_error(self, context: PartitionContext | None, fault: Exception) -> None:
        self._report(f"partition {context.partition_id}" if context else "load balancing", fault)

    async def _on_batch(self, context: PartitionContext, events: list[EventData]) -> None:
        lease = self._leases.get(context.partition_id)
        if lease is None:
            return
        started = time.monotonic()
        for batch in lease.gatherer.add(events, started):
            task = asyncio.create_task(self._process(lease, context, batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            try:
                await asyncio.shield(task)  # a function is never interrupted because the partition is lost
            except asyncio.CancelledError:
                lease.ended.set()
                raise
        if events and len(events) < self._options.max_batch_size:
            await asyncio.sleep(started + _BATCH_INTERVAL_SECONDS - time.monotonic())

    async def _process(self, lease: _Lease, context: PartitionContext, events: list[EventData]) -> None:
        async with self._locks[context.partition_id]:  # a batch of an earlier lease may still be running
            if lease.ended.is_set():
                return
            outcome = await self._invoke(lease, context, events)
            first, last = events[0].sequence_number, events[-1].sequence_number
            where = f"sequence numbers {first} to {last} of partition {context.partition_id}"
            if lease.ended.is_set():
                logger.info("no checkpoint, host stops or partition lost: %s", where)
                return
            if outcome is Outcome.FAILED:
                logger.error("'%s' failed, the checkpoint moves past %s", self._spec.name, where)
            lease.batches += 1
            if lease.batches % self._options.batches_per_checkpoint == 0:
                await self._checkpoint(lease, context, events[-1])

    async def _invoke(self, lease: _Lease, context: PartitionContext, events: list[EventData]) -> Outcome:
        partition = Partition(
            context.fully_qualified_namespace, context.eventhub_name, context.consumer_group, context.partition_id
        )
        binary = self._trigger.binary
        calls: list[Callable[[], Any]]
        if self._trigger.many:
            calls = [partial(decode_many, events, partition, binary=binary)]
        else:
            calls = [partial(decode_one, event, partition, binary=binary) for event in events]
        outcomes = set()
        for decode in calls:
            if not lease.ended.is_set():
                outcomes.add(await self._invoker.run(self._spec, decode, lease.ended))
        return Outcome.FAILED if Outcome.FAILED in outcomes else Outcome.SUCCEEDED

    async def _checkpoint(self, lease: _Lease, context: PartitionContext, event: EventData) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while not lease.ended.is_set():
            try:
                await context.update_checkpoint(event)
                break
            except Exception as fault:  # noqa: BLE001 - the storage is away; the partition waits for it
                self._report(f"checkpoint of partition {context.partition_id}", fault)
            await is_set_within(lease.ended, backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)

    def _report(self, what: str, fault: Exception) -> None:
        """One line per fault; the same one again only after a while, whichever partition it is about."""
        text = f"{type(fault).__name__}: {str(fault).strip().partition(chr(10))[0]}"
        logged, at = self._logged
        if text != logged or time.monotonic() - at > _REPEAT_LOG_SECONDS:
            self._logged = (text, time.monotonic())
            logger.warning("%s: event hub %s: %s: %s", self._spec.name, self._trigger.event_hub, what, text)
