"""Dead letters -> the hub again. A letter stays where it is until the collector has counted its record.

The event says which dead letter it is (collectors/redriven.py). So the record keeps its identity: it is counted once
however often it is sent, and one that fails again is the same dead letter with one more try.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from collectors.redriven import properties_of
from ledger.dead_letters import Wanted
from ledger.letter_rows import Key, key_of_id
from models.dead_letter import Kept, letter_id, parse_letter_id
from models.origin import Redriven
from services import Services

MAX_LETTERS: Final = 100
"""Of one call of `redrive`."""
SECONDS: Final = 30.0
"""After these, nothing more is sent."""
AT_ONCE: Final = 10
"""Letters read before they are sent together: 10 MB of payloads at most."""

Status = Literal["redriven", "not_redrivable", "not_found", "not_sent"]


class Redrive(NamedTuple):
    """What became of one dead letter. `obstacle` says why it cannot be sent: as models.dead_letter.Kept does, or
    `too_large` for the hub."""

    id: str
    status: Status
    obstacle: str | None = None


class Sweep(NamedTuple):
    """What became of some letters, and where to go on: None at the end."""

    outcomes: list[Redrive]
    next: Key | None


async def redrive_wanted(
    wanted: Wanted, services: Services, limit: int = MAX_LETTERS, after: Key | None = None
) -> Sweep:
    """Redrive letters that are asked for by their reason or time, at most `limit`. Raises as `redrive` does."""
    page = await services.dead_letters.page(wanted, limit, after)
    ids = [letter_id(kept.letter.origin, kept.letter.position) for kept in page.letters]
    outcomes = await redrive(ids, services)
    return Sweep(outcomes, page.next if len(outcomes) == len(ids) else key_of_id(ids[len(outcomes) - 1]))


async def redrive(letters: Sequence[str], services: Services) -> list[Redrive]:
    """Send the dead letters of these ids to the hub of usage events, and say of each what became of it.

    What is returned is shorter than `letters` if the time was over: send the others with another call. Raises
    ValueError for what is no id, SettingsError where nothing can be sent, StoreError if the tables do not answer.
    """
    for each in letters:
        parse_letter_id(each)
    sender = services.sender()
    started = time.monotonic()
    outcomes: list[Redrive] = []
    for start in range(0, len(letters), AT_ONCE):
        if outcomes and time.monotonic() - started > SECONDS:
            break
        ids = letters[start : start + AT_ONCE]
        found = await asyncio.gather(*(services.dead_letters.get(each) for each in ids))
        ready = {each: kept for each, kept in zip(ids, found, strict=True) if kept and kept.obstacle is None}
        events = [(_payload(kept), None) for kept in ready.values()]
        sent = dict(zip(ready, await sender.send(events, [_properties(kept) for kept in ready.values()]), strict=True))
        outcomes += [_outcome(each, kept, sent) for each, kept in zip(ids, found, strict=True)]
    return outcomes


def _payload(kept: Kept) -> bytes:
    return kept.letter.payload.text if kept.letter.payload else b""


def _properties(kept: Kept) -> dict[str, str]:
    letter = kept.letter
    whole = letter.payload is not None and letter.payload.whole
    return properties_of(Redriven(letter.origin, letter.position, kept.tries + 1, letter.call_id, letter.sent, whole))


def _outcome(letter: str, kept: Kept | None, sent: Mapping[str, str]) -> Redrive:
    if kept is None:
        return Redrive(letter, "not_found")
    match sent.get(letter):
        case "sent":
            return Redrive(letter, "redriven")
        case "not_sent":
            return Redrive(letter, "not_sent")
        case "too_large":
            return Redrive(letter, "not_redrivable", "too_large")
        case _:
            return Redrive(letter, "not_redrivable", kept.obstacle)
