"""Single calls, from their rows: those of one app newest first, and one by its request_id wherever it is."""

import heapq
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Final

from ledger.directory import Directory
from ledger.join import judge, known_of
from ledger.pending import Pending
from ledger.rows import call_of, dimension_of, part_of, partition_key, partition_keys, utc_text
from ledger.store import Entity, Row, Store
from models.call import Call
from models.errors import QueryError
from models.keys import escape_key
from queries.buckets import HOUR
from queries.names import Names
from queries.parameters import CALL_FILTERS, CallsParameters
from queries.question import (
    Parameters,
    app_of,
    exact_range,
    filters_of,
    number,
    refuse_unknown,
)
from queries.read import Bounds, each
from queries.spans import RESOLUTION

DEFAULT_RANGE: Final = 24 * HOUR


@dataclass(frozen=True, slots=True)
class CallsQuery:
    """Calls of `app` with `start` <= time < `end`, at most `limit`, older than the one at `after` (its `timestamp_utc`
    and request_id)."""

    app: str
    start: datetime
    end: datetime
    filters: Mapping[str, frozenset[str]]
    limit: int
    after: Sequence[str] | None = None


def calls_query(parameters: Parameters, now: datetime, max_days: int) -> CallsQuery:
    """Read the parameters of `/api/calls`, but for `cursor` and `format`. Times are taken as they are, not widened."""
    refuse_unknown(parameters, CallsParameters.names())
    app = app_of(parameters)
    if app is None:
        raise QueryError("missing_parameter", "app is missing: calls are listed for one app", "app")
    start, end = exact_range(parameters, now, max_days, DEFAULT_RANGE)
    limit = number(parameters, "limit", CallsParameters.most("limit")) or CallsParameters.default("limit")
    return CallsQuery(app, start, end, filters_of(parameters, CALL_FILTERS), limit)


async def newest(
    usage: Store, directory: Directory, query: CallsQuery, bounds: Bounds, names: Names
) -> tuple[list[Call], bool]:
    """The page, newest first, and whether there are more.

    Keys hold the day but not the time, so a day's rows are all read to find the newest; of them no more than a page is
    held, and those outside the range are left out by the service. Raises QueryError for days with too many calls.
    """
    end = query.end
    after = None if query.after is None else (query.after[0], query.after[1])
    if after is not None:
        end = min(end, datetime.fromisoformat(after[0]) + RESOLUTION)
    found: list[tuple[str, str, Call]] = []
    rows = 0
    for first, last in _days_back(query.start, end):
        held: list[tuple[str, str, Call]] = []
        async for row in _of_day(usage, directory, query.app, first, last):
            rows += 1
            if rows > bounds.max_calls:
                raise QueryError(
                    "too_much_to_read",
                    f"this page needs the rows of more than {bounds.max_calls} calls: ask for a shorter range, down to "
                    "minutes",
                    "from",
                )
            call = names.named(call_of(row.columns))
            place = row.columns["timestamp_utc"], call.request_id
            if call.stage == "moved" or (after is not None and place >= after) or not _passes(call, query.filters):
                continue
            (heapq.heappush if len(held) <= query.limit else heapq.heappushpop)(held, (*place, call))
        found += sorted(held, key=lambda item: item[:2], reverse=True)
        if len(found) > query.limit:
            break
    return [call for _, _, call in found[: query.limit]], len(found) > query.limit


async def _of_day(usage: Store, directory: Directory, app: str, start: datetime, end: datetime) -> AsyncIterator[Row]:
    """The call rows of one app in a part of a day."""
    day = f"c|{start:%Y%m%d}"
    parts = (await directory.some_apps(f"{start:%Y%m}", [app])).get(app, 0)
    for partition in partition_keys(app, f"{start:%Y%m}", parts):
        async for row in usage.range(partition, day, f"{day}~", times=(utc_text(start), utc_text(end))):
            yield row


def _days_back(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        first = max(start, datetime.combine((end - RESOLUTION).date(), time(), UTC))
        yield first, end
        end = first


def _passes(call: Call, filters: Mapping[str, frozenset[str]]) -> bool:
    return all(dimension_of(call, name) in allowed for name, allowed in filters.items())


@dataclass(frozen=True, slots=True)
class FoundCall:
    """Where one request_id is known: its rows (several, where a call was moved, or senders number their calls alike),
    and what waits for another record in table `pending`."""

    rows: Sequence[Entity]
    waiting: Call | None
    counted_as: Call | None


async def find(
    usage: Store,
    directory: Directory,
    pending: Pending | None,
    request_id: str,
    app: str | None,
    start: datetime,
    end: datetime,
    *,
    allowed: Collection[str] | None,
    bounds: Bounds,
    concurrency: int,
) -> FoundCall:
    """Look for a call on every day of the range, one row a day and app that the caller may see (None: all apps). Raises
    QueryError where that is too many."""
    places = await _places(directory, app, start, end, allowed)
    if len(places) > bounds.max_requests:
        raise QueryError(
            "too_much_to_read",
            f"the call may be in {len(places)} places, the most is {bounds.max_requests}: give its app, or a shorter "
            "range",
            "app",
        )
    rows: list[Entity] = []

    async def look(place: tuple[str, int, datetime]) -> None:
        name, parts, day = place
        partition = partition_key(name, f"{day:%Y%m}", part_of(request_id, parts))
        row = await usage.get(partition, f"c|{day:%Y%m%d}|{escape_key(request_id)}")
        if row is not None:
            rows.append(row.columns)

    await each(places, look, concurrency)
    rows.sort(key=lambda columns: columns["timestamp_utc"], reverse=True)
    waiting, counted_as = (
        call if call is None or allowed is None or call.app in allowed else None
        for call in await _pending(pending, request_id)
    )
    return FoundCall(rows, waiting, counted_as)


async def _places(
    directory: Directory, app: str | None, start: datetime, end: datetime, allowed: Collection[str] | None
) -> list[tuple[str, int, datetime]]:
    apps: dict[str, dict[str, int]] = {}
    wanted = allowed if app is None else [app] if allowed is None or app in allowed else []
    places = []
    for first, _ in _days_back(start, end):
        month = f"{first:%Y%m}"
        if month not in apps:
            apps[month] = await (directory.apps(month) if wanted is None else directory.some_apps(month, wanted))
        places += [(name, parts, first) for name, parts in apps[month].items()]
    return places


async def _pending(pending: Pending | None, request_id: str) -> tuple[Call | None, Call | None]:
    """What waits of the call, and as what it is to be counted."""
    row = None if pending is None else await pending.find(request_id)
    if row is None:
        return None, None
    known = known_of(row.columns)
    verdict = judge(known)
    halves = list(known.halves.values())
    return (halves[0].call if halves and verdict.call is None else None), verdict.call
