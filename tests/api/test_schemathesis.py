"""Whatever is asked, the answer is as /api/openapi.json says: schemathesis asks, over HTTP, tables with known data."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import services
from api.openapi.document import document
from budgets.evaluate import evaluate
from local.azurite import Azurite
from local.eventhubs.server import EventHubsEndpoint
from models.dead_letter import letter_id
from pipeline import ingest
from tests.ledger.test_alerts import alert
from tests.queries.filled import environment, fill
from tests.support.events import raw_event, usage_event
from tests.support.served import served

SCHEMA = schemathesis.openapi.from_dict(dict(document()))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = {
    each.label: each for found in SCHEMA.get_all_operations() if isinstance(found, Ok) for each in [found.ok()]
}

DAY = {"from": "2024-02-29T00:00:00Z", "to": "2024-03-01T00:00:00Z"}
SECONDS = {"start_time": 1709164800, "end_time": 1709251200}
BAD = raw_event(b"no json", sequence_number=9)
LETTER = letter_id(BAD.origin, 0)
WORSE = raw_event(b"no json", sequence_number=999)
TO_DELETE = letter_id(WORSE.origin, 0)
BUDGET = {"app": "shop", "period": "month", "unit": "USD", "limit": "0.5", "thresholds": [50, 100]}
PRICE = {"model": "gpt-4o*", "per_million": {"prompt_tokens": "1", "completion_tokens": 2}}


class Known(NamedTuple):
    """A request that is answered well, and with what status."""

    operation: str
    query: Mapping[str, Any] = {}
    path: Mapping[str, str] = {}
    body: Any = None
    status: int = 200


def _openai(kind: str, **query: Any) -> Known:
    return Known(f"GET /api/v1/organization/{kind}", {**SECONDS, **query})


KNOWN = [
    Known("GET /api/usage", DAY),
    Known("GET /api/usage", {**DAY, "compare": "previous", "group_by": ["app", "user", "status"], "fill": "zero"}),
    Known("GET /api/usage", {**DAY, "limit": 1, "order_by": "-total_tokens", "tz": "Asia/Kolkata"}),
    *(Known("GET /api/usage", {**DAY, "format": form}) for form in ("csv", "ndjson", "focus")),
    Known("GET /api/calls", {**DAY, "app": "shop", "limit": 1}),
    *(Known("GET /api/calls", {**DAY, "app": "shop", "format": form}) for form in ("csv", "ndjson")),
    Known("GET /api/calls/{request_id}", DAY, {"request_id": "shop-0"}),
    Known("GET /api/apps", DAY),
    Known("PUT /api/apps/{app}", {}, {"app": "new"}, {"owner": "me"}, 201),
    Known("PUT /api/apps/{app}", {}, {"app": "shop"}, {"owner": "me"}),
    Known("GET /api/apps/{app}", {}, {"app": "shop"}),
    Known("GET /api/models", DAY),
    Known("PUT /api/models/{deployment}", {}, {"deployment": "chat"}, {"model": "m"}),
    Known("GET /api/models/{deployment}", {}, {"deployment": "chat"}),
    Known("PUT /api/prices/{id}", {}, {"id": "own"}, PRICE),
    Known("GET /api/prices/{id}", {}, {"id": "own"}),
    Known("DELETE /api/prices/{id}", {}, {"id": "own"}),
    Known("GET /api/prices", DAY),
    Known("GET /api/prices", {**DAY, "missing": "1"}),
    Known("PUT /api/budgets/{id}", {}, {"id": "own"}, BUDGET),
    Known("PUT /api/budgets/{id}", {}, {"id": "new"}, BUDGET, 201),
    Known("GET /api/budgets/{id}", {}, {"id": "own"}),
    Known("DELETE /api/budgets/{id}", {}, {"id": "new"}),
    Known("GET /api/budgets"),
    Known("GET /api/budgets/status", {"app": "shop"}),
    Known("POST /api/events", body=usage_event(), status=202),
    Known("POST /api/events", body=[usage_event(), {}], status=207),
    Known("POST /api/events", body={}, status=400),
    Known("GET /api/dead-letters"),
    Known("GET /api/dead-letters/{id}", {}, {"id": LETTER}),
    Known("POST /api/dead-letters/redrive", body={"ids": [LETTER]}),
    Known("DELETE /api/dead-letters/{id}", {}, {"id": TO_DELETE}),
    Known("GET /api/alerts", {"kind": ["budget", "test"]}),
    Known("GET /api/alerts", {"state": "pending", "limit": 1}),
    Known("POST /api/alerts/test", body={"webhook": "https://nowhere.invalid/x", "format": "slack"}),
    Known("POST /api/alerts/retry", body={"ids": ["budget/b/1/2026-11-01/0"]}),
    _openai("usage/completions", group_by=["project_id", "model"]),
    _openai("usage/embeddings", bucket_width="1h", limit=2),
    _openai("costs", group_by=["line_item"]),
    _openai("costs"),
    Known("GET /api/health"),
    Known("GET /api/health", {"deep": "1"}),
    Known("GET /api/metrics"),
    Known("GET /api/openapi.json"),
    Known("GET /api/docs"),
    Known("GET /api/dashboard"),
    Known("GET /api/dashboard/{file}", {}, {"file": "app.js"}),
]


@pytest.fixture(scope="module")
async def url(azurite: Azurite, event_hubs: EventHubsEndpoint) -> AsyncIterator[str]:
    """The app behind the local host's own server, with calls, entries, a price and a dead letter."""
    with pytest.MonkeyPatch.context() as patch:
        hub = event_hubs.connection_string()
        for name, value in environment(azurite, EventHubConnection=hub, CONSUMER_GROUP="usage-collector").items():
            patch.setenv(name, value)
        patch.setattr(services, "_services", type(services._services)())
        found = services.get()
        await fill(found, [(_event(app, number), "0") for app in ("shop", "desk") for number in range(3)])
        await ingest([BAD, WORSE], found)
        async with served() as address:
            entered: list[tuple[str, dict[str, str], Any]] = [
                ("PUT /api/apps/{app}", {"app": "shop"}, {"owner": "ann", "cost_center": "4711"}),
                ("PUT /api/models/{deployment}", {"deployment": "chat"}, {"model": "gpt-4o"}),
                ("PUT /api/prices/{id}", {"id": "own"}, PRICE),
                ("PUT /api/budgets/{id}", {"id": "own"}, BUDGET),
            ]
            for operation, path, body in entered:
                made = OPERATIONS[operation].Case(path_parameters=path, body=body, media_type="application/json")
                assert (await asyncio.to_thread(made.call, address)).status_code == 201
            await evaluate(found)
            await found.alerts.raise_once(alert())
            yield address
        await found.close()


def _event(app: str, number: int) -> dict[str, Any]:
    usage = {"prompt_tokens": 10 * number, "completion_tokens": 5, "total_tokens": 10 * number + 5}
    model = ["gpt-4o-2024-08-06", "text-embedding-3-small", "ours"][number]
    return usage_event(
        request_id=f"{app}-{number}", app_id=app, timestamp="2024-02-29T12:00:00Z", deployment="chat", usage=usage,
        response_model=model,
    )  # fmt: skip


@pytest.mark.parametrize("known", KNOWN, ids=(f"{number}-{each.operation}" for number, each in zip(count(), KNOWN)))
async def test_good_answers_are_as_described(url: str, known: Known) -> None:
    body = {} if known.body is None else {"body": known.body, "media_type": "application/json"}
    case = OPERATIONS[known.operation].Case(query=dict(known.query), path_parameters=dict(known.path), **body)
    response = await asyncio.to_thread(case.call, url)
    assert response.status_code == known.status, response.text
    case.validate_response(response, checks=CHECKS)


def test_every_operation_has_a_good_answer_here() -> None:
    assert {each.operation for each in KNOWN} == OPERATIONS.keys()


@pytest.mark.parametrize("label", OPERATIONS)
@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
async def test_any_answer_is_as_described(url: str, label: str, data: st.DataObject) -> None:
    """Of questions that are as described, some of them about the known data, and of those that are not."""
    operation = OPERATIONS[label]
    mode = data.draw(st.sampled_from(["about the known", "positive", "negative"]))
    if mode == "about the known":
        known = data.draw(st.sampled_from([each for each in KNOWN if each.operation == label]))
        case = data.draw(operation.as_strategy(path_parameters=dict(known.path), query=dict(known.query)))
        for garbage in ("cursor", "page", "tz"):
            case.query.pop(garbage, None)
    elif mode == "positive":
        case = data.draw(operation.as_strategy())
    else:
        case = data.draw(operation.as_strategy(schemathesis.GenerationMode.NEGATIVE))
    response = await asyncio.to_thread(case.call, url)
    if response.status_code == 404 and "json" not in response.headers["content-type"][0]:
        return  # of the host: the path is none of the operation's
    case.validate_response(response, checks=CHECKS)
