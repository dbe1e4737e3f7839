"""What became of a batch, in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of every record of a batch: received = counted + duplicate + joined + pending + dead_lettered.

    `joined` records told another part of a call than the one that is counted; `pending` ones wait for such a part.
    `corrected` calls were counted before without their usage. `ignored` records are knowingly not about a call, and not
    among the received. `transactions` came through, writing `entities` rows; `requests` were sent, of which `conflicts`
    met a row that was not as expected and `retries` a passing fault. `lag_seconds` is the age of the batch's newest
    event, `milliseconds` the time the batch took.
    """

    hub: str
    partition: str
    first_sequence_number: int
    last_sequence_number: int
    events: int
    received: int
    counted: int
    duplicate: int
    joined: int
    pending: int
    dead_lettered: int
    corrected: int
    ignored: int
    transactions: int
    entities: int
    requests: int
    conflicts: int
    retries: int
    milliseconds: int
    lag_seconds: float
