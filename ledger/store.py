"""Table Storage as the ledger needs it. The only module that talks to azure-data-tables, and the only one that knows
its errors: each becomes one that says what the caller can do.

    StoreError
    ├── RowExists      an insert met a row: the call was counted before, or another writer made the aggregate row
    ├── RowChanged     a row is not as we last saw it (ETag), or is gone: read it again
    ├── Refused        the service will never take this: too large, or a value it does not allow
    └── StoreBusy      it may pass, and the write may or may not have happened: do the very same again

Sources: learn.microsoft.com "Table service error codes" and "Performing entity group transactions": the answer to a
transaction is a 202 with the failure inside, which the SDK's own retry policy does not see.
"""

import random
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.data.tables import EntityProperty
from azure.data.tables.aio import TableClient, TableServiceClient

from ledger.group_transaction import Failure, Operation, error_of, etags_of, request_body
from ledger.odata import Entity as Entity

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


async def partitions_after(store: WholeStore, partition_key: str = "") -> AsyncIterator[str]:
    """The PartitionKeys behind this one, in their order. Raises StoreBusy."""
    while (found := await store.partition_after(partition_key)) is not None:
        yield found
        partition_key = found


class TableStore:
    """One table. It is created when it is first found missing."""

    def __init__(self, service: TableServiceClient, name: str):
        self._service = service
        self.name = name
        self._table: TableClient = service.get_table_client(name)
        address, _, signature = service.url.partition("?")
        self.url = address.rstrip("/")
        self._batch_url = f"{self.url}/$batch" + (f"?{signature}" if signature else "")

    async def submit(self, writes: Sequence[Write]) -> list[str]:
        return await self._send([_operation(write) for write in writes])

    async def upsert(self, entities: Sequence[Entity]) -> None:
        await self._send([Operation("PATCH", entity) for entity in entities])

    async def _send(self, operations: Sequence[Operation]) -> list[str]:
        try:
            content_type, content = request_body(operations, f"{self.url}/{self.name}")
        except ValueError as error:
            raise Refused(str(error)) from error
        headers = _BATCH_HEADERS | {"x-ms-version": self._service.api_version, "Content-Type": content_type}
        request = HttpRequest("POST", self._batch_url, headers=headers, content=content)
        try:
            # The SDK's own client has credential, retries, time limits and tracing, and no public way to send with it.
            response = await self._service._client.send_request(request, stream=True, **_waits())
            answer = await response.read()
            if response.status_code != 202:
                code = error_of(answer)[0] or response.headers.get("x-ms-error-code", "")
                await self._raise_status(response.status_code, code, response.reason)
            etags = etags_of(answer, operations)
        except AzureError as error:
            await self._raise(error)
        except (OSError, ValueError, EOFError, zlib.error) as error:  # a broken answer: the transport's own error
            raise StoreBusy(f"{type(error).__name__}: {error}") from error
        if isinstance(etags, Failure):
            await self._raise_failure(etags)
        return etags

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
        # A credential that fails sends no request, so there is no status, only its own words.
        if not isinstance(error, HttpResponseError) or not error.status_code:
            raise StoreBusy(f"{type(error).__name__}: {error}") from error
        code = getattr(error, "error_code", None)
        await self._raise_status(error.status_code, str(getattr(code, "value", code) or ""), error.reason, error)

    async def _raise_failure(self, failure: Failure) -> NoReturn:
        """Of one operation. Only here do these codes speak of a row: of a whole request they mean its address."""
        status, code, index = failure
        if code == "EntityAlreadyExists":
            raise RowExists(f"{status} {code}", index)
        if code in ("UpdateConditionNotSatisfied", "ResourceNotFound", "EntityNotFound"):
            raise RowChanged(f"{status} {code}", index)
        await self._raise_status(status, code)

    async def _raise_status(
        self, status: int, code: str, reason: str | None = None, error: AzureError | None = None
    ) -> NoReturn:
        message = f"{status} {code or reason or ''}".strip()
        if code == "TableNotFound":
            await self._create_table()
        elif status in (400, 413):
            raise Refused(message) from error
        raise StoreBusy(message) from error

    async def _create_table(self) -> None:
        try:
            await self._service.create_table_if_not_exists(self.name)
        except AzureError as error:
            raise StoreBusy(f"the table {self.name} cannot be created: {error}") from error


_BATCH_HEADERS: Final = {
    "DataServiceVersion": "3.0",
    "MaxDataServiceVersion": "3.0;NetFx",
    "Accept": "application/json",
}


def _waits() -> dict[str, Any]:
    """Between the SDK's own attempts at one request: they are doubled, but begin alike for all who met a fault."""
    return {"retry_backoff_factor": random.uniform(0.4, 0.8)}  # noqa: S311  # no secret


def _operation(write: Write) -> Operation:
    if write.etag is None:
        return Operation("POST", write.entity)
    return Operation("DELETE" if write.delete else "PUT", write.entity, write.etag)


def _row(entity: Mapping[str, Any]) -> Row:
    # Edm.Int64 is read back as a (value, type) pair, not as a number.
    columns = {name: value.value if isinstance(value, EntityProperty) else value for name, value in entity.items()}
    return _row_of(columns, entity)


def _typed_row(entity: Mapping[str, Any]) -> Row:
    return _row_of(dict(entity), entity)


def _row_of(columns: Entity, entity: Mapping[str, Any]) -> Row:
    metadata: Mapping[str, Any] = getattr(entity, "metadata", {})
    return Row(columns, str(metadata.get("etag", "")), metadata.get("timestamp"))
