"""docs/alerts.md: its check of a signature is run, and its example is what is sent."""

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerts.payloads import payload
from alerts.signature import signed
from tests.alerts.conftest import SECRET
from tests.alerts.test_payloads import BUDGET

DOCS = Path(__file__).parents[2].joinpath("docs/alerts.md").read_text()
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
Check = Callable[[str, dict[str, str], bytes], bool]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def is_genuine() -> Check:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    check: Check = names["is_genuine"]
    return check


def test_the_check_takes_what_is_sent_and_nothing_else(is_genuine: Check) -> None:
    body, now = b'{"specversion": "1.0"}', int(time.time())
    headers = dict(signed([b"n" * 32, KEY], "m", now, body))
    assert is_genuine(SECRET, headers, body)
    assert not is_genuine(SECRET, headers, body + b" ")
    assert not is_genuine(SECRET, headers | {"webhook-id": "other"}, body)
    assert not is_genuine(SECRET, headers | {"webhook-timestamp": str(now + 1)}, body)
    assert not is_genuine("whsec_" + base64.b64encode(b"x" * 32).decode(), headers, body)
    assert not is_genuine(SECRET, dict(signed([KEY], "m", now - 3600, body)), body)


def test_the_check_has_ten_lines_beside_its_docstring() -> None:
    lines = [line for line in block("python").splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 10


def test_the_example_is_what_is_sent() -> None:
    assert json.loads(block("json")) == json.loads(
        payload(BUDGET, "cloudevents", "https://usage.example.net/api/alerts").body
    )
