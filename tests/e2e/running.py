"""The running stack, as a gateway and a user of the API meet it: events in, totals out."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from uuid import uuid4

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient
from azure.eventhub import EventData, EventHubProducerClient

import services as app_services
from ledger.pending import TABLE, call_key
from local.parts import GATEWAY_LOGS_HUB, USAGE_HUB, Stack
from models.call import Call
from services import Services
from tests.support.events import usage_event

TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_prompt_tokens")
COUNTED = ("calls", "usage_reported", "usage_missing", *TOKENS)
PATIENCE_SECONDS = 30.0
NOW = datetime.now(UTC)
MARKS = "read-until-here"
"""The app of the calls that tell how far the hubs have been read."""


class Cell(NamedTuple):
    app: str
    model: str | None


Totals = Mapping[Cell, Counter[str]]


def totals_of(calls: Iterable[Call]) -> Totals:
    """What these calls should come to."""
    totals: dict[Cell, Counter[str]] = defaultdict(Counter)
    for call in calls:
        used = {name: getattr(call.usage, name) or 0 for name in TOKENS}
        totals[Cell(call.app, call.model)].update({"calls": 1, f"usage_{call.usage_state}": 1} | used)
    return without_zeros(totals)


def without_zeros(totals: Totals) -> Totals:
    kept = {cell: Counter({name: amount for name, amount in each.items() if amount}) for cell, each in totals.items()}
    return {cell: each for cell, each in kept.items() if each}


class Running:
    """A context manager around the connections to `stack`."""

    def __init__(self, stack: Stack, base_url: str) -> None:
        self._stack = stack
        self.base_url = base_url
        self._connections = ExitStack()
        self._producers: dict[str, EventHubProducerClient] = {}
        self.storage = stack.storage

    def __enter__(self) -> Self:
        for hub in (USAGE_HUB, GATEWAY_LOGS_HUB):
            producer = EventHubProducerClient.from_connection_string(self._stack.hub, eventhub_name=hub)
            self._producers[hub] = self._connections.enter_context(producer)
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def send(self, *records: object, hub: str = USAGE_HUB, key: str | None = None) -> None:
        """Each record as an event: bytes as they are, anything else as JSON."""
        bodies = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
        self._producers[hub].send_batch([EventData(body) for body in bodies], partition_key=key)

    def send_logs(self, *records: Mapping[str, Any], key: str | None = None) -> None:
        """The records in one message, as Azure Monitor sends them."""
        self.send({"records": list(records)}, hub=GATEWAY_LOGS_HUB, key=key)

    def post(self, body: object) -> tuple[int, dict[str, Any]]:
        with urlopen(Request(f"{self.base_url}/api/events", json.dumps(body).encode()), timeout=30) as response:
            return response.status, json.load(response)

    def usage(self, *apps: str) -> Totals:
        """What the stack has counted, for these apps or for all, as `/api/usage` tells it."""
        times = {"from": NOW - timedelta(days=3), "to": NOW + timedelta(days=1)}
        query = [(name, time.strftime("%Y-%m-%dT%H:%M:%SZ")) for name, time in times.items()]
        query += [("granularity", "total"), ("group_by", "app,model"), *(("app", app) for app in apps)]
        with urlopen(f"{self.base_url}/api/usage?{urlencode(query)}", timeout=30) as response:
            rows = json.load(response)["rows"]
        return without_zeros({Cell(row["app"], row["model"]): Counter({n: row[n] for n in COUNTED}) for row in rows})

    def of(self, app: str) -> dict[str | None, Counter[str]]:
        """What is counted for an app, by model."""
        return {cell.model: each for cell, each in self.usage(app).items()}

    def wait_for(self, app: str, expected: Mapping[str | None, Mapping[str, int]]) -> None:
        """Until what is counted for the app is exactly this."""
        self.eventually(lambda: self.of(app) == expected)
        assert self.of(app) == expected

    def wait_until_pending(self, call: str) -> None:
        """Until a half of the call has been read, and waits for another."""
        with TableClient.from_connection_string(self.storage, TABLE) as table:

            def rows() -> list[object]:
                try:
                    return list(table.query_entities(f"RowKey eq '{call_key(call)}'"))
                except ResourceNotFoundError:  # not even the table
                    return []

            self.eventually(rows)
            assert rows()

    def wait_until_read(self, *hubs: str, key: str) -> None:
        """Until everything has been read that was sent with `key` before: the events of one key keep their order."""
        marks = {hub: f"{hub}-{uuid4()}" for hub in hubs}
        for hub, mark in marks.items():
            self.send(usage_event(app_id=MARKS, response_model=mark, timestamp=NOW.isoformat()), hub=hub, key=key)
        self.eventually(lambda: self.of(MARKS).keys() >= set(marks.values()))
        assert self.of(MARKS).keys() >= set(marks.values())

    def eventually(self, condition: Callable[[], object]) -> None:
        """Until the condition holds, or for as long as anyone would wait for it; then the caller's own check fails."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition() and time.monotonic() < deadline:
            self._stack.check()
            time.sleep(0.1)


@asynccontextmanager
async def services_beside(stack: Running) -> AsyncIterator[Services]:
    """The app's services on the stack's tables, as another instance has them."""
    found = app_services.build(
        {"UsageStorage": stack.storage, "USAGE_EVENTS_HUB": USAGE_HUB, "GATEWAY_LOGS_HUB": GATEWAY_LOGS_HUB}
    )
    try:
        yield found
    finally:
        await found.close()
