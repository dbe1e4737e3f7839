"""Numbers that look like usage and are none, usage that is told twice or not yet: as the providers document them.

After the API references of OpenAI (developers.openai.com/api/reference), Anthropic (platform.claude.com/docs), Gemini
(ai.google.dev/api), Amazon Bedrock (docs.aws.amazon.com/bedrock) and Cohere (docs.cohere.com), reduced to what matters.
"""

import json
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from models.call import Call
from models.usage import Usage
from tests.collectors.reading import call_of, call_of_body, collected

CHAT = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
OTHER = {"prompt_tokens": 90, "completion_tokens": 90, "total_tokens": 180, "input_tokens": 90, "output_tokens": 90}
RESPONSES = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
TRUTH = Usage(5, 3, 8)


def stream(*events: tuple[str, object]) -> str:
    """Server-sent events by their names and data."""
    return "".join(
        f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n" for name, data in events
    )


def typed(*events: dict[str, Any]) -> str:
    """Server-sent events that say their name in their data."""
    return stream(*((event["type"], event) for event in events))


def lines(*values: object) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


# --- look-alikes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"usage": None, "tool_usage": {"image_gen": {"input_tokens": 90, "output_tokens": 90}}},
        {"usage_breakdown": {"models": [{"usage": OTHER}]}},
        {"usage": {"context_details": OTHER}},
        {"usage": {"iterations": [OTHER]}},
        {"object": "thread.run.step", "usage": CHAT},
        {"object": "thread.run", "usage": None, "steps": [{"usage": CHAT}]},
        {"object": "batch", "status": "cancelled", "usage": RESPONSES},  # the sum of its requests' usage
        {"object": "eval.run", "per_model_usage": [{"model_name": "m", **CHAT}]},
        {"object": "fine_tuning.job", "trained_tokens": 5768},
        {"object": "page", "data": [{"object": "bucket", "results": [RESPONSES]}]},  # the organisation's usage
        {"type": "message_batch", "request_counts": {"processing": 0, "succeeded": 2}},
        {"name": "cachedContents/1", "model": "m", "usageMetadata": {"totalTokenCount": 90}},  # what a cache holds
        {"predictions": [{"embeddings": {"statistics": {"token_count": 90}}}]},
        {"action": "NONE", "usage": {"topicPolicyUnits": 1, "contentPolicyUnits": 1}},  # Bedrock's guardrails
        {"inputTokens": 90},  # Bedrock's CountTokens
        {"classifications": [], "meta": {"billed_units": {"classifications": 2}}},
        {"tokens": [1, 2], "token_strings": ["a", "b"], "meta": {"api_version": {"version": "1"}}},
        {"pages": [], "usage_info": {"pages_processed": 90, "doc_size_bytes": 90}},
        {"text": "hi", "duration": 8.4, "segments": [{"tokens": [50364, 2425]}]},  # verbose_json of a transcription
    ],
)  # fmt: skip
def test_numbers_that_look_like_usage_are_not_counted(document: dict[str, Any]) -> None:
    for body in (json.dumps(document), lines(document, {}), f"data: {json.dumps(document)}\n\n"):
        assert (call_of_body(body).usage_state, call_of_body(body).usage) == ("missing", Usage())


@pytest.mark.parametrize(
    "document",
    [
        {"input_tokens": 14},  # Anthropic's count_tokens
        {"input_tokens": 14, "context_management": {"original_input_tokens": 90}},
        {"object": "response.input_tokens", "input_tokens": 14},
        {"totalTokens": 31, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 31}]},
        {"object": "list", "data": [{"object": "thread.run", "usage": CHAT}]},
        {"object": "list", "data": [{"object": "thread.run.step", "usage": CHAT}]},
        {"object": "list", "data": [{"object": "chat.completion", "usage": CHAT}]},
        {"object": "vector_store", "usage_bytes": 90},
        {"results": [{"index": 0, "relevance_score": 0.3}], "meta": {"billed_units": {"search_units": 1}}},
    ],
)
def test_counting_and_listing_are_not_metered(document: dict[str, Any]) -> None:
    assert call_of_body(json.dumps(document)).missing_reason == "not_metered"


@pytest.mark.parametrize(
    "document",
    [
        {"usage": CHAT, "usage_breakdown": {"models": [{"model": "a", "usage": OTHER}]}},  # Groq's compound models
        {"usage": RESPONSES | {"context_details": OTHER, "num_sources_used": 3, "cost_in_usd_ticks": 90}},  # xAI
        {"usage": {"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 0, "iterations": [OTHER],
                   "server_tool_use": {"web_search_requests": 90}}},
        {"object": "response", "usage": RESPONSES, "tool_usage": {"image_gen": OTHER}},
        {"usage": CHAT | {"connector_tokens": 90, "connectors": {"web_search": 1}}},  # Mistral's agents
        {"usage": {"inputTokens": 5, "outputTokens": 3}, "trace": {"promptRouter": {"usage": OTHER}}},
        {"tokens": [1], "meta": {"tokens": RESPONSES, "billed_units": OTHER}},
    ],
)  # fmt: skip
def test_look_alikes_beside_the_usage_change_nothing(document: dict[str, Any]) -> None:
    for changed in (document, dict(reversed(document.items()))):
        usage = call_of_body(json.dumps(changed)).usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 3, 8)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [((188, 55, 7355, 7112), Usage(7300, 55, 7355)), ((95, 209, 399, 95), Usage(190, 209, 399)),
     ((91, 29, 120, None), Usage(91, 29, 120)), ((900, 160, None, 5000), Usage(5900, 160, 6060))],
)  # fmt: skip
def test_what_mistrals_connectors_put_in_is_part_of_the_prompt(counts: tuple[int | None, ...], usage: Usage) -> None:
    """The first three are answers in docs.mistral.ai, "Agents: connectors"."""
    stated = dict(zip(("prompt_tokens", "completion_tokens", "total_tokens", "connector_tokens"), counts, strict=True))
    assert call_of_body(json.dumps({"object": "conversation.response", "usage": stated})).usage == usage
    done = {"type": "conversation.response.done", "usage": stated}
    assert call_of_body(typed({"type": "message.output.delta"}, done), stream=True).usage == usage


# --- told twice -----------------------------------------------------------------------------------------------------

STORED = [
    {"object": "response", "status": "completed", "usage": RESPONSES},
    {"object": "chat.completion", "usage": CHAT},
    {"object": "thread.run", "status": "completed", "usage": CHAT},
    {"object": "thread.run.step", "status": "completed", "usage": CHAT},
    {"object": "batch", "status": "completed", "usage": RESPONSES},
]


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: str(stored["object"]))
@pytest.mark.parametrize("method", ["GET", "get", "DELETE"])
def test_what_was_stored_is_not_charged_when_it_is_read(stored: dict[str, Any], method: str) -> None:
    """Whichever way its usage is told; a response that is read may also be streamed."""
    exchange = {"request": {"method": method}, "response": {"status": 200, "body": stored}}
    calls: list[Call] = [
        call_of(method=method, usage=stored["usage"]),
        call_of_body(json.dumps(stored), method=method),
        call_of_body(typed({"type": "response.completed", "response": stored}), method=method, stream=True),
        *collected(exchange).calls,
    ]
    assert {(call.usage, call.missing_reason) for call in calls} == {(Usage(), "not_metered")}
    assert len(calls) == 4


@pytest.mark.parametrize("named", ["path", "url"])
def test_what_was_stored_is_not_charged_when_it_is_changed(named: str) -> None:
    """A POST to a stored completion answers with the whole of it, its usage too."""
    stored = {"object": "chat.completion", "usage": CHAT}
    request = {"method": "POST", named: "https://api.openai.com/v1/chat/completions/chatcmpl-1?x=1"}
    calls = [
        *collected({"request": request, "response": {"status": 200, "body": stored}}).calls,
        call_of(usage=CHAT, usage_source="none"),
        call_of_body(json.dumps(stored), usage_source="none"),
    ]
    assert [(call.usage, call.missing_reason) for call in calls] == [(Usage(), "not_metered")] * 3


ANSWER = {"status_code": 200, "request_id": "r", "body": {"object": "chat.completion", "usage": CHAT}}
LINE = {"id": "batch_req_1", "custom_id": "mine", "response": ANSWER, "error": None}
RESULT = {"custom_id": "mine", "result": {"type": "succeeded", "message": {"type": "message", "usage": RESPONSES}}}


@pytest.mark.parametrize("line", [LINE, RESULT], ids=["openai", "anthropic"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_batchs_results_in_a_body_are_not_calls_of_the_gateway(line: dict[str, Any], count: int) -> None:
    """They are fetched with GET, as often as someone likes; a batch of two is no call of one of its lines' usage."""
    assert call_of_body(lines(*[line] * count)).usage_state == "missing"
    assert call_of_body(lines(*[line] * count), method="GET").missing_reason == "not_metered"


def test_a_batchs_results_that_someone_sends_to_the_hub_are_a_call_each() -> None:
    """Each line says which call it was, so sending the file again counts nothing again."""
    result = collected(lines(LINE, LINE | {"id": "batch_req_2"}).encode())
    assert [(call.request_id, call.usage) for call in result.calls] == [("batch_req_1", TRUTH), ("batch_req_2", TRUTH)]


# --- runs and background responses: usage that comes later -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["response", "thread.run"])
@pytest.mark.parametrize("status", ["queued", "in_progress", "requires_action"])
def test_a_call_that_goes_on_after_its_answer_has_no_usage_yet(kind: str, status: str) -> None:
    """Background mode, and runs that are polled: what tells their usage is a GET, which charges nothing."""
    body = {"id": "1", "object": kind, "status": status, "model": "m", "error": None, "usage": None}
    call = call_of_body(json.dumps(body))
    assert (call.usage, call.missing_reason, call.model) == (Usage(), "unrecognised", "m")


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_a_response_that_ended_is_charged_however_it_ended(status: str) -> None:
    error = {"code": "server_error"} if status == "failed" else None
    body = {"object": "response", "status": status, "error": error, "usage": RESPONSES}
    assert call_of_body(json.dumps(body)).usage == TRUTH
    without = call_of_body(json.dumps(body | {"usage": None}))
    assert without.missing_reason == ("error_response" if error else "unrecognised")


@pytest.mark.parametrize("final", ["response.completed", "response.incomplete", "response.failed"])
def test_a_background_response_that_is_streamed_tells_its_usage_at_its_end(final: str) -> None:
    begun = [{"type": f"response.{status}", "response": {"status": status, "usage": None}}
             for status in ("queued", "created", "in_progress")]  # fmt: skip
    assert call_of_body(typed(*begun, {"type": final, "response": {"usage": RESPONSES}}), stream=True).usage == TRUTH
    assert call_of_body(typed(*begun), stream=True).missing_reason == "truncated"


RUN = {"object": "thread.run", "model": "gpt-4o", "usage": None}
STEP = {"object": "thread.run.step", "usage": CHAT}
BEGUN = [("thread.run.created", RUN | {"status": "queued"}), ("thread.run.step.created", STEP | {"usage": None}),
         ("thread.run.step.completed", STEP)]  # fmt: skip


@pytest.mark.parametrize("final", ["completed", "incomplete", "failed", "cancelled", "expired"])
def test_a_run_is_charged_once_and_its_steps_are_not(final: str) -> None:
    usage = {name: 2 * count for name, count in CHAT.items()}  # of two steps
    end = [("thread.run.step.completed", STEP), (f"thread.run.{final}", RUN | {"status": final, "usage": usage})]
    for events in ([*BEGUN, *end], [*BEGUN, *reversed(end)]):
        call = call_of_body(stream(*events, ("done", "[DONE]")), stream=True)
        assert (call.usage, call.model) == (Usage(10, 6, 16), "gpt-4o")


def test_a_run_that_waits_for_its_tools_is_charged_by_the_stream_that_completes_it() -> None:
    waiting = stream(*BEGUN, ("thread.run.requires_action", RUN), ("done", "[DONE]"))
    assert call_of_body(waiting, stream=True).missing_reason == "unrecognised"


# --- audio and images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "usage"),
    [
        (
            [{"type": "transcript.text.delta", "delta": "hi"},
             {"type": "transcript.text.done", "text": "hi",
              "usage": RESPONSES | {"type": "tokens", "input_token_details": {"audio_tokens": 5, "text_tokens": 0}}}],
            TRUTH._replace(audio_prompt_tokens=5),
        ),
        ([{"type": "speech.audio.delta", "audio": "AAAA"}, {"type": "speech.audio.done", "usage": RESPONSES}], TRUTH),
        (
            [{"type": "image_generation.partial_image", "b64_json": "AAAA", "partial_image_index": 0},
             {"type": "image_generation.completed", "b64_json": "AAAA",
              "usage": RESPONSES | {"input_tokens_details": {"text_tokens": 1, "image_tokens": 4}}}],
            TRUTH._replace(image_prompt_tokens=4),
        ),
        ([{"type": "image_edit.partial_image"}, {"type": "image_edit.completed", "usage": RESPONSES}], TRUTH),
    ],
    ids=["transcription", "speech", "image", "edit"],
)  # fmt: skip
def test_audio_and_images_that_are_streamed_tell_their_usage_at_their_end(
    events: list[dict[str, Any]], usage: Usage
) -> None:
    assert call_of_body(typed(*events), stream=True).usage == usage
    assert call_of_body(typed(*events[:-1]), stream=True).usage_state == "missing"


@pytest.mark.parametrize("body", ["ID3\x04\x00", "RIFF$\x00", "hello, this is a transcript", '{"text": "hi"}'])
def test_speech_and_plain_transcripts_state_no_usage(body: str) -> None:
    assert call_of_body(body).missing_reason == "unrecognised"


def test_each_answer_of_a_realtime_session_that_is_sent_to_the_hub_is_a_call() -> None:
    """One event a line; each response.done states what it alone used."""
    details = {"input_token_details": {"cached_tokens": 1, "audio_tokens": 4},
               "output_token_details": {"text_tokens": 1, "audio_tokens": 2}}  # fmt: skip
    done = {"type": "response.done", "response": {"object": "realtime.response", "usage": RESPONSES | details}}
    result = collected(lines(done, done).encode())
    assert [call.usage for call in result.calls] == [
        TRUTH._replace(cached_prompt_tokens=1, audio_prompt_tokens=4, audio_completion_tokens=2)
    ] * 2


def test_the_answers_of_a_realtime_session_in_one_body_are_its_sum() -> None:
    """Each response.done is of another response, one told twice is one; a part of a session tells nothing."""
    details = {"input_token_details": {"cached_tokens": 1}, "output_token_details": {"audio_tokens": 2}}
    first, second, third = (
        {"type": "response.done", "response": {"id": name, "usage": RESPONSES | extra}}
        for name, extra in (("a", details), ("b", {}), ("c", details))
    )
    other = {"type": "session.updated", "session": {"model": "gpt-realtime"}}
    for body in (lines(other, first, second, second, third), stream(*(("x", each) for each in (first, second, third)))):
        expected = Usage(15, 9, 24, cached_prompt_tokens=2, audio_completion_tokens=4)
        assert call_of_body(body, stream=True).usage == expected
        assert call_of_body(body[:-9], stream=True).missing_reason == "truncated"
        assert call_of_body(body[9:], stream=True, body_offset=9).missing_reason == "truncated"
    assert call_of_body(lines(first)).usage.total_tokens == 8


SAID = "conversation.item.input_audio_transcription.completed"


def test_what_was_said_in_a_realtime_session_is_added_to_its_answers_in_any_order() -> None:
    """By tokens or by seconds, as the model that wrote it down is billed (developers.openai.com, "Realtime costs")."""
    answer = {"type": "response.done", "response": {"id": "a", "usage": RESPONSES}}
    by_tokens = [
        {"type": SAID, "item_id": f"item_{number}", "content_index": 0, "transcript": "hi",
         "usage": {"type": "tokens", "input_tokens": 13, "output_tokens": 9, "total_tokens": 22,
                   "input_token_details": {"text_tokens": 0, "audio_tokens": 13}}}
        for number in range(3)
    ]  # fmt: skip
    seconds = [{"type": SAID, "item_id": f"s{n}", "usage": {"type": "duration", "seconds": n / 10}} for n in (1, 2)]
    for order in permutations([answer, *by_tokens[:2], seconds[0]]):
        body = lines(*order, seconds[1], seconds[1])
        usage = call_of_body(body, stream=True).usage
        assert usage == Usage(31, 21, 52, audio_prompt_tokens=26, audio_seconds=Decimal("0.3"))
        assert call_of_body(body[:-9], stream=True).missing_reason == "truncated"
    assert call_of_body(lines(*by_tokens), stream=True).usage.total_tokens == 66
    assert call_of_body(lines(*reversed(seconds)), stream=True).usage == Usage(audio_seconds=Decimal("0.3"))


@pytest.mark.parametrize("final", ["completed", "incomplete", "failed"])
def test_several_responses_of_one_websocket_are_added_up(final: str) -> None:
    ends = [
        {
            "type": f"response.{final if n else 'completed'}",
            "response": {"id": f"r{n}", "model": "m", "usage": RESPONSES},
        }
        for n in range(3)
    ]
    for body in (lines(*ends, ends[1]), typed(*ends, ends[1])):
        assert call_of_body(body, stream=True).usage == Usage(15, 9, 24)
        assert call_of_body(body[:-9], stream=True).missing_reason == "truncated"
    assert call_of_body(typed(ends[2]), stream=True).usage == TRUTH


def test_the_turns_of_a_live_session_with_gemini_are_added_up() -> None:
    """Each turn is billed with all that was said before it (ai.google.dev, "Live API: best practices"). Of several
    words on one turn the last is its usage."""
    turns = [
        {"usageMetadata": {"promptTokenCount": 100 * n, "responseTokenCount": 40, "totalTokenCount": 100 * n + 40,
                           "promptTokensDetails": [{"modality": "TEXT", "tokenCount": n},
                                                   {"modality": "AUDIO", "tokenCount": 90}],
                           "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}]}}
        for n in (1, 2, 3)
    ]  # fmt: skip
    complete: dict[str, Any] = {"serverContent": {"turnComplete": True}}
    first = turns[0] | {"serverContent": {"modelTurn": {}}}
    expected = Usage(500, 80, 580, audio_prompt_tokens=180, audio_completion_tokens=80)
    setup: dict[str, Any] = {"setupComplete": {}}
    assert call_of_body(lines(setup, first, turns[1] | complete, turns[2] | complete), stream=True).usage == expected
    assert call_of_body(lines(setup, complete, turns[1], complete, turns[2]), stream=True).usage == expected
    cut = lines(setup, turns[1] | complete, turns[2])
    assert call_of_body(cut[:-5], stream=True).missing_reason == "truncated"
    alone = call_of_body(json.dumps(turns[0] | complete)).usage
    assert alone == Usage(100, 40, 140, audio_prompt_tokens=90, audio_completion_tokens=40)
    assert call_of_body(json.dumps({"usageMetadata": {"responseTokenCount": 4}})).usage.completion_tokens == 4


def test_what_anthropics_compaction_took_is_added_as_it_is_billed() -> None:
    """The numbers of platform.claude.com, "Compaction": 203,000 and 4,500 are billed. Other iterations are in the
    counts beside them, or are another model's."""
    going_on = {"input_tokens": 23000, "output_tokens": 1000}
    iterations = [{"type": "compaction", "input_tokens": 180000, "output_tokens": 3500},
                  {"type": "message", **going_on},
                  {"type": "advisor_message", "input_tokens": 9, "output_tokens": 9}]  # fmt: skip
    usage = going_on | {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "iterations": iterations}
    expected = Usage(203000, 4500, 207500, cached_prompt_tokens=0, cache_write_prompt_tokens=0)
    assert call_of_body(json.dumps({"type": "message", "usage": usage})).usage == expected
    assert call_of_body(json.dumps({"usage": going_on | {"iterations": iterations}})).usage == Usage(
        203000, 4500, 207500
    )
    body = typed(
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
    )
    assert call_of_body(body, stream=True).usage == expected
    cached = {"type": "compaction", "input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3}
    usage = {"input_tokens": 5, "output_tokens": 3, "iterations": [cached, cached]}
    assert call_of(usage=usage).usage == Usage(11, 9, 20, cached_prompt_tokens=4)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        # docs.voyageai.com, "Contextualized chunk embeddings"
        ({"object": "list", "data": [{"object": "list", "data": [{"object": "embedding"}]}],
          "usage": {"total_tokens": 10}}, Usage(total_tokens=10)),
        # docs.mistral.ai, "Audio transcription"
        ({"model": "voxtral-mini-2507", "text": "x", "segments": [], "usage": {
            "prompt_audio_seconds": 203, "prompt_tokens": 4, "total_tokens": 3264, "completion_tokens": 635}},
         Usage(4, 635, 639, audio_seconds=Decimal(203), total_tokens_reported=3264)),
        ({"usage": {"input_tokens": 1, "output_tokens": 2, "cache_creation": {
            "ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6}}},
         Usage(11, 2, 13, cache_write_prompt_tokens=10)),
    ],
)  # fmt: skip
def test_usage_in_further_shapes(body: dict[str, Any], usage: Usage) -> None:
    assert call_of_body(json.dumps(body)).usage == usage


@pytest.mark.parametrize(
    "body",
    [
        # boto3's converse_stream, an event a line
        lines({"messageStart": {"role": "assistant"}}, {"messageStop": {"stopReason": "end_turn"}},
              {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}, "metrics": {}}}),
        # what speaks as Anthropic does may open without a usage
        typed({"type": "message_start", "message": {"model": "m", "content": []}},
              {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
               "usage": {"input_tokens": 5, "output_tokens": 3}},
              {"type": "message_stop"}),
        # the usage of Gemini's stream in a chunk after the one that ends it
        typed({"type": "", "candidates": [{"index": 0, "finishReason": "STOP"}]},
              {"type": "", "candidates": [{"index": 0, "content": {}}],
               "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}}),
    ],
    ids=["converse-stream", "anthropic-compatible", "gemini"],
)  # fmt: skip
def test_streams_that_tell_their_usage_elsewhere(body: str) -> None:
    assert call_of_body(body, stream=True).usage == TRUTH


@pytest.mark.parametrize("count", ["NaN", "Infinity"])
def test_a_count_that_is_no_number_of_json_is_no_usage_and_hides_no_other(count: str) -> None:
    body = f'{{"model": "m", "usage": {{"prompt_tokens": {count}, "completion_tokens": 1}}}}'
    for text in (body, f"data: {body}\n\ndata: [DONE]\n\n", f"[{body}]"):
        assert (call_of_body(text).missing_reason, call_of_body(text).model) == ("unrecognised", "m")
    harmless = f'{{"score": {count}, "usage": {{"prompt_tokens": 3, "completion_tokens": 1}}}}'
    for text in (harmless, f"data: {harmless}\n\ndata: [DONE]\n\n", f"[{harmless}]"):
        assert call_of_body(text).usage.total_tokens == 4
