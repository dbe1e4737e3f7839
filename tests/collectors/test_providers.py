"""Every other provider's recorded answers give their true counts: samples/providers.jsonl."""

import json
from pathlib import Path
from typing import Any

import pytest

from collectors.body import read_body
from collectors.normalise import normalise
from collectors.shapes import recognise
from models.usage import Usage

RECORDS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "samples" / "providers.jsonl").read_text(encoding="utf-8").splitlines()
]
CACHE_OUTSIDE_PROMPT = ("anthropic", "bedrock")
"""Where the provider's own prompt count leaves cache reads and writes out."""


def _name(record: dict[str, Any]) -> str:
    return f"{record['provider']}-{record['operation']}-{record['source'].rsplit('/', 1)[-1]}"


def _read(body: str) -> Usage | None:
    usage = read_body(body, is_tail=False).usage
    shape = recognise(usage) if usage is not None else None
    return normalise(usage, shape) if usage is not None and shape is not None else None


@pytest.mark.parametrize("record", [record for record in RECORDS if record["expected"]], ids=_name)
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


@pytest.mark.parametrize("record", [record for record in RECORDS if record["expected"]], ids=_name)
def test_an_answer_cut_at_its_end_never_gives_another_count(record: dict[str, Any]) -> None:
    body: str = record["response"]["body"]
    whole = _read(body)
    for end in range(0, len(body), max(1, len(body) // 150)):
        assert _read(body[:end]) in (None, whole)


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


@pytest.mark.parametrize(
    "document",
    [
        {"usage": None, "tool_usage": {"image_gen": {"input_tokens": 5, "output_tokens": 6}}},
        {"usage_breakdown": {"models": [{"usage": {"prompt_tokens": 3}}]}},
        {"usage": {"context_details": {"input_tokens": 3}}},
        {"object": "thread.run.step", "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        {"input_tokens": 14},
        {"totalTokens": 31, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 31}]},
        {"object": "list", "data": [{"object": "thread.run", "usage": {"prompt_tokens": 3}}]},
    ],
)
def test_look_alikes_are_not_counted(document: dict[str, Any]) -> None:
    assert _read(json.dumps(document)) is None
