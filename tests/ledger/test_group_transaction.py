"""Transactions as another parser reads them, and as the SDK's own are stored; and their answers."""

import json
from email import message_from_bytes
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.core.credentials import AzureSasCredential
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables.aio import TableServiceClient
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.group_transaction import Failure, Operation, etags_of, request_body
from ledger.odata import load_row
from ledger.store import Refused, RowChanged, RowExists, StoreBusy, StoreError, TableStore, Write
from local.azurite import Azurite
from tests.support.ledger import fresh_table

URL = "https://account.table.core.windows.net/usage"
# What a key may hold at all: none of / \ # ? and control characters ("Understanding the Table service data model").
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\#?"), min_size=1, max_size=30)
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30),
    st.just("\r\n--changeset\r\nHTTP/1.1 500 no\r\n\r\n"),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: EntityProperty(number, EdmType.INT64)),
    st.floats(allow_nan=False),
    st.binary(max_size=20),
)
PARTITION = "it's 100 % \N{SNOWMAN}"
COLUMNS = st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, max_size=5)
ENTITIES = st.builds(lambda r, columns: {"PartitionKey": PARTITION, "RowKey": r} | columns, KEYS, COLUMNS)
OPERATIONS = st.builds(
    Operation, st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]), ENTITIES, st.none() | st.just("W/\"datetime'x'\"")
)


@given(operations=st.lists(OPERATIONS, min_size=1, max_size=5))
def test_pythons_email_parser_reads_every_operation_back(operations: list[Operation]) -> None:
    content_type, content = request_body(operations, URL)
    batch = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + content)
    change_sets: Any = batch.get_payload()
    [change_set] = change_sets
    parts = change_set.get_payload()
    assert len(parts) == len(operations)
    for part, (method, entity, etag) in zip(parts, operations, strict=True):
        request = part.get_payload(decode=True).decode("ascii")
        head, _, body = request.partition("\r\n\r\n")
        line, *headers = head.split("\r\n")
        keys = [entity[name].replace("'", "''") for name in ("PartitionKey", "RowKey")]
        path = URL if method == "POST" else f"{URL}(PartitionKey='{keys[0]}',RowKey='{keys[1]}')"
        assert unquote(line) == f"{method} {path} HTTP/1.1"
        assert [header for header in headers if header.startswith("If-Match")] == (
            [f"If-Match: {etag}"] if etag and method != "POST" else []
        )
        assert ("Prefer: return-no-content" in headers) == (method == "POST")
        lengths = [int(header[16:]) for header in headers if header.startswith("Content-Length: ")]
        assert lengths == ([] if method == "DELETE" else [len(body)])
        assert body == "" if method == "DELETE" else load_row(body) == entity


# Azurite misreads some other characters in the path of a part, the SDK's as well; ours are of models/keys.py.
@given(columns=COLUMNS, merged=COLUMNS, row_key=st.from_regex(r"[A-Za-z0-9._:@~|-]{1,30}", fullmatch=True))
@settings(max_examples=15)
async def test_rows_are_as_the_sdks_own_transaction_leaves_them(
    azurite: Azurite, columns: dict[str, Any], merged: dict[str, Any], row_key: str
) -> None:
    entity = {"PartitionKey": "app~20:1@x|202611", "RowKey": row_key} | columns
    other = {"PartitionKey": entity["PartitionKey"], "RowKey": f"{row_key}2"}
    async with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        sdk = await service.create_table(f"sdk{uuid4().hex}")
        await sdk.submit_transaction([("create", entity), ("upsert", other | merged)])
        await sdk.submit_transaction([("upsert", entity | merged), ("delete", other)])
        expected = [dict(row) async for row in sdk.list_entities()]
        await sdk.close()
    async with fresh_table(azurite.connection_string) as store:
        _, etag = await store.submit([Write(entity), Write(other | merged)])
        await store.upsert([entity | merged])
        await store.submit([Write(other, etag, delete=True)])
        assert [dict(row.columns) async for row in store.typed(entity["PartitionKey"], " ", "~" * 40)] == expected


async def test_the_operation_that_fails_is_named(azurite: Azurite) -> None:
    rows = [{"PartitionKey": "p", "RowKey": str(number)} for number in range(3)]
    async with fresh_table(azurite.connection_string) as store:
        [etag] = await store.submit([Write(rows[2])])
        with pytest.raises(RowExists) as exists:
            await store.submit([Write(row) for row in rows])
        assert exists.value.index == 2
        await store.submit([Write(rows[2] | {"a": 1}, etag)])
        with pytest.raises(RowChanged) as changed:
            await store.submit([Write(rows[0]), Write(rows[2], etag)])
        assert changed.value.index == 1
        assert [row.columns["RowKey"] async for row in store.range("p", "", "~")] == ["2"]


async def test_a_shared_access_signature_in_the_address_is_no_part_of_the_path() -> None:
    async with TableServiceClient(endpoint="https://account.table.core.windows.net/?sv=1&sig=secret") as service:
        assert TableStore(service, "usage").url == "https://account.table.core.windows.net"


def _operation(method: Literal["POST", "PUT", "DELETE"]) -> Operation:
    return Operation(method, {"PartitionKey": "p", "RowKey": "r"})


def _answer(*parts: str) -> bytes:
    start = "--changesetresponse_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    whole = "".join(f"{start}{part}\r\n" for part in parts)
    head = "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_1\r\n\r\n"
    return f"{head}{whole}--changesetresponse_1--\r\n--batchresponse_1--\r\n".encode()


INSERTED = "HTTP/1.1 204 No Content\r\nDataServiceVersion: 3.0;\r\nETag: W/\"datetime'1'\"\r\n\r\n"
DELETED = "HTTP/1.1 204 No Content\r\nDataServiceVersion: 1.0;\r\n\r\n"
ERROR = '{{"odata.error":{{"code":"{}","message":{{"lang":"en-US","value":"{}\\nRequestId:1\\nTime:2026-11-20"}}}}}}'


def test_etags_stand_in_the_order_of_the_operations() -> None:
    replaced = INSERTED.replace("'1'", "'2'").replace("ETag", "etag").replace("\r\n", "\n")
    operations = [_operation("POST"), _operation("DELETE"), _operation("PUT")]
    assert etags_of(_answer(INSERTED, DELETED, replaced), operations) == ["W/\"datetime'1'\"", "", "W/\"datetime'2'\""]


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("EntityAlreadyExists", "17:The specified entity already exists.", Failure(409, "EntityAlreadyExists", 17)),
        ("TableNotFound", "The table specified does not exist.", Failure(409, "TableNotFound", 0)),
    ],
)
def test_a_failure_says_which_and_why(code: str, message: str, expected: Failure) -> None:
    body = ERROR.format(code, message)
    part = f"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n\r\n{body}\r\n"
    assert etags_of(_answer(part), [_operation("POST")] * 100) == expected


def test_answers_that_azure_gave() -> None:
    recorded = json.loads((Path(__file__).parent / "azure_batch_answers.json").read_text("utf-8"))
    inserts = [_operation("POST")] * 3
    assert etags_of(recorded["conflict"].encode(), inserts) == Failure(409, "EntityAlreadyExists", 2)
    assert (
        etags_of(recorded["inserted"].encode(), inserts[:2]) == ["W/\"datetime'2021-09-08T18%3A58%3A49.7704959Z'\""] * 2
    )


def test_a_failure_in_other_words_is_one_all_the_same() -> None:
    inserts = [_operation("POST")] * 2
    assert etags_of(_answer("HTTP/1.1 500 Oops\r\n\r\n<error>{</error>"), inserts) == Failure(500, "", 0)
    coded = "HTTP/1.1 409 Conflict\r\nx-ms-error-code: EntityAlreadyExists\r\n\r\n"
    assert etags_of(_answer(coded), inserts) == Failure(409, "EntityAlreadyExists", 0)
    xml = '<?xml version="1.0"?><error><code>ServerBusy</code><message xml:lang="en">1:Later.</message></error>'
    assert etags_of(_answer(f"HTTP/1.1 503 Busy\r\n\r\n{xml}"), inserts) == Failure(503, "ServerBusy", 1)


@pytest.mark.parametrize("answer", [b"", b"--batchresponse_1--", _answer(INSERTED), _answer(INSERTED)[:60]])
def test_an_answer_that_is_not_whole_says_nothing(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"an answer to 2 operations has [01] parts"):
        etags_of(answer, [_operation("POST")] * 2)


def test_a_row_whose_etag_is_not_told_is_not_believed() -> None:
    with pytest.raises(ValueError, match="lacks an ETag"):
        etags_of(_answer(DELETED), [_operation("PUT")])


@pytest.mark.parametrize(
    "value",
    [2**31, -(2**31) - 1, 10**40, EntityProperty(2**63, EdmType.INT64), EntityProperty(None, EdmType.INT64), {}],
)
async def test_values_that_no_table_has_are_refused(value: Any) -> None:
    async with TableServiceClient(URL, credential=AzureSasCredential("sig=x")) as service:
        with pytest.raises(Refused, match="column a has a value of type"):
            await TableStore(service, "usage").submit([Write({"PartitionKey": "p", "RowKey": "r", "a": value})])
        with pytest.raises(Refused, match="one PartitionKey"):
            await TableStore(service, "usage").submit([Write({"PartitionKey": key, "RowKey": "r"}) for key in "pq"])


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (404, ERROR.format("ResourceNotFound", "0:Not there."), StoreBusy, "404 ResourceNotFound"),
        (409, ERROR.format("EntityAlreadyExists", "0:There."), StoreBusy, "409 EntityAlreadyExists"),
        (412, "", StoreBusy, "412 Precondition Failed"),
        (403, "<error><code>AuthenticationFailed</code></error>", StoreBusy, "403 AuthenticationFailed"),
        (413, ERROR.format("RequestBodyTooLarge", "Too large."), Refused, "413 RequestBodyTooLarge"),
        (400, "<html>", Refused, "400 Bad Request"),
        (202, "<html>", StoreBusy, "an answer to 1 operations has 0 parts"),
    ],
)
async def test_what_becomes_of_a_request_as_a_whole_says_nothing_of_a_row(
    status: int, body: str, expected: type[StoreError], words: str
) -> None:
    """A wrong account or a proxy answers 404 too: nobody would find that out of a conflict."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(status=status, text=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with (
        TestServer(app) as server,
        TableServiceClient(f"{server.make_url('/account')}?sig=x", retry_total=0) as service,
    ):
        with pytest.raises(expected, match=words) as raised:
            await TableStore(service, "usage").submit([Write({"PartitionKey": "p", "RowKey": "r"})])
        assert type(raised.value) is expected
    assert asked == ["/account/$batch?sig=x"]
