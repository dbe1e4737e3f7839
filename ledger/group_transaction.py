"""An entity group transaction as one request: its body is written here, and the answer's parts are read. Pure.

azure-data-tables can do both, but leaves them to azure-core, which makes and reads every part with Python's email
package: that took three times as long as Azurite took to store it (docs/performance.md). And it names the type of each
text, which doubles the body. The SDK's own client still sends it (ledger/store.py).

Sources: learn.microsoft.com, "Performing entity group transactions" (parts, change set), "Insert Entity", "Update
Entity", "Insert Or Merge Entity", "Delete Entity" (method, path, If-Match, Prefer), "Payload format for Table service
operations" (types), "Table service error codes"; azure-data-tables 12.7: a part that fails is the only one of its
answer, and its message begins with its index.
"""

import json
import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from ledger.odata import Entity, dump_row


class Operation(NamedTuple):
    """POST inserts, PUT replaces, PATCH merges; without `etag` these two insert a row that is not there, with it they
    and DELETE go only for the row that has it."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"]
    entity: Entity
    etag: str | None = None


class Failure(NamedTuple):
    """Why nothing was written. `code` is of "Table service error codes", empty if there was none; `operation`
    says which, 0 where the service does not."""

    status: int
    code: str
    operation: int


def request_body(operations: Sequence[Operation], table_url: str) -> tuple[str, bytes]:
    """The Content-Type and the content of a POST to `$batch`. `table_url` is `https://{account}/{table}`.

    Raises ValueError for a value that no table has, and for more than one partition."""
    if len({operation.entity["PartitionKey"] for operation in operations}) != 1:
        raise ValueError("the rows of a transaction have one PartitionKey")
    batch, change_set = f"batch_{uuid4()}", f"changeset_{uuid4()}"
    parts = [f"--{batch}\r\nContent-Type: multipart/mixed; boundary={change_set}\r\n\r\n"]
    start = f"--{change_set}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    for operation in operations:
        parts += (start, *_request(operation, table_url))
    parts.append(f"--{change_set}--\r\n--{batch}--\r\n")
    return f"multipart/mixed; boundary={batch}", "".join(parts).encode("ascii")


def _request(operation: Operation, table_url: str) -> tuple[str, ...]:
    method, entity, etag = operation
    if method == "POST":
        # Unasked, the service sends every inserted row back ("Insert Entity", Prefer); the ETag comes either way.
        return f"POST {table_url} HTTP/1.1\r\nPrefer: return-no-content\r\n", *_content(entity)
    condition = f"If-Match: {etag}\r\n" if etag is not None else ""
    line = f"{method} {table_url}({_key(entity, 'PartitionKey')},{_key(entity, 'RowKey')}) HTTP/1.1\r\n{condition}"
    if method == "DELETE":
        return line, f"{_ACCEPT}\r\n"
    return line, *_content(entity)


def _content(entity: Entity) -> tuple[str, ...]:
    row = dump_row(entity)
    return f"{_ACCEPT}Content-Type: application/json\r\nContent-Length: {len(row)}\r\n\r\n", row, "\r\n"


def _key(entity: Entity, name: str) -> str:
    return f"{name}='{quote(entity[name].replace(chr(39), chr(39) * 2), safe='')}'"


_ACCEPT: Final = "Accept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n"


def etags_of(answer: bytes, operations: Sequence[Operation]) -> list[str] | Failure:
    """The ETags that the answer to a request of `operations` has for them, empty for deletions.

    Raises ValueError if it is not such an answer: then nobody knows whether anything was written."""
    etags: list[str] = []
    for part in _PART.finditer(answer):
        status, headers = int(part[1]), part[2]
        if not 200 <= status < 300:
            return _failure(status, headers, answer[part.end() :])
        etag = _ETAG.search(headers)
        etags.append(etag[1].decode("ascii") if etag else "")
    if len(etags) != len(operations):
        raise ValueError(f"an answer to {len(operations)} operations has {len(etags)} parts")
    # A row whose ETag is not known would be written without a condition the next time.
    if any(not etag for etag, (method, *_) in zip(etags, operations, strict=True) if method != "DELETE"):
        raise ValueError("an answer lacks an ETag")
    return etags


_PART: Final = re.compile(rb"^HTTP/1\.1 (\d{3})[^\r\n]*\r?\n((?:[^\r\n]+\r?\n)*)", re.MULTILINE)
_ETAG: Final = re.compile(rb"^etag:[ \t]*([^\r\n]+?)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)


def _failure(status: int, headers: bytes, rest: bytes) -> Failure:
    code, message = error_of(rest)
    named = _CODE_HEADER.search(headers)
    index = _INDEX.match(message)
    return Failure(status, code or (named[1].decode("ascii") if named else ""), int(index[1]) if index else 0)


_CODE_HEADER: Final = re.compile(rb"^x-ms-error-code:[ \t]*(\w+)", re.MULTILINE | re.IGNORECASE)
_INDEX: Final = re.compile(r"(\d+):")


def error_of(body: bytes) -> tuple[str, str]:
    """Code and message with which the service says what is wrong: in JSON, which more may follow, or in XML. Empty
    where there are none."""
    try:
        text = body.decode("utf-8")
        document, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
        error = document["odata.error"]
        return str(error["code"]), str(error["message"]["value"])
    except (ValueError, KeyError, TypeError):
        code, message = _XML_CODE.search(body), _XML_MESSAGE.search(body)
        return code[1].decode() if code else "", message[1].decode("utf-8", "replace") if message else ""


_XML_CODE: Final = re.compile(rb"<(?:m:)?code>(\w+)<", re.IGNORECASE)
_XML_MESSAGE: Final = re.compile(rb"<(?:m:)?message[^>]*>([^<]*)<", re.IGNORECASE)
