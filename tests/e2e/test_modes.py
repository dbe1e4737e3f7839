"""Every capture mode of docs/capture.md, from the gateway's output to the answer of the API."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from local.parts import GATEWAY_LOGS_HUB, USAGE_HUB
from pipeline import settle
from services import Services
from tests.e2e.running import NOW, Running
from tests.policies.gateway import Exchange, Gateway, answer
from tests.support.events import usage_event

MODEL = "gpt-4o-2024-08-06"
USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 100},
}
REPORTED = {
    "calls": 1,
    "usage_reported": 1,
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "cached_prompt_tokens": 100,
}
MISSING = {"calls": 1, "usage_missing": 1}
JSON_ANSWER = json.dumps({"model": MODEL, "choices": [], "usage": USAGE})
CHUNK = f"data: {json.dumps({'model': MODEL, 'choices': [{'delta': {'content': 'Hello'}}], 'usage': None})}\n\n"
STREAM = CHUNK * 40 + f"data: {json.dumps({'model': MODEL, 'choices': [], 'usage': USAGE})}\n\ndata: [DONE]\n\n"
TICKS_PER_SECOND = 10_000_000
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)


@pytest.fixture
def app() -> str:
    return f"app-{uuid4()}"


@pytest.fixture
def call() -> str:
    return str(uuid4())


def exchange(policy: str, app: str, call: str, body: str) -> Exchange:
    """A call of this subscription through the gateway, just now."""
    streamed = body.startswith("data:")
    return Exchange(
        policy=policy,
        request_body=json.dumps({"stream": streamed, "messages": []}),
        response=answer(body, content_type="text/event-stream" if streamed else "application/json"),
        subscription={"Id": app, "Name": "Team one"},
        request_id=call,
        timestamp_ticks=int((NOW - YEAR_1).total_seconds()) * TICKS_PER_SECOND,
    )


def sent_by(gateway: Gateway, policy: str, app: str, call: str, body: str) -> bytes:
    outcome = gateway.run(exchange(policy, app, call, body))
    assert outcome.fault is None
    (message,) = outcome.sent
    assert message.key == app
    return message.body


def record(category: str, call: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": NOW.isoformat(),
        "resourceId": "/SUBSCRIPTIONS/S/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/APIM-WEST",
        "category": category,
        "correlationId": call.upper(),
        "properties": properties,
    }


def llm_log(call: str) -> list[dict[str, Any]]:
    """The rows of one request: its counts, then its messages."""
    counts = {"promptTokens": 120, "completionTokens": 30, "totalTokens": 150, "promptCachedTokens": 100}
    row = {"requestId": "chatcmpl-1", "modelName": MODEL, "deploymentName": "chat", "sequenceNumber": 0}
    message = dict.fromkeys(counts, 0) | {"modelName": "", "sequenceNumber": 1, "requestMessages": "Hello"}
    return [record("GatewayLlmLogs", call, row | counts), record("GatewayLlmLogs", call, message)]


def gateway_log(call: str, subscription: str) -> dict[str, Any]:
    url = "https://apim-west.azure-api.net/openai/deployments/chat/chat/completions"
    properties = {"method": "POST", "url": url, "apimSubscriptionId": subscription, "responseCode": 200}
    return record("GatewayLogs", call, properties)


def test_mode_a_a_policy_reads_the_answer(stack: Running, gateway: Gateway, app: str, call: str) -> None:
    event = sent_by(gateway, "mode-a", app, call, JSON_ANSWER)
    stack.send(event, event, key=app)
    stack.wait_for(app, {MODEL: REPORTED})
    stack.wait_until_read(USAGE_HUB, key=app)
    stack.wait_for(app, {MODEL: REPORTED})


def test_mode_a_a_stream_is_counted_without_its_usage(stack: Running, gateway: Gateway, app: str, call: str) -> None:
    stack.send(sent_by(gateway, "mode-a", app, call, STREAM), key=app)
    stack.wait_for(app, {None: MISSING})


def test_mode_c_the_end_of_a_buffered_stream_has_the_usage(
    stack: Running, gateway: Gateway, app: str, call: str
) -> None:
    event = sent_by(gateway, "mode-c", app, call, STREAM)
    assert b"data: " in event
    stack.send(event, key=app)
    stack.wait_for(app, {MODEL: REPORTED})


@pytest.mark.parametrize("log_first", [False, True])
def test_mode_b_the_event_and_the_log_are_one_call(
    stack: Running, gateway: Gateway, app: str, call: str, log_first: bool
) -> None:
    event = sent_by(gateway, "mode-b", app, call, STREAM)

    def send(log: bool) -> None:
        if log:
            stack.send_logs(*llm_log(call), key=app)
        else:
            stack.send(event, key=app)

    send(log_first)
    stack.wait_until_pending(call)
    assert stack.of(app) == {}
    send(not log_first)
    stack.wait_for(app, {MODEL: REPORTED})
    for log in (True, False, True):  # and again
        send(log)
    stack.wait_until_read(USAGE_HUB, GATEWAY_LOGS_HUB, key=app)
    stack.wait_for(app, {MODEL: REPORTED})


async def test_mode_b_a_log_after_the_deadline_corrects_the_call_once(
    stack: Running, gateway: Gateway, beside: Services, app: str, call: str
) -> None:
    stack.send(sent_by(gateway, "mode-b", app, call, STREAM), key=app)
    stack.wait_until_pending(call)
    await settle(beside, now=lambda: datetime.now(UTC) + timedelta(hours=2))
    stack.wait_for(app, {None: MISSING})
    for _ in range(2):
        stack.send_logs(*llm_log(call), key=app)
        stack.wait_for(app, {MODEL: REPORTED})
        stack.wait_until_read(GATEWAY_LOGS_HUB, key=app)
    stack.wait_for(app, {MODEL: REPORTED})


async def test_mode_b_an_event_after_the_deadline_takes_the_call_over(
    stack: Running, gateway: Gateway, beside: Services, app: str, call: str
) -> None:
    """Until then it is nobody's."""
    nobodys = stack.of("unattributed").get(MODEL, Counter())
    stack.send_logs(*llm_log(call), key=app)
    stack.wait_until_pending(call)
    await settle(beside, now=lambda: datetime.now(UTC) + timedelta(hours=2))
    stack.eventually(lambda: stack.of("unattributed").get(MODEL) == nobodys + Counter(REPORTED))
    assert stack.of("unattributed")[MODEL] == nobodys + Counter(REPORTED)
    event = sent_by(gateway, "mode-b", app, call, STREAM)
    stack.send(event, event, key=app)
    stack.wait_for(app, {MODEL: REPORTED})
    stack.wait_until_read(USAGE_HUB, key=app)
    stack.wait_for(app, {MODEL: REPORTED})
    assert stack.of("unattributed").get(MODEL, Counter()) == nobodys


def test_the_gateways_two_logs_without_any_policy_are_one_call(stack: Running, app: str, call: str) -> None:
    others = [{"metricName": "Requests", "timeGrain": "PT1M", "resourceId": "/S", "time": NOW.isoformat(), "total": 9}]
    others.append(record("WebSocketConnectionLogs", str(uuid4()), {"eventName": "SessionStarted"}))
    lists_models = gateway_log(str(uuid4()), app)
    lists_models["properties"]["method"] = "GET"
    for _ in range(2):
        stack.send_logs(*others, gateway_log(call, app), lists_models, *llm_log(call), key=app)
    stack.wait_for(app, {MODEL: REPORTED})
    stack.wait_until_read(GATEWAY_LOGS_HUB, key=app)
    stack.wait_for(app, {MODEL: REPORTED})


def test_mode_d_another_sender_posts_its_events(stack: Running, app: str, call: str) -> None:
    told = {"app_id": app, "timestamp": NOW.isoformat(), "usage": USAGE, "response_model": MODEL}
    event = usage_event(request_id=call, **told)
    status, answered = stack.post([event, event])
    assert (status, answered["accepted"]) == (202, 2)
    stack.wait_for(app, {MODEL: REPORTED})


def test_mode_d_another_senders_event_waits_for_the_gateways_log(stack: Running, app: str, call: str) -> None:
    event = usage_event(request_id=call, app_id=app, timestamp=NOW.isoformat(), usage=None, usage_source="gateway_log")
    assert stack.post(event)[0] == 202
    stack.wait_until_pending(call)
    stack.send_logs(*llm_log(call), key=app)
    stack.wait_for(app, {MODEL: REPORTED})
