"""Take an app, or a user, out of what is kept beside the calls: dead letters, and the halves of calls that meet."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from ledger.forget import Whom
from ledger.join import Known, is_waiting, known_of
from ledger.letter_rows import deletes_of, is_part, kept_of
from ledger.odata import dump_row
from ledger.pending import BUCKETS, WRITTEN_BY, call_row
from ledger.retry import insist
from ledger.store import Row, RowChanged, Store, Write
from models.call import Call
from models.half import Half
from models.keys import unescape_key


async def forget_letters(store: Store, whom: Whom, write: bool) -> int:
    """Delete the dead letters whose record names it. Returns how many there are. Raises StoreError,
    StoreUnavailable."""
    found = 0
    name = re.compile(rf"(?<![\w.-])(?:{re.escape(whom.text)}|{re.escape(dump_row({'n': whom.text})[6:-2])})(?![\w.-])")
    async for row, parts in _letters(store):
        payload = kept_of(row.columns, [part.columns for part in parts]).letter.payload
        if payload is None or not name.search(payload.text.decode(errors="replace")):
            continue
        found += 1
        if write:
            try:
                await insist(partial(store.submit, deletes_of(row)))
            except RowChanged:  # seen once more, or our own answer was lost: the next run looks again
                continue
    return found


async def _letters(store: Store) -> AsyncIterator[tuple[Row, list[Row]]]:
    main: Row | None = None
    parts: list[Row] = []
    async for row in store.scan("0", "~"):
        if is_part(row.columns["RowKey"]):
            parts.append(row)
            continue
        if main is not None:
            yield main, parts
        main, parts = row, []
    if main is not None:
        yield main, parts


async def forget_halves(store: Store, whom: Whom, write: bool, ahead: Callable[[Call], Awaitable[bool]]) -> int:
    """Take it out of the halves of calls: of an app everything but where and what was counted, of a user its name and
    address. The rows stay until their retention ends, since late halves ask them whether their call was counted.
    `ahead` is told each call of an app that still waits, so that what comes later does not bring the app back, and says
    whether that was new. Returns how many there are. Raises StoreError, StoreUnavailable."""
    found = 0
    for bucket in BUCKETS:
        async for row in store.range(bucket, "r|", "r|~"):
            before = known_of(row.columns)
            after = _without(before, whom)
            # Before its half is emptied, so that after a fault the next run finds it again.
            waiting = [half.call for half in before.halves.values() if half.call.app == whom.app and is_waiting(before)]
            new = [await ahead(call) for call in waiting]
            if after == before:
                found += any(new)
                continue
            found += 1
            if write:
                call = unescape_key(row.columns["RowKey"].partition("|")[2])
                entity = call_row(bucket, call, after, row.columns[WRITTEN_BY])
                try:
                    await insist(partial(store.submit, [Write(entity, row.etag)]))
                except RowChanged:  # another half came, or our own answer was lost: the next run looks again
                    continue
    return found


def _without(known: Known, whom: Whom) -> Known:
    return known._replace(halves={told: _half_without(half, whom) for told, half in known.halves.items()})


def _half_without(half: Half, whom: Whom) -> Half:
    call = half.call
    if whom.app is None:
        return half._replace(call=call._replace(user=None, client_ip=None)) if call.user == whom.user else half
    return half._replace(call=call._replace(**_NOT_KEPT)) if call.app == whom.app else half


_NOT_KEPT: dict[str, Any] = dict.fromkeys(
    (
        *("api", "product", "subscription", "subscription_name", "user", "backend", "gateway", "region", "client_ip"),
        *("operation", "error_source", "error_reason"),
    )
)
