"""The policies, executed: what they send is fed to the collector, which has to arrive at the true counts."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.identity import resolve_app
from models.call import Call
from models.event import read_usage_event
from models.usage import Usage
from tests.collectors import test_operations
from tests.collectors.reading import call_of_body, collected
from tests.collectors.recorded import RECORDED, SAMPLES, STREAMS, Recorded
from tests.policies.gateway import Exchange, Gateway, Outcome, answer

MODES = ("mode-a", "mode-b", "mode-c")
EVERY_MODE = (*MODES, "mode-b+include", "mode-c+include")
MAX_MESSAGE_BYTES = 200_000
SSE = "text/event-stream; charset=utf-8"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
CHAT = json.dumps({"model": "gpt-4o-2024-08-06", "choices": [], "usage": USAGE})
LAST_CHUNK = f'data: {{"model":"gpt-4o-2024-08-06","choices":[],"usage":{json.dumps(USAGE)}}}\n\ndata: [DONE]\n\n'


def by_name(record: Recorded) -> str:
    return record.name


def call_of(outcome: Outcome) -> Call:
    """The one call that the collector makes of what was sent."""
    assert outcome.fault is None, outcome.fault
    assert len(outcome.sent) == 1
    result = collected(outcome.sent[0].body)
    assert not result.dead_letters, result.dead_letters
    calls = result.calls + [half.call for half in result.halves]  # mode B's usage comes from the gateway's log
    assert len(calls) == 1
    return calls[0]


def exchange_of(record: Recorded, mode: str) -> Exchange:
    return Exchange(
        policy=mode,
        request_body=json.dumps({"model": "asked-for", "stream": record.streaming, "messages": []}),
        response=answer(
            record.body, content_type=SSE if record.streaming else "application/json", status=record.status
        ),
    )


# --- recorded responses through each mode -------------------------------------------------------------------------


@pytest.mark.parametrize("record", RECORDED, ids=by_name)
def test_mode_a_counts_what_is_not_streamed(gateway: Gateway, record: Recorded) -> None:
    outcome = gateway.run(exchange_of(record, "mode-a"))
    call = call_of(outcome)
    if record.streaming or record.truth is None:
        reason = "error_response" if record.status >= 400 else "not_requested"
        assert (call.usage_state, call.missing_reason, call.usage) == ("missing", reason, Usage())
    else:
        assert (call.usage_state, call.usage, call.model) == ("reported", record.truth, record.model)
    assert (call.stream, call.status, call.deployment) == (record.streaming, record.status, "chat")
    assert "body" not in outcome.event
    assert not outcome.lost


@pytest.mark.parametrize("record", RECORDED, ids=by_name)
def test_mode_b_leaves_the_usage_to_the_gateways_log(gateway: Gateway, record: Recorded) -> None:
    outcome = gateway.run(exchange_of(record, "mode-b"))
    assert outcome.event["usage_source"] == "gateway_log"
    assert not {"usage", "body"} & outcome.event.keys()
    assert outcome.response_reads == 0


@pytest.mark.parametrize("record", RECORDED, ids=by_name)
def test_mode_c_counts_every_recorded_call(gateway: Gateway, record: Recorded) -> None:
    call = call_of(gateway.run(exchange_of(record, "mode-c")))
    if record.truth is None:
        reason = "error_response" if record.status >= 400 else "not_requested"
        assert (call.usage_state, call.missing_reason, call.usage) == ("missing", reason, Usage())
    else:
        assert (call.usage_state, call.usage, call.model) == ("reported", record.truth, record.model)


@pytest.mark.parametrize("mode", ["mode-a", "mode-b"])
@pytest.mark.parametrize("record", STREAMS, ids=by_name)
def test_a_stream_is_not_read(gateway: Gateway, mode: str, record: Recorded) -> None:
    """Known by what was asked for, or by the content type alone."""
    exchange = exchange_of(record, mode)
    assert gateway.run(exchange).response_reads == 0
    exchange.request_body = None
    outcome = gateway.run(exchange)
    assert (outcome.response_reads, outcome.event["stream"]) == (0, True)


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        "/publishers/anthropic/models/claude-sonnet-4:streamRawPredict",
        "/model/anthropic.claude-v2:1/converse-stream",
        "/model/anthropic.claude-v2:1/invoke-with-response-stream",
    ],
)
def test_a_stream_that_is_asked_for_in_the_url_is_not_read(gateway: Gateway, path: str) -> None:
    outcome = gateway.run(Exchange(path=path, response=answer(CHAT)))
    assert (outcome.response_reads, outcome.event["stream"]) == (0, True)


@pytest.mark.parametrize("mode", ["mode-a", "mode-c"])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_a_whole_answer_to_a_request_for_a_stream_is_counted(gateway: Gateway, mode: str, content_type: str) -> None:
    response = answer(CHAT, content_type=content_type)
    call = call_of(gateway.run(Exchange(policy=mode, request_body='{"stream":true}', response=response)))
    assert (call.usage.total_tokens, call.stream, call.first_byte_ms) == (12, False, None)


# --- mode A: where usage stands, and where it does not ------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2}, "modelVersion": "gemini-2.5"}, (4, 2)),
        ({"meta": {"billed_units": {"input_tokens": 4, "output_tokens": 2}}, "text": "hi"}, (4, 2)),
        ({"model": "llama3", "response": "hi", "prompt_eval_count": 4, "eval_count": 2}, (4, 2)),
        ({"generation": "hi", "prompt_token_count": 4, "generation_token_count": 2}, (4, 2)),
        ({"output": {"text": "hi"}, "usage": {"inputTokens": 4, "outputTokens": 2}}, (4, 2)),
        ({"inputTextTokenCount": 4, "results": [{"tokenCount": 2, "outputText": "hi"}]}, (4, 2)),
        ({"embedding": [0.5], "inputTextTokenCount": 4}, (4, None)),
        ({"usage": None}, None),
        ({"usage": []}, None),
        ({"usage": "many"}, None),
        ({"choices": [{"usage": USAGE}]}, None),
        ({"input_tokens": 14}, None),  # count_tokens
        ({"usage": {"completion_tokens": 5, "text": "x" * 9000}}, None),
        ([1, 2], None),
        ("text", None),
    ],
)
def test_usage_is_found_where_providers_put_it(
    gateway: Gateway, body: object, usage: tuple[int, int | None] | None
) -> None:
    call = call_of(gateway.run(Exchange(response=answer(json.dumps(body)))))
    if usage is None:
        assert (call.usage_state, call.missing_reason) == ("missing", "unrecognised")
    else:
        assert (call.usage.prompt_tokens, call.usage.completion_tokens) == usage


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "7", "completion_tokens": 5},
        {"prompt_tokens": 7, "completion_tokens": -5},
        {"prompt_tokens": 7.5, "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": "none"},
    ],
)
@pytest.mark.parametrize("mode", ["mode-a", "mode-c"])
def test_a_count_that_is_none_costs_no_call(gateway: Gateway, mode: str, usage: dict[str, Any]) -> None:
    """As from a stream's body, the call is counted without usage; the event is not set aside."""
    call = call_of(gateway.run(Exchange(policy=mode, response=answer(json.dumps({"model": "m", "usage": usage})))))
    assert (call.usage_state, call.missing_reason, call.model) == ("missing", "unrecognised", "m")


def test_a_count_that_is_written_as_a_fraction_but_whole_is_a_count(gateway: Gateway) -> None:
    body = {"usage": {"prompt_tokens": 7.0, "completion_tokens": 5}}
    assert call_of(gateway.run(Exchange(response=answer(json.dumps(body))))).usage == Usage(7, 5, 12)


WHOLE = {
    (record["provider"], record["operation"]): record["response"]["body"]
    for record in map(json.loads, (SAMPLES.parent / "providers.jsonl").read_text(encoding="utf-8").splitlines())
    if record["expected"] and not record["streaming"] and "usage-only-in-headers" not in record["tags"]
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=["-".join(kind) for kind in WHOLE])
def test_an_answer_of_any_provider_and_size_gives_what_its_whole_body_says(gateway: Gateway, body: str) -> None:
    """A picture or a vector in front of it: from a million characters on, only the end is read."""
    truth = call_of_body(body).usage
    for text in (body, f'{{"data":"{"A" * 1_000_000}",{body.lstrip()[1:]}'):
        assert call_of(gateway.run(Exchange(response=answer(text)))).usage == truth


BEDROCK = {
    "X-Amzn-Bedrock-Input-Token-Count": "4",
    "x-amzn-bedrock-output-token-count": "2",
    "x-amzn-bedrock-cache-read-input-token-count": "30",
    "x-amzn-bedrock-invocation-latency": "696",
}


@pytest.mark.parametrize(
    ("body", "headers", "usage"),
    [
        ({"outputs": [{"text": "hi"}]}, BEDROCK, Usage(34, 2, 36, 30)),
        ({"usage": {"input_tokens": 7, "output_tokens": 5}}, BEDROCK, Usage(7, 5, 12)),  # the body knows best
        ({"inputTextTokenCount": 7, "results": [{"tokenCount": 5}]}, BEDROCK, Usage(7, 5, 12)),
        ({"results": [{"index": 0, "relevance_score": 0.3}]}, BEDROCK, None),
        ({"outputs": []}, {"x-amzn-bedrock-invocation-latency": "696"}, None),
        ({"outputs": []}, BEDROCK | {"x-amzn-bedrock-output-token-count": "many"}, None),
        ({"outputs": []}, BEDROCK | {"x-amzn-bedrock-output-token-count": "2,2"}, None),
        ({"outputs": []}, BEDROCK | {"x-amzn-bedrock-output-token-count": "9" * 30}, None),
    ],
)
def test_usage_that_only_headers_state_is_sent(
    gateway: Gateway, body: object, headers: dict[str, str], usage: Usage | None
) -> None:
    """Amazon Bedrock; of headers nothing else leaves the gateway."""
    response = answer(json.dumps(body), headers=headers)
    outcome = gateway.run(Exchange(path="/model/mistral/invoke", response=response))
    call = call_of(outcome)
    assert (call.usage_state, call.usage) == (("missing", Usage()) if usage is None else ("reported", usage))
    assert b"latency" not in outcome.sent[0].body


@pytest.mark.parametrize("body", ["", " ", "null", "{", '{"usage":', "<html>", "{}{}", "\x00", "�", None])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "", None])
def test_an_answer_without_json_is_missing_usage(gateway: Gateway, body: str | None, content_type: str | None) -> None:
    call = call_of(gateway.run(Exchange(response=answer(body, content_type=content_type))))
    assert (call.usage_state, call.missing_reason) == ("missing", "unrecognised")


def test_usage_of_a_large_answer_is_read_from_its_end(gateway: Gateway) -> None:
    vectors = {"object": "list", "data": [{"object": "embedding", "embedding": [0.123456789] * 100_000}]}
    model, usage = {"model": "text-embedding-3-large"}, {"usage": {"prompt_tokens": 9}}
    for end in (model | usage, usage | model):
        call = call_of(gateway.run(Exchange(response=answer(json.dumps(vectors | end)))))
        assert (call.usage.prompt_tokens, call.model) == (9, "text-embedding-3-large")
    call = call_of(gateway.run(Exchange(response=answer(json.dumps(vectors | {"by": [{"model": "other"}]} | usage)))))
    assert (call.usage.prompt_tokens, call.model) == (9, None)


@pytest.mark.parametrize(
    "after",
    [[{"usage": USAGE}], {"usage": USAGE}, '"usage":{"prompt_tokens":1}}', [{"usageMetadata": USAGE}]],
)
def test_a_look_alike_at_the_end_of_a_large_answer_is_not_usage(gateway: Gateway, after: object) -> None:
    body = json.dumps({"data": "x" * 1_100_000, "steps": after})
    assert call_of(gateway.run(Exchange(response=answer(body)))).usage_state == "missing"


def test_a_large_ranking_is_not_billed_by_its_tokens(gateway: Gateway) -> None:
    ranked = [{"relevance_score": 0.4, "index": 0, "document": "x" * 1_100_000}]
    body = json.dumps({"object": "list", "data": ranked, "model": "rerank", "usage": {"total_tokens": 43}})
    assert call_of(gateway.run(Exchange(response=answer(body)))).usage_state == "missing"


# --- mode C: what fits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["a", "é", "漢", "😀", '"', "\\", "\n", "\t", "\x00", "\x7f", "\x85", "\u2028"])
def test_a_long_stream_is_sent_from_its_end_and_fits(gateway: Gateway, character: str) -> None:
    length = 1_000_000 // len(character.encode())
    body = f'data: {{"choices":[{{"delta":{{"content":"{character * length}"}}}}]}}\n\n{LAST_CHUNK}'
    outcome = gateway.run(Exchange(policy="mode-c", response=answer(body, content_type=SSE)))
    event = outcome.event
    assert len(outcome.sent[0].body) < MAX_MESSAGE_BYTES
    assert list(event)[-1] == "body"
    assert body.encode()[event["body_offset"] :] == event["body"].encode()
    assert len(event["body"]) > 20_000
    assert call_of(outcome).usage.total_tokens == 12


def lengthened(body: str) -> str:
    """More than a message holds in front of a stream's end; of Anthropic's, behind its start."""
    if body.startswith("["):
        chunks = json.loads(body)
        going = json.loads(json.dumps(chunks[0]).replace("finishReason", "index"))
        return json.dumps([*[going] * (250_000 // len(json.dumps(going))), *chunks], indent=2)
    if body.startswith("{"):
        line = body[: body.index("\n") + 1]
        return line * (250_000 // len(line)) + body
    start = body.index("\n\n") + 2 if "message_start" in body else 0
    return body[:start] + ": keep-alive\n\n" * 20_000 + body[start:]


LONG = {
    f"{record['provider']}-{record['operation']}-{number}": lengthened(record["response"]["body"])
    for file in ("recorded.jsonl", "providers.jsonl")
    for number, record in enumerate(map(json.loads, (SAMPLES.parent / file).read_text(encoding="utf-8").splitlines()))
    if record["expected"] and record["streaming"] and "aws-eventstream" not in record["tags"]
}


@pytest.mark.parametrize("body", LONG.values(), ids=LONG)
def test_the_usage_of_a_long_stream_survives(gateway: Gateway, body: str) -> None:
    """Also where the prompt is counted at its start (Anthropic), and where lines do not say data: (Gemini, Ollama)."""
    truth = call_of_body(body, stream=True)
    content_type = {"[": "application/json", "{": "application/x-ndjson"}.get(body[0], SSE)
    response = answer(body, content_type=content_type)
    outcome = gateway.run(Exchange(policy="mode-c", path="/v1/m:streamGenerateContent", response=response))
    call = call_of(outcome)
    assert truth.usage_state == "reported"
    assert (call.usage, call.model) == (truth.usage, truth.model)
    assert len(outcome.sent[0].body) < MAX_MESSAGE_BYTES
    assert outcome.event["body_offset"] > 0


def test_a_long_identity_does_not_push_a_message_over_the_limit(gateway: Gateway) -> None:
    long = {"Id": "\x01" * 5000, "Name": "\x01" * 5000}
    outcome = gateway.run(
        Exchange(
            policy="mode-c",
            path=f"/openai/deployments/{'x' * 5000}/chat/completions",
            request_body=json.dumps({"model": "漢" * 1_000_000}),
            subscription=long, product=long, user=long, api=long, operation=long, ip="\x01" * 5000,
            deployment={"GatewayId": "\x01" * 5000, "Region": "\x01" * 5000},
            response=answer("é" * 1_000_000, content_type=SSE),
        )
    )  # fmt: skip
    assert len(outcome.sent[0].body) < MAX_MESSAGE_BYTES
    assert read_usage_event(outcome.event).schema_ == "usage-event/1"


# --- who pays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("identity", "app"),
    [
        ({"claims": {"appid": "v1-app", "azp": "other"}}, "v1-app"),
        ({"claims": {"azp": "v2-app"}}, "v2-app"),
        ({"claims": {"appid": " ", "azp": "v2-app"}}, "v2-app"),
        ({"claims": {"sub": "someone"}}, "sub-1"),
        ({"claims": {"azp": "v2-app"}, "variables": {"usage-app-id": "ours"}}, "ours"),
        ({"variables": {"usage-app-id": " ours "}}, "ours"),
        ({"variables": {"usage-app-id": ""}}, "sub-1"),
        ({"variables": {"usage-app-id": 7}}, "sub-1"),
        ({"variables": {"usage-token": "no token"}}, "sub-1"),
        ({"variables": {"usage-token": None}}, "sub-1"),
        ({}, "sub-1"),
        ({"subscription": None}, "gold"),
        ({"subscription": {"Id": None}}, "gold"),
        ({"subscription": {"Id": "master"}}, "gold"),
        ({"subscription": None, "product": None}, "unattributed"),
        ({"throws": ["Subscription", "Product"]}, "unattributed"),
    ],
)
def test_partition_key_is_the_app_that_the_collector_resolves(
    gateway: Gateway, mode: str, identity: dict[str, Any], app: str
) -> None:
    outcome = gateway.run(Exchange(policy=mode, response=answer(CHAT), **identity))
    assert outcome.sent[0].key == app == resolve_app(read_usage_event(outcome.event))[0]


def test_partition_key_is_as_long_as_the_hub_takes(gateway: Gateway) -> None:
    outcome = gateway.run(Exchange(response=answer(CHAT), variables={"usage-app-id": "a" * 250}))
    assert (len(outcome.sent[0].key), len(outcome.event["app_id"])) == (128, 250)


def test_a_token_that_nobody_validated_is_not_believed(gateway: Gateway) -> None:
    token = "eyJhbGciOiJub25lIn0.eyJhcHBpZCI6InZpY3RpbSJ9."  # {"alg":"none"}, {"appid":"victim"}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    outcome = gateway.run(Exchange(request_headers=headers, response=answer(CHAT)))
    assert "app_id" not in outcome.event


@pytest.mark.parametrize("kind", ["Utc", "Unspecified"])
def test_timestamp_is_utc_and_request_id_is_the_gateways(gateway: Gateway, kind: str) -> None:
    outcome = gateway.run(Exchange(timestamp_kind=kind, response=answer(CHAT)))
    assert outcome.event["timestamp"] == "2026-06-02T12:00:00.1230000Z"
    assert outcome.event["request_id"] == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert list(outcome.event)[:3] == ["schema", "request_id", "timestamp"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "HEAD", "DELETE"])
def test_only_a_post_is_a_call(gateway: Gateway, mode: str, method: str) -> None:
    """A stored response that is fetched repeats its usage; lists and preflights ask no model."""
    outcome = gateway.run(Exchange(policy=mode, method=method, response=answer(CHAT)))
    assert (outcome.fault, outcome.sent, outcome.response_reads) == (None, [], 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", test_operations.ASKS_NO_MODEL)
def test_what_asks_no_model_for_tokens_has_none(gateway: Gateway, mode: str, path: str) -> None:
    """A stored completion or run that is changed repeats its usage; the others have none. No body is read."""
    outcome = gateway.run(Exchange(policy=mode, path=path, response=answer(CHAT)))
    assert (outcome.event["usage_source"], outcome.response_reads) == ("none", 0)
    call = call_of(outcome)
    assert (call.usage_state, call.missing_reason, call.usage) == ("missing", "not_metered", Usage())


@pytest.mark.parametrize("path", test_operations.ASKS_A_MODEL)
def test_what_asks_a_model_is_counted(gateway: Gateway, path: str) -> None:
    assert call_of(gateway.run(Exchange(path=path, response=answer(CHAT)))).missing_reason != "not_metered"


@pytest.mark.parametrize("mode", MODES)
def test_a_path_that_was_rewritten_to_a_model_takes_no_usage_away(gateway: Gateway, mode: str) -> None:
    sent_to = "/openai/deployments/chat/chat/completions"
    rewritten = Exchange(policy=mode, path="/v1/assistants", rewritten=sent_to, response=answer(CHAT))
    assert gateway.run(rewritten).event.get("usage_source") != "none"


@pytest.mark.parametrize("mode", ["mode-a", "mode-c"])
@pytest.mark.parametrize(
    "body",
    [
        {"object": "conversation", "id": "conv_1", "metadata": {}},
        {"object": "batch", "id": "batch_1", "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}},
        {"results": [{"index": 0, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 1}}},
        {"data": [{"index": 0, "relevance_score": 0.9}], "usage": {"total_tokens": 43}},
    ],
)
def test_an_answer_that_is_not_metered_by_what_it_is(gateway: Gateway, mode: str, body: dict[str, Any]) -> None:
    outcome = gateway.run(Exchange(policy=mode, path="/my/own", response=answer(json.dumps(body))))
    assert call_of(outcome).missing_reason == "not_metered"


@pytest.mark.parametrize("mode", ["mode-a", "mode-c"])
@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/conversations/conv_1", "/v1/conversations/conv_1/restart"])
def test_mistrals_conversations_are_counted_with_what_connectors_put_in(gateway: Gateway, mode: str, path: str) -> None:
    """The numbers of docs.mistral.ai's example of an agent with a web search."""
    usage = {"prompt_tokens": 188, "completion_tokens": 55, "total_tokens": 7355, "connector_tokens": 7112}
    body = {"object": "conversation.response", "conversation_id": "conv_1", "outputs": [], "usage": usage}
    call = call_of(gateway.run(Exchange(policy=mode, path=path, response=answer(json.dumps(body)))))
    assert call.usage == Usage(7300, 55, 7355)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("variable", "hit"), [(True, True), (False, False), ("yes", False), (None, False)])
def test_an_answer_of_the_gateways_cache_is_not_charged_again(
    gateway: Gateway, mode: str, variable: bool | str | None, hit: bool
) -> None:
    """usage-from-cache is true from before the look-up on, until the backend section sets it to false."""
    outcome = gateway.run(Exchange(policy=mode, response=answer(CHAT), variables={"usage-from-cache": variable}))
    assert (outcome.event.get("usage_source") == "none") == hit
    assert (call_of(outcome).missing_reason == "not_metered") == hit


def test_what_was_asked_for_is_told(gateway: Gateway) -> None:
    asked = json.dumps({"model": "gpt-4o", "messages": []})
    v1 = gateway.run(Exchange(path="/openai/v1/chat/completions", request_body=asked, response=answer(CHAT))).event
    classic = gateway.run(Exchange(request_body=asked, response=answer(CHAT))).event
    gemini = gateway.run(Exchange(path="/v1/models/gemini-2.5:generateContent", response=answer(CHAT))).event
    assert (v1["deployment"], v1["model"], v1["response_model"]) == ("gpt-4o", "gpt-4o", "gpt-4o-2024-08-06")
    assert (classic["deployment"], classic["model"]) == ("chat", "gpt-4o")
    assert gemini["model"] == "gemini-2.5"


# --- nothing leaves that should not -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("section", [None, "inbound", "backend", "outbound"])
def test_no_secret_and_no_content_leaves_the_gateway(gateway: Gateway, mode: str, section: str | None) -> None:
    """Everything that should stay has a mark; in mode C the answer's own text is the one exception."""
    streamed = mode == "mode-c"
    text = f'data: {{"choices":[{{"delta":{{"content":"MARK-ANSWER"}}}}]}}\n\n{LAST_CHUNK}' if streamed else json.dumps(
        {"choices": [{"message": {"content": "MARK-ANSWER"}}], "usage": USAGE}
    )  # fmt: skip
    error = {"Source": "s", "Reason": "r", "Message": "MARK-MESSAGE", "Section": section}
    outcome = gateway.run(
        Exchange(
            policy=mode,
            query={"subscription-key": "MARK-KEY", "api-version": "2024-10-21"},
            request_headers={"Content-Type": "application/json", "Authorization": "Bearer MARK", "api-key": "MARK-KEY"},
            request_body=json.dumps({"stream": streamed, "messages": [{"content": "MARK-PROMPT"}], "user": "MARK"}),
            response=answer(
                text, content_type=SSE if streamed else "application/json", headers={"Set-Cookie": "MARK-COOKIE"}
            ),
            error=error if section else None,
        )
    )
    assert outcome.sent
    for message in outcome.sent:
        marks = set(re.findall(r"MARK[A-Z-]*", message.body.decode()))
        assert marks == ({"MARK-ANSWER"} if "body" in message.event else set())


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("section", "reason", "missing"),
    [
        ("inbound", "TokenInvalidSignature", "error_response"),
        ("backend", "Timeout", "error_response"),
        ("backend", "ClientConnectionFailure", "client_disconnected"),
    ],
)
def test_a_failed_call_is_seen(gateway: Gateway, mode: str, section: str, reason: str, missing: str) -> None:
    error = {"Source": "somewhere", "Reason": reason, "Message": "secret", "Section": section}
    outcome = gateway.run(Exchange(policy=mode, claims={"appid": "app-7"}, error=error))
    call = call_of(outcome)
    assert (call.error_source, call.error_reason, call.usage_state) == ("somewhere", reason, "missing")
    assert call.missing_reason == missing
    assert call.duration_ms == pytest.approx(812, abs=1)
    # before the policies of inbound have run, nobody has been identified by a token
    assert call.app == ("sub-1" if section == "inbound" else "app-7")
    assert ("usage_source" in outcome.event) == (mode == "mode-b" and section == "backend")


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_fails_after_it_was_sent_is_sent_again_as_the_same_call(gateway: Gateway, mode: str) -> None:
    error = {"Source": "set-header", "Reason": None, "Section": "outbound"}
    outcome = gateway.run(Exchange(policy=mode, response=answer(CHAT), error=error))
    assert outcome.fault is None
    first, second = (message.event for message in outcome.sent)
    assert first["request_id"] == second["request_id"]
    assert first.get("usage") == second.get("usage")


# --- include_usage ------------------------------------------------------------------------------------------------


_LOOK_ALIKES = r'[{"stream_options":{},"content":"\"stream_options\":{} }{"}]'
_AS_WRITTEN = r'"content":"2026-11-20T12:00:00.100+02:00","t":1.0E2,"x":"\u00e9é","stream":true'


@pytest.mark.parametrize(
    ("asked", "forwarded"),
    [
        ('{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'),
        (' \n{ "stream" : true }', ' \n{"stream_options":{"include_usage":true}, "stream" : true }'),
        (
            '{"stream":true,"stream_options":{"include_obfuscation":false}}',
            '{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}',
        ),
        ('{"stream_options" : { } ,"stream":true}', '{"stream_options" : {"include_usage":true } ,"stream":true}'),
        ('{"stream":true,"stream_options":null}', '{"stream":true,"stream_options":{"include_usage":true}}'),
        (  # look-alikes deeper down and in text
            f'{{"messages":{_LOOK_ALIKES},"stream":true,"stream_options":{{}}}}',
            f'{{"messages":{_LOOK_ALIKES},"stream":true,"stream_options":{{"include_usage":true}}}}',
        ),
        (  # dates, numbers and escapes stay as the client wrote them
            f"{{{_AS_WRITTEN}}}",
            f'{{"stream_options":{{"include_usage":true}},{_AS_WRITTEN}}}',
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["mode-b+include", "mode-c+include"])
def test_usage_is_asked_for_where_the_client_left_it_open(
    gateway: Gateway, mode: str, asked: str, forwarded: str
) -> None:
    outcome = gateway.run(Exchange(policy=mode, request_body=asked, response=answer(LAST_CHUNK, content_type=SSE)))
    assert outcome.fault is None
    assert outcome.request_body == forwarded


@pytest.mark.parametrize(
    "asked",
    [
        '{"stream":true,"stream_options":{"include_usage":false}}',
        '{"stream":true,"stream_options":{"include_usage":true}}',
        '{"stream":true,"stream_options":{"include_usage":null}}',
        '{"stream":true,"stream_options":[]}',
        '{"stream":true,"stream_options":"all"}',
        '{"stream":true,"stream_options":{},"stream_options":{}}',
        '{"stream":true,"stream\\u005foptions":{}}',
        "{'stream':true,'stream_options':{}}",
        '{"stream":false}',
        '{"stream":"true"}',
        "{}",
        "[]",
        "not json",
        "",
        None,
    ],
)
def test_a_request_that_says_otherwise_is_left_alone(gateway: Gateway, asked: str | None) -> None:
    outcome = gateway.run(
        Exchange(policy="mode-b+include", request_body=asked, response=answer(LAST_CHUNK, content_type=SSE))
    )
    assert (outcome.fault, outcome.body_set, outcome.request_body) == (None, False, asked)


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"path": "/openai/v1/responses"},
        {"path": "/anthropic/v1/messages"},
        {"path": None},
        {"query": {"api-version": "2024-06-01"}},
        {"query": {"api-version": "2023-12-01-preview"}},
        {"query": {"api-version": "2024-06-01"}, "path": "/openai/deployments/chat/chat/completions/"},
        {"method": "GET"},
        {"request_headers": {"Content-Type": "application/json; charset=utf-16"}},
        {"request_headers": {"Content-Length": "8000001"}},
        {"request_headers": {"Content-Length": "many"}},
        {"unreadable": True},
    ],
)
def test_requests_that_do_not_know_stream_options_are_left_alone(gateway: Gateway, elsewhere: dict[str, Any]) -> None:
    outcome = gateway.run(Exchange(policy="mode-b+include", request_body='{"stream":true}', **elsewhere))
    assert (outcome.fault, outcome.body_set) == (None, False)


@pytest.mark.parametrize("version", ["2024-09-01-preview", "2024-10-21", "v1", "preview"])
def test_api_versions_that_know_stream_options_are_asked(gateway: Gateway, version: str) -> None:
    query = {"api-version": version}
    assert gateway.run(Exchange(policy="mode-b+include", request_body='{"stream":true}', query=query)).body_set


@pytest.mark.parametrize(
    "asked",
    [
        {"path": "/models/chat/completions", "query": {"api-version": "2024-05-01-preview"}},  # Foundry's own versions
        {"path": "/openai/v1/chat/completions/"},
    ],
)
def test_paths_that_know_stream_options_are_asked(gateway: Gateway, asked: dict[str, Any]) -> None:
    assert gateway.run(Exchange(policy="mode-b+include", request_body='{"stream":true}', **asked)).body_set


@pytest.mark.parametrize("mode", MODES)
def test_no_request_is_changed_unless_an_operator_says_so(gateway: Gateway, mode: str) -> None:
    assert not gateway.run(Exchange(policy=mode, request_body='{"stream":true}')).body_set


# --- whatever comes -----------------------------------------------------------------------------------------------

_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("\ud800\udfff\x00\u2028{}[]\"'\\/:,")), max_size=12)
_NAMES = st.one_of(
    _TEXT,
    st.sampled_from(
        ["usage", "model", "stream", "stream_options", "include_usage", "usageMetadata", "meta", "data", "eval_count",
         "relevance_score", "modelVersion", "prompt_tokens", "completion_tokens"]
    ),
)  # fmt: skip
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXT, st.just("2026-01-01T00:00:00+02:00")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_JSON = st.dictionaries(_NAMES, _VALUES, max_size=6).map(json.dumps)
_DEEP = [
    "[" * 50_000,
    '{"usage":' * 50_000,
    *(f'{{"{name}":{{"prompt_tokens":1,"x":{"[" * depth}{"]" * depth}}}}}'
      for name in ("usage", "x_token_count") for depth in (100, 60_000)),
]  # fmt: skip
_BODIES = st.one_of(
    st.none(), _TEXT, _JSON, _VALUES.map(json.dumps), _JSON.map(lambda text: text[: len(text) // 2]),
    _JSON.map(lambda text: f"data: {text}\n\n"), st.sampled_from(_DEEP),
)  # fmt: skip
_TYPES = st.sampled_from(
    ["application/json", "application/problem+json", SSE, "text/html", "application/x-ndjson", "", "é"]
)
_NAMED = st.none() | st.fixed_dictionaries({"Id": st.none() | _TEXT, "Name": st.none() | _TEXT})
_MEMBERS = [
    "Api", "Deployment", "Elapsed", "LastError", "Operation", "Product", "Request.Body", "Request.Headers",
    "Request.IpAddress", "Request.Method", "Request.OriginalUrl", "Request.Url", "Response", "Response.Body",
    "Response.Headers", "Response.StatusCode", "Subscription", "User",
]  # fmt: skip
_VARIABLES = st.dictionaries(
    st.sampled_from(["usage-app-id", "usage-token", "usage-backend-id", "usage-from-cache"]),
    st.none() | st.booleans() | st.integers(0, 9) | _TEXT,
)
_EXCHANGES = st.builds(
    Exchange,
    policy=st.sampled_from(EVERY_MODE),
    path=st.none() | _TEXT | st.sampled_from(["/deployments/%ff%/completions", "/models/:x", "//model"]),
    query=st.dictionaries(st.just("api-version"), _TEXT),
    request_headers=st.fixed_dictionaries({}, optional={"Content-Type": _TYPES, "Content-Length": _TEXT}),
    request_body=_BODIES,
    response=st.none()
    | st.builds(
        answer,
        _BODIES,
        content_type=st.none() | _TYPES,
        status=st.integers(-1, 1000),
        headers=st.dictionaries(st.sampled_from(list(BEDROCK)), _TEXT | st.integers().map(str)),
    ),
    claims=st.none() | st.dictionaries(st.sampled_from(["appid", "azp"]), _TEXT),
    error=st.none()
    | st.fixed_dictionaries(
        {"Source": st.none() | _TEXT, "Reason": st.none() | _TEXT, "Message": st.just("secret"),
         "Section": st.sampled_from(["inbound", "backend", "outbound", "on-error"])}
    ),
    subscription=_NAMED, product=_NAMED, user=_NAMED, api=_NAMED, operation=_NAMED,
    deployment=st.none() | st.fixed_dictionaries({"GatewayId": st.none() | _TEXT, "Region": st.none() | _TEXT}),
    ip=st.none() | _TEXT,
    elapsed_ms=st.floats(0, 1e9),
    variables=_VARIABLES,
    throws=st.lists(st.sampled_from(_MEMBERS), max_size=3, unique=True),
    unreadable=st.booleans(),
)  # fmt: skip


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("section", [None, "inbound", "backend", "outbound"])
@pytest.mark.parametrize("member", [*_MEMBERS, "Timestamp"])
def test_a_member_that_throws_fails_no_call(gateway: Gateway, mode: str, section: str | None, member: str) -> None:
    error = {"Source": "s", "Reason": "r", "Section": section} if section else None
    outcome = gateway.run(Exchange(policy=mode, response=answer(CHAT), error=error, throws=[member]))
    assert outcome.fault is None, outcome.fault
    assert bool(outcome.sent) == (member != "Timestamp")


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("body", _DEEP, ids=lambda body: f"{len(body)}-{body[:10]}")
def test_deep_json_ends_no_process(gateway: Gateway, mode: str, body: str) -> None:
    outcome = gateway.run(Exchange(policy=mode, request_body=body, response=answer(body)))
    assert "usage" not in outcome.event


@given(_EXCHANGES)
def test_no_expression_throws_and_every_message_is_an_event(gateway: Gateway, exchange: Exchange) -> None:
    """The client's call goes on, its body is not lost, and what is sent is whole, within the limit and readable."""
    outcome = gateway.run(exchange)
    assert outcome.fault is None, outcome.fault
    assert not outcome.lost
    assert len(outcome.sent) == (2 if exchange.error and exchange.error["Section"] == "outbound" else 1)
    for message in outcome.sent:
        assert len(message.body) < MAX_MESSAGE_BYTES
        assert 1 <= len(message.key) <= 128
        members = list(message.event)
        assert members[:3] == ["schema", "request_id", "timestamp"]
        assert "body" not in members[:-1]
        assert b"secret" not in message.body
        result = collected(message.body)
        # a provider's count that cannot be one is set aside and named; everything else is a call
        assert all((dead.field or "").startswith(("usage", "prompt", "completion")) for dead in result.dead_letters)


@given(_JSON.map(json.loads), st.booleans())
def test_asking_for_usage_changes_nothing_else(gateway: Gateway, body: dict[str, Any], stream: bool) -> None:
    body["stream"] = stream
    text = json.dumps(body)
    outcome = gateway.run(Exchange(policy="mode-b+include", request_body=text))
    options = body.get("stream_options")
    if outcome.body_set:
        assert stream and (options is None or (isinstance(options, dict) and "include_usage" not in options))
        body["stream_options"] = {**(options or {}), "include_usage": True}
        assert outcome.request_body is not None
        assert json.dumps(json.loads(outcome.request_body), sort_keys=True) == json.dumps(body, sort_keys=True)
    else:
        assert outcome.request_body == text
        assert not (stream and (options is None or options == {}))
