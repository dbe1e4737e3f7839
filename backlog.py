"""How far counting is behind: what the hubs hold against what was counted, the calls that wait for another half, and
what is usually sent by now and was not.

look     asks the hubs and the tables, for whoever wants to know
recent   the same, at most every ten seconds
watch    the same from the timer, as metrics; it notes what the hubs have taken in
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from hub_state import HubUnavailable, PartitionState
from ledger.progress import Reached
from ledger.schema import SchemaVersions
from ledger.store import StoreError
from ledger.traffic import Totals, overdue
from ledger.waiting import oldest_waiting, take_away_done
from memo import Memo
from models.errors import SettingsError, StoreUnavailable
from services import Services, now

log = logging.getLogger("usage_collector.backlog")
T = TypeVar("T")

TABLES: Final = "tables"
SECONDS: Final = 8.0
"""For all answers: less than a scrape or a probe commonly waits."""
RECENT_SECONDS: Final = 10.0


class PartitionLag(NamedTuple):
    """`events` are not counted yet; the oldest of them was enqueued at most `seconds` ago (None if no event of the
    partition was ever counted, so that nothing is known of it)."""

    hub: str
    partition: str
    events: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """`parts` are those that were asked, with True for those that answered. `lags` has the partitions of the hubs that
    answered, and none if the tables did not. `oldest_pending` in seconds, None if no call waits. `schema` is None
    also if no version is noted. `totals` are the events that each hub that answered has ever taken in, `overdue` those
    that are usual in the hours since its last one, of none if the tables did not answer."""

    parts: Mapping[str, bool]
    lags: Sequence[PartitionLag]
    oldest_pending: float | None
    schema: SchemaVersions | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    overdue: Mapping[str, int] = field(default_factory=dict)


def hubs_of(services: Services) -> dict[str, str]:
    """The hubs that are counted, by what they are for."""
    named = {"usage_events": services.settings.usage_events_hub, "gateway_logs": services.settings.gateway_logs_hub}
    return {role: hub for role, hub in named.items() if hub}


async def look(services: Services) -> Backlog:
    """Ask all parts at once. Never raises for one that does not answer: the log says why."""
    hubs = hubs_of(services)

    async def partitions(hub: str) -> list[PartitionState]:
        return await services.hub_state(hub).partitions()

    tables, states = await asyncio.gather(
        _answer(TABLES, _tables(services)),
        asyncio.gather(*(_answer(f"hub {hub}", partitions(hub)) for hub in hubs.values())),
    )
    parts = {TABLES: tables is not None}
    parts |= {f"{role}_hub": found is not None for role, found in zip(hubs, states, strict=True)}
    totals = {hub: _total(found) for hub, found in zip(hubs.values(), states, strict=True) if found is not None}
    if tables is None:
        return Backlog(parts, [], None, totals=totals)
    time = now()
    lags = [
        lag_of(hub, state, tables.reached.get((hub, state.partition)), time)
        for hub, found in zip(hubs.values(), states, strict=True)
        for state in found or ()
    ]
    missing = {hub: overdue(tables.traffic.get(hub, {}), total, time) for hub, total in totals.items()}
    return Backlog(parts, lags, _age(tables.oldest, time) if tables.oldest else None, tables.schema, totals, missing)


def _total(states: Sequence[PartitionState]) -> int:
    """Sequence numbers count from 0."""
    return sum(max(state.last + 1, 0) for state in states)


class _Tables(NamedTuple):
    """What the tables tell: how far each partition is counted, when the call came that waits longest, which versions
    their rows have, and what each hub had taken in by which hour."""

    reached: Mapping[tuple[str, str], Reached]
    oldest: datetime | None
    schema: SchemaVersions | None
    traffic: Mapping[str, Totals]


async def _tables(services: Services) -> _Tables:
    return _Tables(
        *await asyncio.gather(
            services.progress.reached(),
            oldest_waiting(services.pending),
            services.schema.found(),
            services.traffic.totals(),
        )
    )


async def _answer(part: str, asked: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(SECONDS):
            return await asked
    except (StoreError, StoreUnavailable, HubUnavailable, SettingsError) as fault:
        log.warning("%s: %s", part, fault)
    except TimeoutError:
        log.warning("%s: no answer in %g s", part, SECONDS)
    return None


def lag_of(hub: str, state: PartitionState, reached: Reached | None, time: datetime) -> PartitionLag:
    """How far behind a partition is. Sequence numbers start again in a hub that is made anew, so what is newer is told
    by the time: a hub whose numbers lie below what was counted holds nothing that was."""
    if state.is_empty or (reached is not None and reached.enqueued_time >= state.last_enqueued_time):
        return PartitionLag(hub, state.partition, 0, 0.0)
    held = state.last - state.first + 1
    if reached is None:
        return PartitionLag(hub, state.partition, held, None)
    after = state.last - reached.sequence_number
    events = min(after, held) if after > 0 else held
    return PartitionLag(hub, state.partition, events, _age(reached.enqueued_time, time))


def _age(of: datetime, time: datetime) -> float:
    """In seconds; clocks differ, and nothing is of the future."""
    return max((time - of).total_seconds(), 0.0)


_recent: WeakKeyDictionary[Services, Memo[Backlog]] = WeakKeyDictionary()


async def recent(services: Services) -> Backlog:
    """What `look` found in the last seconds: health is asked by anyone, so its work must be bounded."""
    if services not in _recent:
        _recent[services] = Memo(RECENT_SECONDS)
    return await _recent[services].get(lambda: look(services))


async def _note(services: Services, totals: Mapping[str, int]) -> None:
    time = now()
    await asyncio.gather(*(services.traffic.note(hub, time, total) for hub, total in totals.items()))


async def watch(services: Services) -> None:
    """Record the backlog as metrics, and note what the hubs have taken in. Never raises."""
    try:
        await _answer(TABLES, take_away_done(services.pending))
        backlog = await look(services)
        services.telemetry.looked(backlog.parts)
        for lag in backlog.lags:
            services.telemetry.lag(*lag)
        for hub, events in backlog.overdue.items():
            services.telemetry.overdue(hub, events)
        if backlog.parts[TABLES]:
            services.telemetry.oldest_pending(backlog.oldest_pending or 0.0)
            await _answer(TABLES, _note(services, backlog.totals))
    except Exception:
        log.exception("the backlog is not known")
