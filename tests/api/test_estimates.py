"""From events to the answer with ESTIMATE_USAGE: estimates stand beside what was reported, and no text is kept."""

import json
from collections.abc import Mapping
from typing import Any

from ledger import dead_letters, rows
from ledger.rows import call_of
from ledger.store import TableStore
from models.usage import Estimate
from services import Services
from tests.api.asked import ask
from tests.api.conftest import Configure
from tests.queries.filled import fill
from tests.support.events import usage_event

TEXT = "South Atlantic Ocean is cold"
"""Five tokens."""

CHUNKS = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in (TEXT[:9], TEXT[9:])]
END = '{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
STREAM = "".join(f"data: {data}\n\n" for data in (*map(json.dumps, CHUNKS), END, "[DONE]"))
EVENTS = [
    usage_event(request_id="reported", usage={"prompt_tokens": 70, "completion_tokens": 25, "total_tokens": 95}),
    usage_event(request_id="estimated", stream=True, usage=None, body=STREAM),
    usage_event(request_id="missing", status=500, usage=None, body=STREAM),
    usage_event(request_id="silent", stream=True, usage=None),
]
QUESTION = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "granularity": "day", "group_by": "app"}


async def answered(services: Services) -> Any:
    await fill(services, [(event, "0") for event in EVENTS])
    return (await ask("usage", QUESTION)).json


async def columns(services: Services) -> list[Mapping[str, Any]]:
    """Every row of the usage table and of the dead letters."""
    found: list[Mapping[str, Any]] = []
    for table, partition in ((rows.TABLE, "app-1|202611"), (dead_letters.TABLE, "20261120")):
        store = TableStore(services.tables, services.settings.table_prefix + table)
        found += [row.columns async for row in store.range(partition, "", "~")]
    return found


REPORTED = {"prompt_tokens": 70, "completion_tokens": 25, "total_tokens": 95}


async def test_estimates_stand_beside_the_reported_and_the_answer_says_how_much_they_are(configure: Configure) -> None:
    services = await configure(ESTIMATE_USAGE="1")
    answer = await answered(services)
    for figures in (answer["totals"], answer["rows"][0]):
        assert {name: figures[name] for name in REPORTED} == REPORTED
        assert {name: count for name, count in figures.items() if name.startswith("estimated_")} == {
            "estimated_prompt_tokens": 0,
            "estimated_completion_tokens": 5,
            "estimated_total_tokens": 5,
        }
        states = [figures[f"usage_{state}"] for state in ("reported", "estimated", "missing")]
        assert states == [1, 1, 2]
        reasons = {name: count for name, count in figures.items() if name.startswith("missing_") and count}
        assert reasons == {"missing_error_response": 1, "missing_not_requested": 1}
    assert answer["coverage"] == 0.25
    assert answer["estimated_share"] == {"calls": 0.25, "tokens": 0.05}

    written = await columns(services)
    assert not any(
        word in str(value) for row in written for value in row.values() for word in ("South", "Atlantic", "Ocean")
    )
    (row,) = [row for row in written if row.get("request_id") == "estimated"]
    assert {name: row[name] for name in row if name.startswith("estimated_")} == {
        "estimated_completion_tokens": 5,
        "estimated_total_tokens": 5,
    }
    call = call_of(row)
    assert (call.usage_state, call.missing_reason, call.estimate) == ("estimated", "not_requested", Estimate(None, 5))


async def test_without_the_setting_nothing_is_estimated(configure: Configure) -> None:
    services = await configure()
    answer = await answered(services)
    assert {name: answer["totals"][name] for name in REPORTED} == REPORTED
    assert (answer["totals"]["usage_estimated"], answer["totals"]["usage_missing"]) == (0, 3)
    assert answer["estimated_share"] == {"calls": 0.0, "tokens": 0.0}
    assert not any(name.startswith("estimated_") for row in await columns(services) for name in row)


async def test_nothing_is_a_share_of_nothing(configure: Configure) -> None:
    await configure(ESTIMATE_USAGE="1")
    assert (await ask("usage", QUESTION)).json["estimated_share"] == {"calls": None, "tokens": None}
