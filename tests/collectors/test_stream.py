"""collectors.stream: reading from the end gives exactly what reading all chunks in their order gives."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.aws_events import payloads
from collectors.body import read_body
from collectors.places import find_model, find_usage
from collectors.reading import BodyReading
from collectors.sse import EventStream
from tests.collectors.recorded import SAMPLES

Chunk = dict[str, Any]

STREAMS: list[dict[str, Any]] = [
    record
    for samples in (SAMPLES, SAMPLES.with_name("providers.jsonl"))
    for record in map(json.loads, samples.read_text(encoding="utf-8").splitlines())
    if record["streaming"]
]


def in_order(chunks: list[Chunk]) -> tuple[Any, str | None]:
    """Usage and model: the last usage that is not null, and Anthropic's start with all updates on top of it."""
    usage: Any = None
    metrics: Any = None
    model: str | None = None
    opening: Chunk = {}
    for chunk in chunks:
        model = model or find_model(chunk)
        match chunk.get("type"):
            case "message_start":
                opening = chunk["message"]["usage"]
            case "message_delta":
                update = {name: count for name, count in chunk["usage"].items() if count is not None}
                usage = {**opening, **update}
            case "message_stop":
                metrics = find_usage(chunk)
            case _:
                usage = find_usage(chunk) or usage
    return usage or metrics, model


def chunks_of(body: str) -> list[Chunk]:
    """All chunks of a recorded body in whichever framing."""
    text = body.encode()
    data = list(EventStream(text)) or payloads(text) or text.splitlines()
    if body.startswith("["):
        return list(json.loads(body))
    return [json.loads(chunk) for chunk in data if chunk.startswith(b"{")]


@pytest.mark.parametrize("record", STREAMS, ids=lambda record: f"{record['provider']}-{record['operation']}")
def test_recorded_stream(record: dict[str, Any]) -> None:
    body = record["response"]["body"]
    usage, model, reason = read_body(body, is_tail=False)
    assert (usage, model) == in_order(chunks_of(body))
    assert (usage is None) == (reason is not None)


# --- generated streams ------------------------------------------------------------------------------------------------

LOOK_ALIKES = ['{"usage": {"prompt_tokens": 9}}', "data: [DONE]", '"finish_reason": "stop"', "a\u2028b", "é" * 200, ""]
texts = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(LOOK_ALIKES)
tokens = st.integers(0, 10**6)


@st.composite
def chat(draw: st.DrawFn) -> list[Chunk]:
    """OpenAI and all that are like it: usage in a chunk of its own, with the finish, in every chunk, or not at all."""
    where = draw(
        st.sampled_from(["own chunk", "with the finish", "every chunk", "an early chunk", "x_groq", "nowhere"])
    )
    prompt, choices = draw(tokens), draw(st.integers(1, 2))

    def usage(completion: int) -> Chunk:
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def chunk(text: str | None, index: int, stated: Chunk | None) -> Chunk:
        finish = "stop" if text is None else None
        choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
        return {"model": model, "choices": [choice], "usage": stated} if nulls or stated else {"choices": [choice]}

    model, nulls = draw(st.sampled_from(["gpt-4o", None])), draw(st.booleans())
    chunks: list[Chunk] = [{"model": "", "choices": [], "prompt_filter_results": []}] if draw(st.booleans()) else []
    answer = draw(st.lists(texts, max_size=30))
    for number, text in enumerate(answer):
        early = where == "every chunk" or (where == "an early chunk" and number == 0)
        chunks.append(chunk(text, number % choices, usage(number) if early else None))
    for index in range(choices):
        stated = where == "every chunk" or (where == "with the finish" and index == choices - 1)
        chunks.append(chunk(None, index, usage(len(answer) + index) if stated else None))
    if where == "own chunk":
        chunks.append({"model": "gpt-4o", "choices": [], "usage": usage(draw(tokens))})
    if where == "x_groq":
        chunks.append({"choices": [], "x_groq": {"usage": usage(draw(tokens))}})
    if draw(st.booleans()):
        chunks.append({"choices": [], "usage": None})
    return chunks


@st.composite
def anthropic(draw: st.DrawFn) -> list[Chunk]:
    """A start with the prompt's counts, and running updates; on Bedrock with metrics of its own behind the stop."""
    details = st.dictionaries(st.sampled_from(["cache_read_input_tokens", "cache_creation_input_tokens"]), tokens)
    opening = {"input_tokens": draw(tokens), "output_tokens": 1} | draw(details)
    chunks: list[Chunk] = [{"type": "message_start", "message": {"model": "claude-x", "usage": opening}}]
    chunks += [{"type": "content_block_delta", "delta": {"text": text}} for text in draw(st.lists(texts, max_size=30))]
    chunks.insert(draw(st.integers(1, len(chunks))), {"type": "ping"})
    updates = draw(st.lists(st.dictionaries(st.sampled_from([*opening]), st.none() | tokens), min_size=1, max_size=3))
    for number, update in enumerate(updates, 1):
        reason = "end_turn" if number == len(updates) else None
        usage = {**update, "output_tokens": draw(tokens)}
        chunks.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})
    metrics = {"inputTokenCount": draw(tokens), "outputTokenCount": draw(tokens)}
    stop: Chunk = {"amazon-bedrock-invocationMetrics": metrics} if draw(st.booleans()) else {}
    return [*chunks, {"type": "message_stop"} | stop]


@st.composite
def gemini(draw: st.DrawFn) -> list[Chunk]:
    """Running totals in every chunk."""
    answer = draw(st.lists(texts, min_size=1, max_size=30))
    return [
        {
            "candidates": [{"content": {"parts": [{"text": text}]}} | ({"finishReason": "STOP"} if last else {})],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": number},
            "modelVersion": "gemini-x",
        }
        for number, text in enumerate(answer)
        for last in [number == len(answer) - 1]
    ]


@st.composite
def responses(draw: st.DrawFn) -> list[Chunk]:
    """One final event that repeats the whole answer."""
    answer = draw(st.lists(texts, max_size=30))
    usage = {"input_tokens": draw(tokens), "output_tokens": draw(tokens)}
    final = draw(st.sampled_from(["response.completed", "response.incomplete", "response.failed"]))
    return [
        {"type": "response.created", "response": {"model": "gpt-x", "usage": None}},
        *({"type": "response.output_text.delta", "delta": text} for text in answer),
        {"type": final, "response": {"output": answer, "model": "gpt-x", "usage": usage}},
    ]


@st.composite
def framed(draw: st.DrawFn, chunks: list[Chunk]) -> str:
    """Server-sent events with all that the standard leaves free."""
    end, space = draw(st.sampled_from(["\n", "\r\n", "\r"])), draw(st.sampled_from(["", " "]))
    indent, done = draw(st.sampled_from([None, 0])), draw(st.booleans())
    lines: list[str] = []
    for data in [*(json.dumps(chunk, indent=indent, ensure_ascii=False) for chunk in chunks), *["[DONE]"] * done]:
        lines += draw(st.sampled_from([[], [": keep-alive"], ["event: x", "id: 1"], [""]]))
        lines += [f"data:{space}{line}" for line in data.split("\n")] + [""]
    return draw(st.sampled_from(["", "\ufeff"])) + end.join(lines) + draw(st.sampled_from(["", end]))


@given(st.data(), st.sampled_from([chat, anthropic, gemini, responses]))
def test_generated_stream(data: st.DataObject, provider: Any) -> None:
    chunks = data.draw(provider())
    reading = read_body(data.draw(framed(chunks)), is_tail=False)
    assert isinstance(reading, BodyReading)
    usage, model = in_order(chunks)
    assert (reading.usage, reading.model) == (usage, model)
