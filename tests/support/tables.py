"""Whole tables: an app's own on Azurite, rows put there as they are, and all rows read back with their types."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ledger.store import StoreBusy, Write, partitions_after
from local.azurite import Azurite
from services import Services, build
from tests.queries.filled import environment


@asynccontextmanager
async def app(azurite: Azurite, **changes: str) -> AsyncIterator[Services]:
    """An app whose tables nobody else has; `changes` are settings."""
    found = build(environment(azurite, **changes))
    try:
        yield found
    finally:
        await found.close()


async def put(found: Services, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows as they are."""
    for row in rows:
        for _ in range(2):
            try:
                await found.stores[table].submit([Write(dict(row))])
                break
            except StoreBusy:  # the table was not there yet
                continue


async def everything(found: Services, table: str) -> dict[tuple[str, str], dict[str, Any]]:
    """All rows of a table by their keys, with their types."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    async for partition in partitions_after(found.stores[table]):
        async for row in found.stores[table].typed(partition, "", "~~"):
            rows[partition, row.columns["RowKey"]] = dict(row.columns)
    return rows
