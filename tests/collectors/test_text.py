"""collectors.text: what an answer and a request say, in every provider's shape."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.text import RequestText, answer_texts, request_text

SAMPLES = Path(__file__).parents[2] / "samples"
RECORDS = [
    json.loads(line)
    for name in ("recorded.jsonl", "providers.jsonl")
    for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()
]


def stream(*chunks: dict[str, Any]) -> str:
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def texts(answer: str | dict[str, Any]) -> Counter[str]:
    return Counter(answer_texts(answer if isinstance(answer, str) else json.dumps(answer)))


ANSWERS: dict[str, tuple[str | dict[str, Any], list[str]]] = {
    "chat": (
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "A"}}], "usage": {"x": "no"}},
        ["A"],
    ),
    "chat, two choices": (
        stream(
            *({"choices": [{"index": n % 2, "delta": {"content": part}}]} for n, part in enumerate("A1B2C3")),
        ),
        ["ABC", "123"],
    ),
    "chat with tools": (
        {"choices": [{"message": {"tool_calls": [{"id": "no", "function": {"name": "f", "arguments": '{"a":1}'}}]}}]},
        ["f", '{"a":1}'],
    ),
    "chat with reasoning": (
        {"choices": [{"message": {"reasoning": "R", "reasoning_content": "R", "content": "A"}}]},
        ["R", "A"],
    ),
    "chat refused": ({"choices": [{"message": {"content": None, "refusal": "I cannot."}}]}, ["I cannot."]),
    "mistral with thinking": (
        {"choices": [{"message": {"content": [{"type": "thinking", "thinking": [{"text": "T"}]}, "A"]}}]},
        ["T", "A"],
    ),
    "together, a text under two names": (
        stream({"choices": [{"index": 0, "text": "A", "delta": {"content": "A"}}]}),
        ["A"],
    ),
    "completions": ({"choices": [{"text": "A", "index": 0}, {"text": "B", "index": 1}]}, ["A", "B"]),
    "responses": (
        {
            "object": "response",
            "instructions": "no",
            "text": {"format": {"type": "text"}},
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "S"}], "encrypted_content": "no"},
                {"type": "message", "content": [{"type": "output_text", "text": "A", "annotations": []}]},
                {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "no"},
            ],
        },
        ["S", "A", "f", "{}"],
    ),
    "responses, streamed": (
        stream(
            {"type": "response.created", "response": {"instructions": "no", "output": []}},
            {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f", "arguments": ""}},
            {"type": "response.function_call_arguments.delta", "delta": '{"a"', "obfuscation": "no"},
            {"type": "response.function_call_arguments.delta", "delta": ":1}"},
            {"type": "response.function_call_arguments.done", "arguments": '{"a":1}'},
            {"type": "response.output_item.done", "item": {"name": "f", "arguments": '{"a":1}'}},
            {"type": "response.audio.delta", "delta": "bm8="},
            {"type": "response.output_text.done", "text": "no"},
            {"type": "response.completed", "response": {"output": [{"name": "f", "arguments": '{"a":1}'}]}},
        ),
        ["f", '{"a":1}'],
    ),
    "assistants, streamed": (
        stream(
            {"object": "thread.run", "instructions": "no"},
            {"object": "thread.message.delta", "delta": {"content": [{"index": 0, "text": {"value": "A"}}]}},
            {"object": "thread.message", "content": [{"type": "text", "text": {"value": "A"}}]},
        ),
        ["A"],
    ),
    "anthropic": (
        {
            "type": "message",
            "content": [
                {"type": "thinking", "thinking": "T", "signature": "no"},
                {"type": "text", "text": "A"},
                {"type": "tool_use", "id": "no", "name": "f", "input": {"a": 1}},
            ],
        },
        ["T", "A", "f", '{"a":1}'],
    ),
    "anthropic, streamed": (
        stream(
            {"type": "message_start", "message": {"id": "no", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "A"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "B"}},
            {"type": "content_block_start", "index": 1, "content_block": {"name": "f", "input": {}}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "signature_delta", "signature": "no"}},
        ),
        ["AB", "f", "{}"],
    ),
    "anthropic's older completions": ({"type": "completion", "completion": "A", "stop": "no"}, ["A"]),
    "gemini": (
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"text": "A", "thoughtSignature": "no"},
                            {"functionCall": {"name": "f", "args": {"a": [1]}}},
                            {"executableCode": {"language": "no", "code": "C"}},
                        ]
                    },
                }
            ]
        },
        ["A", "f", '{"a":[1]}', "C"],
    ),
    "gemini, an array of chunks": (
        json.dumps([{"candidates": [{"content": {"parts": [{"text": part}]}}]} for part in "AB"]),
        ["AB"],
    ),
    "cohere v2": (
        {"message": {"tool_plan": "P", "content": [{"type": "text", "text": "A"}]}, "finish_reason": "COMPLETE"},
        ["P", "A"],
    ),
    "cohere v1": ({"text": "A", "generation_id": "no", "chat_history": [{"message": "no"}]}, ["A"]),
    "cohere v1, streamed": (
        '{"event_type":"text-generation","text":"A"}\n{"event_type":"text-generation","text":"B"}\n'
        '{"event_type":"stream-end","response":{"text":"AB","chat_history":[{"message":"AB"}]}}\n',
        ["AB"],
    ),
    "ollama": (
        '{"message":{"thinking":"T","content":""},"done":false}\n{"message":{"content":"A"},"done":true}\n',
        ["T", "A"],
    ),
    "ollama's generate": ('{"response":"A","done":false}\n{"response":"B","done":true,"context":[1]}', ["AB"]),
    "bedrock converse": (
        {"output": {"message": {"content": [{"text": "A"}, {"toolUse": {"name": "f", "input": {"a": 1}}}]}}},
        ["A", "f", '{"a":1}'],
    ),
    "titan": ({"inputTextTokenCount": 1, "results": [{"tokenCount": 1, "outputText": "A"}]}, ["A"]),
    "the last chunk of a stream alone": (
        {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "."}}]},
        [],
    ),
    "a transcription": ({"text": "what was said", "duration": 4.2}, []),
    "embeddings": ({"object": "list", "data": [{"object": "embedding", "embedding": "bm8="}]}, []),
    "an error": ({"error": {"message": "no"}}, []),
    "lines of a document": ('{\n"choices": [\n{"text": "no', []),
    "not JSON": ("<html>no</html>", []),
    "nothing": ("", []),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_the_texts_of_an_answer(name: str) -> None:
    answer, said = ANSWERS[name]
    assert texts(answer) == Counter(said)


REQUESTS: dict[str, tuple[dict[str, Any], RequestText | None]] = {
    "chat": (
        {"model": "no", "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]},
        RequestText(["system", "S", "user", "Q"], 2, 0),
    ),
    "chat with parts and tools": (
        {
            "messages": [{"role": "user", "content": [{"text": "Q"}]}, {"role": "tool", "content": "R"}],
            "tools": [{"type": "function"}],
        },
        RequestText(["user", "Q", "tool", "R", '[{"type":"function"}]'], 2, 0),
    ),
    "responses": ({"instructions": "I", "input": "Q"}, RequestText(["Q", "I"], 2, 0)),
    "anthropic": (
        {"system": [{"type": "text", "text": "S"}], "messages": [{"role": "user", "content": "Q"}]},
        RequestText(["user", "Q", "S"], 2, 0),
    ),
    "gemini": (
        {"systemInstruction": {"parts": [{"text": "S"}]}, "contents": [{"role": "no", "parts": [{"text": "Q"}]}]},
        RequestText(["Q", "S"], 0, 0),
    ),
    "cohere v1": (
        {"message": "Q", "chat_history": [{"role": "no", "message": "H"}]},
        RequestText(["Q", "H"], 2, 0),
    ),
    "completions": ({"prompt": ["P", "Q"]}, RequestText(["P", "Q"], 0, 0)),
    "tokens": ({"prompt": [[1, 2], [3]]}, RequestText([], 0, 3)),
    "embeddings": ({"model": "text-embedding-3-small", "input": "Q"}, RequestText(["Q"], 0, 0)),
    "several embeddings": ({"input": ["Q", "R"]}, RequestText(["Q", "R"], 0, 0)),
    "a picture": ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "no"}}]}]}, None),
    "anthropic's picture": ({"messages": [{"content": [{"type": "image", "source": {"data": "no"}}]}]}, None),
    "gemini's file": ({"contents": [{"parts": [{"text": "Q"}, {"fileData": {"fileUri": "no"}}]}]}, None),
    "a conversation that is remembered": ({"input": "Q", "previous_response_id": "resp_1"}, None),
    "nothing remembered": ({"input": [], "previous_response_id": None}, RequestText([], 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_the_text_of_a_request(name: str) -> None:
    request, text = REQUESTS[name]
    assert request_text(request) == text


def at(document: Any, *path: str) -> list[str]:
    """The strings at a path, gone through lists: the plain way, for comparison."""
    if isinstance(document, list):
        return [text for item in document for text in at(item, *path)]
    if not path:
        return [document] if isinstance(document, str) else []
    return at(document.get(path[0]), *path[1:]) if isinstance(document, dict) else []


def chunks(record: dict[str, Any]) -> list[dict[str, Any]]:
    lines = record["response"]["body"].splitlines()
    data = (line.removeprefix("data:").strip() for line in lines)
    return [json.loads(line) for line in data if line.startswith("{")]


REPEATED_AT_THE_END = {
    "responses": ("response", "output", "content", "text"),
    "chat": ("response", "text"),  # Cohere v1
    "generate": ("response", "generations", "text"),
}


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(record, id=record["source"][-60:])
        for record in RECORDS
        if record["streaming"]
        and "vnd.amazon" not in str(record["response"])
        and any(marker in record["response"]["body"] for marker in ("response.completed", "stream-end"))
    ],
)
def test_the_joined_parts_of_a_stream_are_the_text_that_its_last_event_repeats(record: dict[str, Any]) -> None:
    whole = "".join(at(chunks(record)[-1], *REPEATED_AT_THE_END[record["operation"]]))
    assert not whole or whole in answer_texts(record["response"]["body"])


def test_recorded_answers_that_cost_tokens_have_text() -> None:
    """Every answer of a model in the samples that used completion tokens says something, except with hidden reasoning
    or pictures alone, or where the answer is kept elsewhere (assistants)."""
    silent = [
        record["source"]
        for record in RECORDS
        if (record["expected"] or {}).get("completion_tokens")
        and record["operation"] not in ("images", "assistants-run", "assistants-run-retrieve")
        and not answer_texts(record["response"]["body"])
    ]
    assert silent == []


@given(st.sampled_from(RECORDS), st.floats(0, 1))
def test_a_stream_that_breaks_off_says_the_beginning_of_what_it_says(record: dict[str, Any], share: float) -> None:
    body = record["response"]["body"]
    parts = answer_texts(body[: int(len(body) * share)])
    if record["streaming"]:
        assert all(any(text.startswith(part) for text in answer_texts(body)) for part in parts)


MEMBERS = [
    "choices", "message", "messages", "delta", "content", "text", "index", "input", "output", "parts", "tools",
    "tool_calls", "function", "arguments", "prompt", "type", "object", "source", "name", "candidates",
]  # fmt: skip
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(nested)
def test_nothing_that_is_json_is_a_fault(document: Any) -> None:
    for framed in (document, [document], {"choices": document}, {"output": document}):
        text = json.dumps(framed)
        assert all(answer_texts(text))
        assert all(answer_texts(f"data: {text}\n\ndata: {text}"))
    for request in (document, {"messages": document, "input": document, "prompt": document}):
        if isinstance(request, dict):
            found = request_text(request)
            assert found is None or (all(found.texts) and found.turns >= 0 and found.tokens >= 0)


@given(st.binary(max_size=200))
def test_no_bytes_are_a_fault(data: bytes) -> None:
    for text in (data.decode("latin-1"), "{" + data.decode("latin-1"), "data: " + data.decode("utf-8", "replace")):
        answer_texts(text)


def test_deep_nesting_is_no_fault() -> None:
    for depth in (10, 190, 1000, 100_000):
        for opened, closed in (("[", "]"), ('{"choices":', "}"), ('{"content":', "}")):
            answer_texts('{"choices":' + opened * depth + '"x"' + closed * depth + "}")
