"""From when a hub must be replayed so that an export is whole: what was not counted when it began.

Events are enqueued before they are counted, so that the time at which the export began says nothing: the oldest event
that is not counted yet may be hours older.
"""

import sys
from datetime import datetime, timedelta
from typing import Final

from backlog import hubs_of
from hub_state import HubUnavailable, PartitionState
from ledger.progress import Reached
from ledger.retry import insist
from ledger.rows import utc_text
from models.errors import SettingsError
from services import Services

CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""The hub's and this machine's, at most."""


async def replay_from(found: Services, begun: datetime) -> dict[str, str | None]:
    """For each hub the time (RFC 3339) from which an export that begins now lacks events; None: from the hub's
    beginning, which is also said where the hub does not answer. `begun` is before this is asked. Raises
    StoreUnavailable."""
    return {hub: await _of_hub(found, hub, begun) for hub in hubs_of(found).values()}


async def _of_hub(found: Services, hub: str, begun: datetime) -> str | None:
    try:
        states = await found.hub_state(hub).partitions()
    except (HubUnavailable, SettingsError) as fault:
        print(f"hub {hub} does not answer, so all of it is to be replayed after an import: {fault}", file=sys.stderr)
        return None
    reached = await insist(found.progress.reached)
    times = [of_partition(state, reached.get((hub, state.partition)), begun) for state in states]
    known = [time for time in times if time is not None]
    return utc_text(min(known)) if known and len(known) == len(times) else None


def of_partition(state: PartitionState, reached: Reached | None, begun: datetime) -> datetime | None:
    """From when on a partition may have events that are not counted, None: any. Where all are counted, those are meant
    that come after `begun`; else the last one that was counted is the first to be read again, since others can have
    its time."""
    if state.is_empty or (reached is not None and reached >= (state.last_enqueued_time, state.last)):
        return begun - CLOCKS_DIFFER
    return reached.enqueued_time if reached is not None else None
