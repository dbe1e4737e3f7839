"""Every dialect: its fixtures through the hub, and the totals of the API are what they say."""

import json
import re
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from collectors.identity import call_id, is_made_up
from local.parts import GATEWAY_LOGS_HUB, USAGE_HUB
from models.call import Call
from tests.collectors.dialects.fixtures import Case, cases
from tests.collectors.reading import collected, told
from tests.e2e.running import MARKS, NOW, Running, Totals, totals_of, without_zeros
from tests.support.events import usage_event

Record = dict[str, Any]


def just_now(record: Record) -> Record:
    """The record with the times of fixtures, which are those of one afternoon, moved to now."""
    text = json.dumps(record)
    text = re.sub(r"2026-11-20T\d\d:\d\d:\d\d", f"{NOW:%Y-%m-%dT%H:%M:%S}", text)
    moved: Record = json.loads(re.sub(r"11/20/2026 11:59:58 AM", f"{NOW:%m/%d/%Y %I:%M:%S %p}", text))
    return moved


def with_an_id(record: Record, call: Call, new: str) -> Record:
    """The record as one of the call `new`, if it says which call it is. Fixtures share their ids."""
    if is_made_up(call.request_id):
        return record
    text = json.dumps(record)
    properties = record.get("properties")
    for value in (*record.values(), *(properties.values() if isinstance(properties, dict) else ())):
        if isinstance(value, str) and call_id(value) == call.request_id:
            text = text.replace(f'"{value}"', f'"{new}"').replace(f'\\"{value}\\"', f'\\"{new}\\"')
    changed: Record = json.loads(text)
    return changed


def completed(case: Case, call: Call, new: str, app: str) -> tuple[Record, Call]:
    """What completes a half, and the call that both are."""
    now = NOW.isoformat()
    if case.module == "gateway_llm_log":
        waiting = {"usage": None, "response_model": None, "usage_source": "gateway_log"}
        return usage_event(app_id=app, request_id=new, timestamp=now, **waiting), call._replace(app=app)
    counts = {"promptTokens": 10, "completionTokens": 5, "totalTokens": 15, "modelName": "m-1"}
    row = {"category": "GatewayLlmLogs", "correlationId": new, "time": now, "properties": counts}
    used = told(collected(row))[0].usage
    return row, call._replace(model="m-1", usage=used, usage_state="reported")


def grown(stack: Running, before: Totals, *apps: str) -> Totals:
    """What was counted since, but for the marks that everything was read."""
    now = {cell: each for cell, each in stack.usage(*apps).items() if cell.app != MARKS}
    nothing: Counter[str] = Counter()
    return without_zeros(
        {cell: Counter({n: each[n] - before.get(cell, nothing)[n] for n in each}) for cell, each in now.items()}
    )


@pytest.mark.parametrize("module", sorted({case.module for case in cases()}))
def test_fixtures_of_a_dialect_come_to_the_totals_that_they_say(stack: Running, module: str) -> None:
    """The bad ones among them, and those that are ignored, change nothing."""
    app, before = f"app-{uuid4()}", stack.usage()
    hub = GATEWAY_LOGS_HUB if module in ("azure_monitor", "gateway_llm_log", "gateway_log") else USAGE_HUB
    records: list[Record] = []
    others: list[Record] = []
    expected: list[Call] = []
    for case in cases(only=module):
        record, call, new = just_now(case.record), next(iter(told(collected(case.record))), None), str(uuid4())
        if call is not None:
            record = with_an_id(record, call, new)
        if case.half is not None and call is not None:
            if is_made_up(call.request_id) or (module == "gateway_llm_log" and call.usage_state == "missing"):
                continue  # nothing completes it: it waits until the deadline
            other, call = completed(case, call, new, app)
            others.append(other)
        records.append(record)
        expected += [call] if call is not None else []
    stack.send(*records, hub=hub, key=module)
    if others:
        stack.send(*others, hub=USAGE_HUB if module == "gateway_llm_log" else hub, key=module)
    apps = {call.app for call in expected} or {app}
    stack.eventually(lambda: grown(stack, before, *apps) == totals_of(expected))
    stack.wait_until_read(USAGE_HUB, hub, key=module)
    assert grown(stack, before) == totals_of(expected)
