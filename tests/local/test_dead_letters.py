"""A bad event on the local stack: set aside, looked at and sent again over HTTP, by the host and its trigger."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from azure.eventhub import EventData, EventHubProducerClient

from local.eventhubs.server import connection_string
from local.parts import running_stack
from local.ports import find_free
from local.progress import Display, make_console
from local.stack_settings import StackSettings
from tests.support.events import usage_event


def test_a_bad_event_is_seen_and_redriven_over_http(tmp_path: Path) -> None:
    http, amqp, table, blob = find_free(4)
    settings = StackSettings(http, amqp, table, blob, tmp_path, sample=False)

    def asked(path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{settings.base_url}/api/{path}", data), timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def letters(*, tries: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found: list[dict[str, Any]] = asked("dead-letters?reason=invalid_field")["dead_letters"]
            if len(found) == 1 and found[0]["tries"] == tries:
                return found
            time.sleep(0.1)
        raise AssertionError(f"no dead letter with {tries} tries: {found}")

    now = datetime.now(UTC).isoformat()
    bad = usage_event(request_id="bad", timestamp=now, status=5000, prompt="the quick brown fox")
    with running_stack(settings, Display(make_console())):
        with EventHubProducerClient.from_connection_string(
            connection_string(amqp), eventhub_name="usage-events"
        ) as sender:
            sender.send_event(EventData(json.dumps([usage_event(timestamp=now), bad])))
        [letter] = letters(tries=0)
        assert (letter["position"], letter["field"], letter["redrivable"]) == (1, "status", True)
        one = asked(f"dead-letters/{quote(letter['id'])}")
        assert one["payload"] == bad | {"prompt": "…(19 characters)"}
        for tries in (1, 2):
            assert asked("dead-letters/redrive", {"ids": [letter["id"]]})["redriven"] == 1
            [again] = letters(tries=tries)
            assert (again["id"], again["times_seen"]) == (letter["id"], 1 + tries)
        assert asked("usage?granularity=total")["totals"]["calls"] == 1
