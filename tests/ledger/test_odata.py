"""Rows as lines of JSON: what comes back from a line is what the table held, types included."""

import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from azure.data.tables import EdmType, EntityProperty
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.odata import dump_row, load_row
from ledger.store import Write
from local.azurite import Azurite
from tests.support.ledger import fresh_table

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=50)
VALUES = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: EntityProperty(number, EdmType.INT64)),
    st.floats(allow_nan=False),
    st.binary(max_size=50),
    st.uuids(),
)


@given(columns=st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True), VALUES, max_size=8))
def test_a_line_is_one_line_and_says_all(columns: dict[str, Any]) -> None:
    row = {"PartitionKey": "p", "RowKey": "r"} | columns
    line = dump_row(row)
    assert "\n" not in line
    back = load_row(line.encode())
    assert back == row
    assert {name: type(value) for name, value in back.items()} == {name: type(value) for name, value in row.items()}


@given(columns=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, max_size=5))
@settings(max_examples=15)
async def test_it_comes_back_through_a_table(azurite: Azurite, columns: dict[str, Any]) -> None:
    row = {"PartitionKey": "p", "RowKey": "r"} | columns | {"t": datetime(2026, 11, 20, 1, 2, 3, 456789, UTC)}
    async with fresh_table(azurite.connection_string) as store:
        await store.submit([Write(row)])
        [read] = [row async for row in store.typed("p", "", "~~")]
        written = load_row(dump_row(read.columns))
        await store.submit([Write(written | {"PartitionKey": "q"})])
        [again] = [row async for row in store.typed("q", "", "~~")]
        assert dict(again.columns) == dict(read.columns) | {"PartitionKey": "q"}


def test_whole_doubles_stay_doubles_and_infinity_is_valid_json() -> None:
    row: dict[str, Any] = {"PartitionKey": "p", "RowKey": "r", "a": 1.0, "b": math.inf, "c": uuid4()}
    assert '"b":"Infinity"' in dump_row(row)  # as the service writes it; JSON has no such number
    assert load_row(dump_row(row)) == row
    assert isinstance(load_row(dump_row(row))["c"], UUID)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        '{"PartitionKey":"p"}',
        '{"PartitionKey":"p","RowKey":"r","a":null}',
        '{"PartitionKey":"p","RowKey":"r","a":1.5}',
        '{"PartitionKey":"p","RowKey":"r","a":"x","a@odata.type":"Edm.Int64"}',
        '{"PartitionKey":"p","RowKey":"r","a":"x","a@odata.type":"Edm.Other"}',
    ],
)
def test_what_is_no_row_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_row(line)
