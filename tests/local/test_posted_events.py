"""From a POST to the answer of a query, on the local stack: HTTP, hub, trigger, tables, HTTP."""

import json
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from local.parts import ROOT, running_stack
from local.ports import find_free
from local.progress import Display, make_console
from local.stack_settings import StackSettings
from tests.support.events import usage_event


def _answered(request: Request | str) -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def _pasted(document: str, base_url: str) -> dict[str, int]:
    """The counts that the document's curl line is answered with."""
    [command] = re.findall(
        r"^    curl [^\n]*/api/events .*?^$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL
    )
    command = command.replace("http://127.0.0.1:7071", base_url)
    answer = json.loads(subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=30).stdout)
    return {name: answer[name] for name in ("accepted", "rejected", "not_sent")}


def test_calls_that_are_posted_are_counted_once(tmp_path: Path) -> None:
    http, amqp, table, blob = find_free(4)
    settings = StackSettings(http, amqp, table, blob, tmp_path, sample=False)
    now = datetime.now(UTC).isoformat()
    calls = [usage_event(timestamp=now, app_id=f"app-{number % 3}") for number in range(30)]
    wrapped = {
        "specversion": "1.0",
        "type": "llm.call",
        "source": "/acme",
        "id": "1",
        "data": usage_event(timestamp=now),
    }

    def post(body: object) -> tuple[int, dict[str, Any]]:
        return _answered(Request(f"{settings.base_url}/api/events", json.dumps(body).encode()))

    with running_stack(settings, Display(make_console())):
        assert post([*calls, wrapped, {"no": "event"}])[0] == 207
        status, answer = post([*calls[:10], wrapped])
        assert (status, answer["accepted"], answer["rejected"]) == (202, 11, 0)
        status, answer = post({"no": "event"})
        assert (status, answer["error"]["code"]) == (400, "unknown_dialect")
        assert _pasted("docs/api.md", settings.base_url) == {"accepted": 1, "rejected": 1, "not_sent": 0}
        assert _pasted("docs/events.md", settings.base_url) == {"accepted": 1, "rejected": 0, "not_sent": 0}

        asked = f"{settings.base_url}/api/usage?granularity=total&group_by=app"
        deadline = time.monotonic() + 45
        while (totals := _answered(asked)[1]["totals"])["calls"] < 33 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert (totals["calls"], totals["total_tokens"]) == (33, 15 * 31 + 2 * 42)
