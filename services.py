"""The clients and settings that a running app needs, made when first needed and then kept.

Importing this module touches neither the environment nor the network. A worker process has one event loop; tests have
several, so what holds connections is kept per loop.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from azure.data.tables.aio import TableServiceClient

from ledger import dead_letters, directory, rows
from ledger.commit import Ledger
from ledger.dead_letters import DeadLetters
from ledger.directory import Directory
from ledger.store import Store, TableStore
from settings import Settings


@dataclass(slots=True)
class Services:
    """Everything with I/O that the functions use."""

    settings: Settings
    usage: Store
    ledger: Ledger
    directory: Directory
    dead_letters: DeadLetters
    tables: TableServiceClient

    async def close(self) -> None:
        """Close the connections."""
        await self.tables.close()


def build(environment: Mapping[str, str]) -> Services:
    """Services for the settings in `environment`. Opens no connection. Raises SettingsError."""
    settings = Settings.from_environment(environment)
    # The worker sets the root logger to INFO, where the SDK logs every request with its headers: 2.6 KB a small batch.
    for name in ("azure.core", "azure.identity"):
        logging.getLogger(name).setLevel(logging.WARNING)
    tables = _tables(settings)

    def table(name: str) -> TableStore:
        return TableStore(tables, settings.table_prefix + name)

    usage = table(rows.TABLE)
    return Services(
        settings=settings,
        usage=usage,
        ledger=Ledger(
            usage,
            dimensions=settings.dimensions,
            cache_rows=settings.cache_rows,
            concurrency=settings.commit_concurrency,
        ),
        directory=Directory(table(directory.TABLE)),
        dead_letters=DeadLetters(table(dead_letters.TABLE)),
        tables=tables,
    )


def _tables(settings: Settings) -> TableServiceClient:
    # The SDK's own retries are few: the ledger repeats what it knows to be safe, with its own waits.
    options: dict[str, Any] = {"retry_total": 3, "connection_timeout": 10, "read_timeout": 60}
    if settings.tables_connection_string:
        return TableServiceClient.from_connection_string(settings.tables_connection_string, **options)
    from azure.identity.aio import DefaultAzureCredential  # heavy, and not needed with a connection string

    credential = DefaultAzureCredential(managed_identity_client_id=settings.tables_client_id)
    return TableServiceClient(endpoint=settings.tables_endpoint or "", credential=credential, **options)


_services: WeakKeyDictionary[asyncio.AbstractEventLoop, Services] = WeakKeyDictionary()


def get() -> Services:
    """The services of the running event loop. Raises SettingsError on every call until the settings are mended."""
    loop = asyncio.get_running_loop()
    if loop not in _services:
        _services[loop] = build(os.environ)
    return _services[loop]


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
