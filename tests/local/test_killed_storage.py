"""Azurite writes its data out late. Killed, it forgets counted calls; the next run of the stack counts them again."""

import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from azure.eventhub import EventData, EventHubProducerClient

from local.parts import USAGE_HUB, Stack, running_stack
from local.ports import find_free
from local.progress import Display, make_console
from local.stack_settings import StackSettings
from tests.support.events import usage_event

CALLS = 60


def _totals(settings: StackSettings) -> dict[str, Any]:
    with urlopen(f"{settings.base_url}/api/usage?granularity=total&group_by=none") as answer:
        totals: dict[str, Any] = json.load(answer)["totals"]
    return totals


def _send(stack: Stack) -> None:
    with EventHubProducerClient.from_connection_string(stack.hub, eventhub_name=USAGE_HUB) as producer:
        now = datetime.now(UTC).isoformat()
        producer.send_batch([EventData(json.dumps(usage_event(timestamp=now))) for _ in range(CALLS)])


def _wait_for(settings: StackSettings, calls: int) -> dict[str, Any]:
    deadline = time.monotonic() + 45
    while (totals := _totals(settings))["calls"] != calls and time.monotonic() < deadline:
        time.sleep(0.2)
    return totals


def test_calls_that_a_killed_azurite_forgot_are_counted_at_the_next_start(tmp_path: Path) -> None:
    display = Display(make_console())
    http, amqp, table, blob = find_free(4)
    settings = StackSettings(http, amqp, table, blob, tmp_path, sample=False)
    with running_stack(settings, display) as stack:
        _send(stack)
        assert _wait_for(settings, CALLS)["total_tokens"] == 15 * CALLS
    assert (tmp_path / "azurite-stopped-in-order").exists()
    with running_stack(settings, display) as stack:
        assert _totals(settings)["calls"] == CALLS  # kept, since it was stopped in order
        _send(stack)
        _wait_for(settings, 2 * CALLS)
        azurite = stack._parts[0].pid
        assert azurite is not None
        os.kill(azurite, signal.SIGKILL)
    assert not (tmp_path / "azurite-stopped-in-order").exists()
    with running_stack(settings, display):
        totals = _wait_for(settings, 2 * CALLS)
        time.sleep(1)  # time for a call too many
        assert (totals["calls"], _totals(settings)["total_tokens"]) == (2 * CALLS, 15 * 2 * CALLS)
