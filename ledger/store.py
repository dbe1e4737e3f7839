"""Table Storage as the ledger needs it. The only module that talks to azure-data-tables, and the only one that knows
its errors: each becomes one that says what the caller can do.

    StoreError
    ├── RowExists      an insert met a row: the call was counted before, or another writer made the aggregate row
    ├── RowChanged     a row is not as we last saw it (ETag), or is gone: read it again
    ├── Refused        the service will never take this: too large, or a value it does not allow
    └── StoreBusy      it may pass, and the write may or may not have happened: do the very same again

Sources: learn.microsoft.com "Table service error codes" and "Performing entity group transactions"; azure-data-tables
12.7: a failed transaction raises TableTransactionError for every cause, with `error_code` and `index`; the answer to a
transaction is a 202 with the failure inside, which the SDK's own retry policy does not see.
"""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, Protocol

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

Entity = dict[str, Any]

MAX_TRANSACTION_ENTITIES = 100
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024


class StoreError(Exception):
    """Base of the errors of this module. `index` is the operation that failed, if the service said so."""

    def __init__(self, message: str, index: int | None = None):
        self.index = index
        super().__init__(message)


class RowExists(StoreError):
    """An insert met a row with its keys."""


class RowChanged(StoreError):
    """An update under an ETag met a row that has another, or none."""


class Refused(StoreError):
    """The service will never accept the request."""


class StoreBusy(StoreError):
    """Unreachable, throttled, timed out or broken: the outcome is unknown."""


class Write(NamedTuple):
    """One operation of a transaction: an insert, or with `etag` the replacement or deletion of the row that has it."""

    entity: Entity
    etag: str | None = None
    delete: bool = False


class Row(NamedTuple):
    """A row as read: whole numbers of any width are `int`, and beside the columns are the ETag and when the service
    last wrote the row."""

    columns: Entity
    etag: str
    written: datetime | None = None


class Store(Protocol):
    """What the ledger and the queries need of a table. Every method can raise StoreBusy or Refused."""

    async def submit(self, writes: Sequence[Write]) -> list[str]:
        """All writes or none; they share one PartitionKey. Returns the new ETags in order (empty for deletions)."""

    async def get(self, partition_key: str, row_key: str, select: Sequence[str] = ()) -> Row | None:
        """One row, or None."""

    def range(
        self,
        partition_key: str,
        start: str,
        end: str,
        select: Sequence[str] = (),
        times: tuple[str, str] | None = None,
    ) -> AsyncIterator[Row]:
        """The rows of one partition with start <= RowKey < end, in order; with `times` only those whose `timestamp_utc`
        lies in this half-open range, which the service reads but does not send."""

    def scan(self, first: str, end: str, select: Sequence[str] = ()) -> AsyncIterator[Row]:
        """The rows of the partitions with first <= PartitionKey < end, in the order of their keys."""

    async def upsert(self, entities: Sequence[Entity]) -> None:
        """Insert or merge, at most 100 rows that share one PartitionKey, all or none."""


class WholeStore(Store, Protocol):
    """What it takes beside that to go through a whole table: for commands, not for counting or questions."""

    async def partition_after(self, partition_key: str) -> str | None:
        """The next PartitionKey that has rows, in the order of keys; None after the last."""

    def typed(self, partition_key: str, start: str, end: str) -> AsyncIterator[Row]:
        """As `range`, with an EntityProperty for each whole number of 64 bits, so that they can be written again."""


class TableStore:
    """One table. It is created when it is first found missing."""

    def __init__(self, service: TableServiceClient, name: str):
        self._service = service
        self._name = name
        self._table: TableClient = service.get_table_client(name)

    async def submit(self, writes: Sequence[Write]) -> list[str]:
        answers = await self._send([_operation(write) for write in writes])
        return [str(answer.get("etag", "")) for answer in answers]

    async def upsert(self, entities: Sequence[Entity]) -> None:
        await self._send([("upsert", entity, {"mode": UpdateMode.MERGE}) for entity in entities])

    async def _send(self, operations: list[Any]) -> Sequence[Mapping[str, Any]]:
        try:
            return await self._table.submit_transaction(operations, **_waits())
        except AzureError as error:
            await self._raise(error)
        except (OSError, ValueError, EOFError) as error:  # a broken answer surfaces as the transport's own error
            raise StoreBusy(f"{type(error).__name__}: {error}") from error

    async def get(self, partition_key: str, row_key: str, select: Sequence[str] = ()) -> Row | None:
        try:
            entity = await self._table.get_entity(partition_key, row_key, select=list(select) or None, **_waits())
        except ResourceNotFoundError:
            return None
        except AzureError as error:
            await self._raise(error)
        return _row(entity)

    def range(
        self,
        partition_key: str,
        start: str,
        end: str,
        select: Sequence[str] = (),
        times: tuple[str, str] | None = None,
    ) -> AsyncIterator[Row]:
        text = "PartitionKey eq @partition and RowKey ge @start and RowKey lt @end"
        values = {"partition": partition_key, "start": start, "end": end}
        if times:
            text += " and timestamp_utc ge @first and timestamp_utc lt @after"
            values |= {"first": times[0], "after": times[1]}
        return self._query(text, values, select)

    def scan(self, first: str, end: str, select: Sequence[str] = ()) -> AsyncIterator[Row]:
        return self._query("PartitionKey ge @first and PartitionKey lt @end", {"first": first, "end": end}, select)

    async def partition_after(self, partition_key: str) -> str | None:
        after = {"after": partition_key}
        async for row in self._query("PartitionKey gt @after", after, ["PartitionKey"], results_per_page=1):
            return str(row.columns["PartitionKey"])
        return None

    def typed(self, partition_key: str, start: str, end: str) -> AsyncIterator[Row]:
        text = "PartitionKey eq @partition and RowKey ge @start and RowKey lt @end"
        return self._query(text, {"partition": partition_key, "start": start, "end": end}, (), _typed_row)

    async def _query(
        self,
        text: str,
        parameters: dict[str, str],
        select: Sequence[str],
        as_row: Callable[[Mapping[str, Any]], Row] | None = None,
        **options: Any,
    ) -> AsyncIterator[Row]:
        as_row = as_row or _row
        options |= _waits()
        entities = self._table.query_entities(text, parameters=parameters, select=list(select) or None, **options)
        try:
            async for entity in entities:
                yield as_row(entity)
        except AzureError as error:
            if getattr(error, "error_code", None) == "TableNotFound":  # no table yet, so no rows
                return
            await self._raise(error)

    async def _raise(self, error: AzureError) -> NoReturn:
        """Raise the error of this module that says what `error` means."""
        if not isinstance(error, HttpResponseError):
            raise StoreBusy(f"{type(error).__name__}: {error}") from error
        code = str(getattr(error, "error_code", "") or "")
        index = getattr(error, "index", None)
        # A credential that fails sends no request, so there is no status, only its own words.
        message = (
            f"{error.status_code} {code or error.reason}" if error.status_code else f"{type(error).__name__}: {error}"
        )
        if code == "TableNotFound":
            await self._create_table()
            raise StoreBusy(message) from error
        if code == "EntityAlreadyExists" or (isinstance(error, ResourceExistsError) and not code):
            raise RowExists(message, index) from error
        if code in ("UpdateConditionNotSatisfied", "ResourceNotFound", "EntityNotFound"):
            raise RowChanged(message, index) from error
        if error.status_code in (400, 413):
            raise Refused(message, index) from error
        raise StoreBusy(message, index) from error

    async def _create_table(self) -> None:
        try:
            await self._service.create_table_if_not_exists(self._name)
        except AzureError as error:
            raise StoreBusy(f"the table {self._name} cannot be created: {error}") from error


def _waits() -> dict[str, Any]:
    """Between the SDK's own attempts at one request: they are doubled, but begin alike for all who met a fault."""
    return {"retry_backoff_factor": random.uniform(0.4, 0.8)}  # noqa: S311  # no secret


def _operation(write: Write) -> Any:
    if write.etag is None:
        # Unasked, the service sends every inserted row back ("Insert Entity", Prefer); the ETag comes either way.
        return "create", write.entity, {"response_preference": "return-no-content"}
    options: dict[str, Any] = {"etag": write.etag, "match_condition": MatchConditions.IfNotModified}
    if write.delete:
        return "delete", write.entity, options
    return "update", write.entity, options | {"mode": UpdateMode.REPLACE}


def _row(entity: Mapping[str, Any]) -> Row:
    # Edm.Int64 is read back as a (value, type) pair, not as a number.
    columns = {name: value.value if isinstance(value, EntityProperty) else value for name, value in entity.items()}
    return _row_of(columns, entity)


def _typed_row(entity: Mapping[str, Any]) -> Row:
    return _row_of(dict(entity), entity)


def _row_of(columns: Entity, entity: Mapping[str, Any]) -> Row:
    metadata: Mapping[str, Any] = getattr(entity, "metadata", {})
    return Row(columns, str(metadata.get("etag", "")), metadata.get("timestamp"))
