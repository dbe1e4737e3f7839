"""A page of a long export, read in parts of its time: so a page costs what it holds, not what the whole range does."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from models.errors import QueryError
from queries.answer import Answer, Position, Sums
from queries.buckets import Granularity, bucket_starts
from queries.question import START, UsageQuery

Ask = Callable[[UsageQuery], Awaitable[Answer]]

_FIRST_BUCKETS: Final[Mapping[Granularity, int]] = {"hour": 24, "day": 7, "month": 1, "total": 1}
_TOO_MUCH: Final = ("too_many_rows", "too_much_to_read", "zone_not_aggregated", "dimension_not_aggregated")
"""What a shorter part of the range is not refused for."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows without totals, with the sums of each, and the position of the last one if others may follow: the next page
    can be empty."""

    query: UsageQuery
    rows: list[Mapping[str, Any]]
    sums: list[Sums]
    next_position: Position | None


async def export(query: UsageQuery, ask: Ask) -> Page:
    """A page of `query`. In the order of time with a limit, no more buckets are asked for than the page needs, and so
    few at once that none of the bounds of a question is reached while there is more than one. Raises QueryError."""
    whole = query.limit is None or query.order_by != START or query.descending or query.fill or query.compare
    if whole:
        answer = await ask(query)
        return Page(query, list(answer.rows), list(answer.sums), answer.next_position)
    return await _in_parts(query, query.limit or 0, ask)


async def _in_parts(query: UsageQuery, limit: int, ask: Ask) -> Page:
    starts = bucket_starts(query.start, query.end, query.granularity, query.zone)
    first = 0 if query.after is None else int(query.after[1])
    after = query.after and _moved(query.after, -first)
    buckets, most = _FIRST_BUCKETS[query.granularity], len(starts)
    rows, sums = list[Mapping[str, Any]](), list[Sums]()
    while first < len(starts) and len(rows) < limit:
        last = first + buckets
        start, end = max(query.start, starts[first]), starts[last] if last < len(starts) else query.end
        part = replace(query, start=start, end=end, after=after, limit=limit - len(rows))
        try:
            answer = await ask(part)
        except QueryError as error:
            if error.code not in _TOO_MUCH or buckets == 1:
                raise
            most = max(1, buckets // 2)  # a part that is refused has been read in vain
            buckets = max(1, buckets // 4)
            continue
        rows += answer.rows
        sums += answer.sums
        if answer.next_position is not None:
            return Page(query, rows, sums, _moved(answer.next_position, first))
        first, after, buckets = last, None, min(buckets * 2, most)
    if first >= len(starts):
        return Page(query, rows, sums, None)
    group = [rows[-1][name] for name in query.group_by]
    return Page(query, rows, sums, [str(first - 1), first - 1, group])  # filled by the very last row of a part


def _moved(position: Any, buckets: int) -> Position:
    """A position in a range, as it is in one that begins so many buckets earlier."""
    _, bucket, group = position
    return [str(bucket + buckets), bucket + buckets, group]
