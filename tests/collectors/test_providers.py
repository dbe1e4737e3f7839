"""Every other provider's recorded answers give their true counts: samples/providers.jsonl; and longer ones of all
providers: samples/lengths.jsonl."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectors.body import read_body
from collectors.normalise import normalise
from collectors.shapes import recognise
from models.usage import Usage
from tests.collectors.reading import call_of, collected, dead_letter_of

SAMPLES = Path(__file__).parents[2] / "samples"


def _records(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / file).read_bytes().splitlines()]


RECORDS = _records("providers.jsonl")
IN_HEADERS = [record for record in RECORDS if "headers" in record["response"]]
IN_BODY = [record for record in RECORDS if record["expected"] and "usage-only-in-headers" not in record["tags"]]
CACHE_OUTSIDE_PROMPT = ("anthropic", "bedrock")
"""Where the provider's own prompt count leaves cache reads and writes out."""


def _name(record: dict[str, Any]) -> str:
    return f"{record['provider']}-{record['operation']}-{record['source'].rsplit('/', 1)[-1]}"


def _read(body: str, *, is_tail: bool = False) -> Usage | None:
    usage = read_body(body, is_tail=is_tail).usage
    shape = recognise(usage) if usage is not None else None
    return normalise(usage, shape) if usage is not None and shape is not None else None


@pytest.mark.parametrize("record", IN_BODY + _records("lengths.jsonl"), ids=_name)
def test_recorded_answer_gives_its_true_counts(record: dict[str, Any]) -> None:
    """Normalised here by hand: prompt with cache and tools, completion with reasoning, whoever counts them apart."""
    expected = {name: count for name, count in record["expected"].items() if count is not None}
    usage = _read(record["response"]["body"])
    assert usage is not None
    prompt, completion = expected.get("prompt_tokens"), expected.get("completion_tokens")
    reasoning = expected.get("reasoning_tokens")
    if prompt is not None and record["provider"] in CACHE_OUTSIDE_PROMPT:
        prompt += expected.get("cached_tokens", 0) + expected.get("cache_creation_tokens", 0)
    if prompt is not None:
        prompt += expected.get("tool_use_prompt_tokens", 0)
    if record["provider"].startswith("google") and reasoning is not None:
        completion = (completion or 0) + reasoning
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt, completion)
    assert usage.cached_prompt_tokens == expected.get("cached_tokens")
    assert usage.cache_write_prompt_tokens == expected.get("cache_creation_tokens")
    assert usage.reasoning_tokens == reasoning
    assert expected["total_tokens"] in (usage.total_tokens, usage.total_tokens_reported)


@pytest.mark.parametrize("record", [record for record in RECORDS if not record["expected"]], ids=_name)
def test_recorded_answer_without_usage_is_missing(record: dict[str, Any]) -> None:
    reading = read_body(record["response"]["body"], is_tail=False)
    assert reading.usage is None
    if record["operation"] in ("rerank", "models-list", "moderations") and record["response"]["status"] == 200:
        assert reading.missing_reason == "not_metered"


@pytest.mark.parametrize("record", IN_BODY, ids=_name)
def test_an_answer_cut_at_its_end_never_gives_another_count(record: dict[str, Any]) -> None:
    body: str = record["response"]["body"]
    whole = _read(body)
    for end in range(0, len(body), max(1, len(body) // 150)):
        assert _read(body[:end]) in (None, whole)


STATED = re.compile(
    r'"(?:usage|usageMetadata|meta|amazon-bedrock-invocationMetrics)"\s*:\s*(?=\{)'
    r'|"prompt_eval_count"[^{}]*?"eval_count"\s*:\s*\d+,|"prompt_token_count"[^{}]*?"generation_token_count"\s*:\s*\d+,'
)
TEXTS = [record for record in IN_BODY if STATED.search(record["response"]["body"])]
"""Not Amazon's binary streams, and not Ollama's answers to a prompt that was in its cache: without the prompt's count,
a part of the body does not show that it would not follow."""


def _usage_span(body: str) -> tuple[int, int]:
    """From where to where the body states its usage, the last time that it does."""
    stated = list(STATED.finditer(body))[-1]
    if not body[stated.end() :].startswith("{"):
        return stated.start(), stated.end()
    return stated.start(), json.JSONDecoder().raw_decode(body, stated.end())[1]


@pytest.mark.parametrize("record", TEXTS, ids=_name)
def test_a_cut_behind_the_usage_finds_it(record: dict[str, Any]) -> None:
    body: str = record["response"]["body"]
    whole = _read(body)
    for end in range(_usage_span(body)[1], len(body) + 1):
        assert _read(body[:end]) == whole, body[:end][-200:]


@pytest.mark.parametrize("record", TEXTS, ids=_name)
def test_a_tail_gives_the_whole_count_or_none_and_one_that_starts_before_the_usage_gives_it(
    record: dict[str, Any],
) -> None:
    body: str = record["response"]["body"]
    whole, (start, _) = _read(body), _usage_span(body)
    near = range(max(1, start - 50), min(start + 300, len(body)))
    for begin in [*range(1, len(body), max(1, len(body) // 150)), *near]:
        found = _read(body[begin:], is_tail=True)
        assert found in (None, whole), body[begin:][:200]
        # A ranking states a total as Voyage does; and of Groq's older stream not the inner object alone is believed.
        if begin <= start and record["provider"] != "voyage" and "x_groq-usage" not in record["tags"]:
            assert found == whole, body[begin:][:200]


def test_gemini_without_sse_sends_one_array() -> None:
    chunks = [
        {"candidates": [{"content": {}}], "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 1}},
        {
            "candidates": [{"finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 9, "thoughtsTokenCount": 4},
            "modelVersion": "gemini-2.5-flash",
        },
    ]
    reading = read_body(json.dumps(chunks), is_tail=False)
    assert _read(json.dumps(chunks)) == Usage(7, 13, 20, reasoning_tokens=4)
    assert reading.model == "gemini-2.5-flash"


def test_transcriptions_are_billed_by_tokens_or_by_seconds() -> None:
    by_tokens = {"usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
                           "input_token_details": {"text_tokens": 0, "audio_tokens": 14}}}  # fmt: skip
    by_seconds = {"text": "hello", "usage": {"type": "duration", "seconds": 9.25}}
    assert _read(json.dumps(by_tokens)) == Usage(14, 45, 59, audio_prompt_tokens=14)
    seconds = _read(json.dumps(by_seconds))
    assert seconds is not None
    assert str(seconds.audio_seconds) == "9.25"
    assert seconds.total_tokens is None


def test_reasoning_outside_the_completion_shows_in_the_total() -> None:
    """xAI's models: the total is prompt, completion and reasoning."""
    usage = {"prompt_tokens": 31, "completion_tokens": 9, "total_tokens": 240,
             "completion_tokens_details": {"reasoning_tokens": 200}}  # fmt: skip
    assert _read(json.dumps({"usage": usage})) == Usage(31, 209, 240, reasoning_tokens=200)


# --- usage in response headers: Amazon Bedrock ----------------------------------------------------------------------

INPUT, OUTPUT = "x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count"
FORMS: dict[str, Callable[[dict[str, str]], object]] = {
    "object": dict,
    "names as Bedrock writes them": lambda headers: {name.title(): value for name, value in headers.items()},
    "object of lists": lambda headers: {name: [value] for name, value in headers.items()},
    "pairs": lambda headers: [[name, value] for name, value in headers.items()],
}


def _truth_in_headers(record: dict[str, Any]) -> Usage:
    """Cache reads and writes are left out of the input count. Nothing else is counted in headers."""
    expected = record["expected"]
    cached, written = expected["cached_tokens"], expected["cache_creation_tokens"]
    prompt = expected["prompt_tokens"] + (cached or 0) + (written or 0)
    return Usage(prompt, expected["completion_tokens"], prompt + expected["completion_tokens"], cached, written)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("record", IN_HEADERS, ids=_name)
def test_usage_in_headers_is_read_in_whatever_form_they_were_recorded(record: dict[str, Any], form: str) -> None:
    headers = FORMS[form](record["response"]["headers"] | {"set-cookie": "MARK", "x-api-key": "MARK"})
    for body in ({"body": record["response"]["body"]}, {"body": json.loads(record["response"]["body"])}, {}):
        result = collected({"response": {"status": 200, "headers": headers} | body})
        assert [call.usage for call in result.calls] == [_truth_in_headers(record)]
        assert "MARK" not in repr(result)


@pytest.mark.parametrize("record", IN_HEADERS, ids=_name)
def test_a_usage_event_may_state_the_headers_as_its_usage(record: dict[str, Any]) -> None:
    """As text, as they came, or as numbers."""
    headers = record["response"]["headers"]
    numbers = {name: int(value) for name, value in headers.items()}
    for usage in (headers, numbers):
        assert call_of(usage=usage, body=record["response"]["body"]).usage == _truth_in_headers(record)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"usage": {"input_tokens": 7, "output_tokens": 5}}, Usage(7, 5, 12)),
        ({"results": [{"index": 0, "relevance_score": 0.3}]}, None),
        ('{"outputs": [{"text": "it was cut he', Usage(4, 2, 6)),
        ({"message": "it failed after all"}, Usage(4, 2, 6)),
    ],
)
def test_the_body_knows_best(body: object, usage: Usage | None) -> None:
    result = collected({"response": {"status": 200, "headers": {INPUT: "4", OUTPUT: "2"}, "body": body}})
    assert [call.usage for call in result.calls] == [usage or Usage()]
    assert [call.missing_reason for call in result.calls] == [None if usage else "not_metered"]


@pytest.mark.parametrize("headers", [None, 5, "x", [], {}, [5, "x", [], ["a"], [INPUT, "4", "4"], [[], "4"]], {"a": 4}])
def test_headers_that_state_nothing_are_no_usage(headers: object) -> None:
    result = collected({"response": {"status": 200, "headers": headers, "body": "{}"}})
    assert [call.missing_reason for call in result.calls] == ["unrecognised"]


@pytest.mark.parametrize("value", ["many", "", "-1", "1.5", "4, 4", "***", None, True, ["4", "4"], [], {}, "9" * 5000])
def test_a_header_that_is_no_count_leaves_the_call_without_usage(value: object) -> None:
    """A recorder may have hidden it; in the event's own usage it would be named."""
    response = {"status": 200, "headers": {INPUT: value, OUTPUT: "2"}, "body": "{}"}
    assert [call.missing_reason for call in collected({"response": response}).calls] == ["unrecognised"]
    if value is not None:
        assert dead_letter_of(usage={INPUT: value, OUTPUT: "2"}).field == f"usage.{INPUT}"
