"""The clients and settings that a running app needs, made when first needed and then kept.

Importing this module touches neither the environment nor the network. A worker process has one event loop; tests have
several, so what holds connections is kept per loop.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from azure.data.tables.aio import TableServiceClient

from ledger import alerts, budgets, dead_letters, directory, pending, registry, rows
from ledger.alerts import Alerts
from ledger.budgets import BudgetNotes
from ledger.commit import Ledger
from ledger.dead_letters import DeadLetters
from ledger.directory import Directory
from ledger.pending import Pending
from ledger.progress import Progress
from ledger.registry import Entries
from ledger.schema import Schema
from ledger.store import Store, TableStore
from ledger.traffic import Traffic
from ledger.versions import Versions
from models.errors import SettingsError
from prices.catalogue import Catalogue
from settings import Settings
from telemetry.record import Telemetry

if TYPE_CHECKING:
    from hub_reader import HubReader
    from hub_sender import HubSender
    from hub_state import HubState


@dataclass(slots=True, eq=False, weakref_slot=True)
class Services:
    """Everything with I/O that the functions use. `stores` are all tables, by their names without the prefix."""

    settings: Settings
    usage: Store
    ledger: Ledger
    directory: Directory
    schema: Schema
    pending: Pending
    dead_letters: DeadLetters
    alerts: Alerts
    apps: Entries
    models: Entries
    prices: Versions
    budgets: Versions
    budget_notes: BudgetNotes
    catalogue: Catalogue | None
    progress: Progress
    traffic: Traffic
    telemetry: Telemetry
    tables: TableServiceClient
    stores: Mapping[str, TableStore]
    hub_sender: "HubSender | None" = field(default=None, init=False)
    hub_states: dict[str, "HubState"] = field(default_factory=dict, init=False)

    def sender(self) -> "HubSender":
        """Sends to the hub of usage events. Raises SettingsError if the settings name no connection for it."""
        if self.hub_sender is None:
            self.hub_sender = _hub_sender(self.settings)
        return self.hub_sender

    def hub_state(self, hub: str) -> "HubState":
        """Tells how much a hub holds. Raises SettingsError if the settings name no connection for it."""
        if hub not in self.hub_states:
            self.hub_states[hub] = _hub_state(self.settings, hub)
        return self.hub_states[hub]

    def hub_reader(self, hub: str, consumer_group: str) -> "HubReader":
        """Reads a hub beside the function app; whoever asks for it closes it. Raises SettingsError if the settings name
        no connection for it."""
        return _hub_reader(self.settings, hub, consumer_group)

    async def close(self) -> None:
        """Close the connections."""
        await self.tables.close()
        if self.hub_sender is not None:
            await self.hub_sender.close()
        for state in self.hub_states.values():
            await state.close()


def build(environment: Mapping[str, str]) -> Services:
    """Services for the settings in `environment`. Opens no connection. Raises SettingsError."""
    settings = Settings.from_environment(environment)
    # The worker sets the root logger to INFO, where the SDK logs every request with its headers: 2.6 KB a small batch.
    for name in ("azure.core", "azure.identity", "azure.eventhub"):
        logging.getLogger(name).setLevel(logging.WARNING)
    tables = _tables(settings)

    stores: dict[str, TableStore] = {}

    def table(name: str) -> TableStore:
        return stores.setdefault(name, TableStore(tables, settings.table_prefix + name))

    usage = table(rows.TABLE)
    apps_and_models = Directory(table(directory.TABLE), spread=settings.app_partitions)
    return Services(
        settings=settings,
        usage=usage,
        ledger=Ledger(
            usage,
            dimensions=settings.dimensions,
            cache_rows=settings.cache_rows,
            concurrency=settings.commit_concurrency,
            partition_of=apps_and_models.partition_of,
        ),
        directory=apps_and_models,
        schema=Schema(table(directory.TABLE)),
        pending=Pending(
            table(pending.TABLE),
            deadline=timedelta(seconds=settings.join_deadline_seconds),
            # an event older than the call rows is set aside, so nothing can come that would need the rest
            retention=timedelta(days=settings.call_retention_days + 1),
            concurrency=settings.commit_concurrency,
        ),
        dead_letters=DeadLetters(table(dead_letters.TABLE)),
        alerts=Alerts(table(alerts.TABLE)),
        apps=Entries(table(registry.APPS)),
        models=Entries(table(registry.MODELS)),
        prices=Versions(table("prices"), "prices"),
        budgets=Versions(table(budgets.TABLE), budgets.PARTITION),
        budget_notes=BudgetNotes(table(budgets.TABLE)),
        catalogue=Catalogue(settings.price_providers) if settings.price_providers else None,
        progress=Progress(table(directory.TABLE)),
        traffic=Traffic(table(directory.TABLE)),
        telemetry=Telemetry(by_app=settings.metrics_by_app),
        tables=tables,
        stores=stores,
    )


def _tables(settings: Settings) -> TableServiceClient:
    # The SDK's own retries are few: the ledger repeats what it knows to be safe, with its own waits. Together they end
    # well before functionTimeout (host.json), also where the tables take requests and never answer: a minute each,
    # six times (ledger/retry.py).
    options: dict[str, Any] = {"retry_total": 2, "connection_timeout": 10, "read_timeout": 20}
    if settings.tables_connection_string:
        return TableServiceClient.from_connection_string(settings.tables_connection_string, **options)
    from azure.identity.aio import DefaultAzureCredential  # heavy, and not needed with a connection string

    credential = DefaultAzureCredential(managed_identity_client_id=settings.tables_client_id)
    return TableServiceClient(endpoint=settings.tables_endpoint or "", credential=credential, **options)


def _hub_sender(settings: Settings) -> "HubSender":
    from hub_sender import HubSender  # loaded only where something is posted

    if settings.hub_connection_string:
        return HubSender.from_connection_string(settings.hub_connection_string, settings.usage_events_hub)
    if settings.hub_namespace:
        from azure.identity.aio import DefaultAzureCredential

        credential = DefaultAzureCredential(managed_identity_client_id=settings.hub_client_id)
        return HubSender.with_identity(settings.hub_namespace, settings.usage_events_hub, credential)
    raise _no_hub_connection()


def _hub_state(settings: Settings, hub: str) -> "HubState":
    from hub_state import HubState

    if settings.hub_connection_string:
        return HubState.from_connection_string(settings.hub_connection_string, hub)
    if settings.hub_namespace:
        from azure.identity.aio import DefaultAzureCredential

        credential = DefaultAzureCredential(managed_identity_client_id=settings.hub_client_id)
        return HubState.with_identity(settings.hub_namespace, hub, credential)
    raise _no_hub_connection()


def _hub_reader(settings: Settings, hub: str, consumer_group: str) -> "HubReader":
    from hub_reader import HubReader

    if settings.hub_connection_string:
        return HubReader.from_connection_string(settings.hub_connection_string, hub, consumer_group)
    if settings.hub_namespace:
        from azure.identity.aio import DefaultAzureCredential

        credential = DefaultAzureCredential(managed_identity_client_id=settings.hub_client_id)
        return HubReader.with_identity(settings.hub_namespace, hub, consumer_group, credential)
    raise _no_hub_connection()


def _no_hub_connection() -> SettingsError:
    return SettingsError(
        [
            "EventHubConnection__fullyQualifiedNamespace is not set: expected <namespace>.servicebus.windows.net "
            "(or EventHubConnection with a connection string)"
        ]
    )


_services: WeakKeyDictionary[asyncio.AbstractEventLoop, Services] = WeakKeyDictionary()


def get() -> Services:
    """The services of the running event loop. Raises SettingsError on every call until the settings are mended."""
    loop = asyncio.get_running_loop()
    if loop not in _services:
        _services[loop] = build(os.environ)
        # A batch makes dozens of objects for each call, none of them in a cycle. Looked through after every 700, which
        # is the default up to Python 3.12, they took an eighth to a fifth of the CPU (docs/performance.md).
        gc.set_threshold(20_000)
        if connection_string := _services[loop].settings.application_insights:
            from telemetry.export import start  # heavy, and not needed without

            start(connection_string)
    return _services[loop]


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
