"""The text of an answer and of a request, for an estimate of its tokens: handed to the tokenizer, then dropped.

Where text stands is a table, as it is for usage (places.py). What is not in it is not the model's: the padding of a
stream, signatures, a filter's results, and the events that repeat at the end of a stream what its parts have said.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from collectors import aws_events, sse
from collectors.reading import loads


def _under(path: str, *paths: str) -> tuple[str, ...]:
    return tuple(f"{path}.{below}" for below in paths)


_MESSAGE: Final = (
    "content", "content.text", "content.thinking", "content.thinking.text", "content.name", "content.input {}",
    "refusal", "reasoning_content", "reasoning", "thinking", "tool_plan",
    "tool_calls.function.name", "tool_calls.function.arguments {}", "function_call.name", "function_call.arguments",
)  # fmt: skip
_CONVERSE: Final = (
    "content.text", "content.toolUse.name", "content.toolUse.input {}", "content.reasoningContent.reasoningText.text",
)  # fmt: skip
_GEMINI: Final = (
    "parts.text", "parts.functionCall.name", "parts.functionCall.args {}", "parts.executableCode.code",
    "parts.functionResponse.name", "parts.functionResponse.response {}",
)  # fmt: skip

ANSWERS: Final = (
    # OpenAI and compatible: chat completions, completions
    *_under("choices.message", *_MESSAGE), *_under("choices.delta", *_MESSAGE), "choices.text",
    # the responses API, whole and streamed; assistants, streamed
    *_under("output", "content.text", "content.refusal", "name", "arguments", "input", "summary.text"),
    "delta", "item.name", "delta.content.text.value",
    # Anthropic: messages, and the older completions
    "content.text", "content.thinking", "content.name", "content.input {}",
    "content_block.name", "delta.text", "delta.thinking", "delta.partial_json", "completion",
    # Gemini, and its interactions API
    *_under("candidates.content", *_GEMINI), "steps.content.text",
    # Cohere v2 and v1; Ollama
    *_under("message", *_MESSAGE), *_under("delta.message", *_MESSAGE), "text", "generations.text", "response",
    # Amazon Bedrock: converse; invoke with Nova, Meta, Titan, Mistral, AI21
    *_under("output.message", *_CONVERSE), "start.toolUse.name", "delta.toolUse.input", "delta.reasoningContent.text",
    *_under("contentBlockDelta.delta", "text", "toolUse.input"), "contentBlockStart.start.toolUse.name",
    "generation", "results.outputText", "outputText", "outputs.text", "completions.data.text",
)  # fmt: skip
"""Paths from the top of an answer, or of a chunk of one, to its texts. Lists are gone through; behind `{}` an object is
taken as JSON text, which is how a model reads and writes it."""

REQUESTS: Final = (
    *_under("messages", "role", "name", "content.content", "content.content.text", *_MESSAGE, *_CONVERSE,
            "content.toolResult.content.text", "content.toolResult.content.json {}"),
    *_under("input", "role", "content", "content.text", "text", "name", "arguments", "output"), "input",
    *_under("contents", *_GEMINI), *_under("systemInstruction", *_GEMINI), "instructions", "system", "system.text",
    "message", "chat_history.message", "preamble", "prompt", "inputText", "texts",
    "tools {}", "functions {}", "toolConfig.tools {}", "response_format.json_schema {}", "text.format.schema {}",
)  # fmt: skip
"""The same for what a model is asked."""

TURNS: Final = ("messages", "input", "instructions", "system", "message", "chat_history")
"""What holds the messages of a chat. Not Gemini's `contents`: it counts the text alone (docs/estimates.md)."""

BEYOND_TEXT: Final = (
    "previous_response_id", "conversation", "assistant_id", "cachedContent", "prompt.id", "images", "messages.images",
    *_under("messages.content", "image_url", "input_audio", "file", "source", "content.source",
            "image", "document", "video", "audio"),
    *_under("input", "data", "content.image_url", "content.input_audio", "content.file_id", "content.file_data",
            "content.file_url"),
    *_under("contents.parts", "inlineData", "inline_data", "fileData", "file_data"),
)  # fmt: skip
"""What makes a prompt more than its text: pictures, sound, files, and what the provider remembers of a conversation."""


@dataclass(slots=True)
class _Place:
    """`path` is set where text stands, `below` are the members to look into."""

    path: str | None = None
    as_json: bool = False
    below: dict[str, "_Place"] = field(default_factory=dict)


def _tree(paths: Iterable[str]) -> _Place:
    root = _Place()
    for path in paths:
        place = root
        for member in path.removesuffix(" {}").split("."):
            place = place.below.setdefault(member, _Place())
        place.path, place.as_json = path, path.endswith(" {}")
    return root


_ANSWERS, _REQUESTS, _BEYOND_TEXT = _tree(ANSWERS), _tree(REQUESTS), _tree(BEYOND_TEXT)


def answer_texts(body: str) -> list[str]:
    """The texts of a whole response body, in any of the framings that collectors.body reads; the parts of a stream are
    joined, because a tokenizer sees the whole. Empty if there are none."""
    texts: dict[tuple[str, int | None], list[str]] = {}
    for document in _documents(body.encode("utf-8", "replace").strip(b"\xef\xbb\xbf \t\r\n")):
        if isinstance(document, dict) and _brings_text(document):
            said: dict[tuple[str, int | None], str] = {}
            for path, choice, text in _texts(document, _ANSWERS, None):
                # Together says a text under two names, others the reasoning.
                if said.setdefault((text, choice), path) == path:
                    texts.setdefault((path, choice), []).append(text)
    return ["".join(parts) for parts in texts.values()]


class RequestText(NamedTuple):
    """`texts` are the pieces that are tokens of their own, `turns` the messages of a chat (0 where it is none), and
    `tokens` those that came as numbers instead of text."""

    texts: list[str]
    turns: int
    tokens: int


def request_text(request: Mapping[str, Any]) -> RequestText | None:
    """The text of a request to a model, None if it is not all that the model was given."""
    if _any(request, _BEYOND_TEXT):
        return None
    embeds = "embed" in str(request.get("model"))  # its `input` looks like the responses API's
    return RequestText(
        texts=[text for _, _, text in _texts(request, _REQUESTS, None)],
        turns=0 if embeds else sum(_turns(request.get(name)) for name in TURNS),
        tokens=_numbers(request.get("input")) + _numbers(request.get("prompt")),
    )


def _documents(body: bytes) -> Iterable[Any]:
    if body[:1] in (b"{", b"["):
        whole = loads(body)
        if whole is None:
            return map(loads, body.splitlines())
        if isinstance(whole, list):
            return whole
        # Some gateways keep a stream's last chunk alone, which is not the answer.
        return [] if str(whole.get("object")).endswith(".chunk") else [whole]
    if sse.is_event_stream(body):
        return map(loads, sse.EventStream(body))
    return map(loads, aws_events.payloads(body) or ())


def _brings_text(document: Mapping[str, Any]) -> bool:
    """False for an event that repeats others', for sound, and for the text of a transcription, which is billed by its
    length where no usage is stated."""
    kind, thing = document.get("type"), document.get("object")
    if isinstance(kind, str) and kind.startswith("response."):
        return kind == "response.output_item.added" or (kind.endswith(".delta") and "audio" not in kind)
    if isinstance(thing, str) and thing.startswith("thread."):
        return thing == "thread.message.delta"
    return not isinstance(document.get("text"), str) or not document.keys().isdisjoint(_OF_COHERE)


_OF_COHERE: Final = frozenset({"event_type", "generation_id"})


def _texts(value: object, place: _Place, choice: int | None) -> Iterator[tuple[str, int | None, str]]:
    """Path, number of the choice or content block where one is given, text."""
    if isinstance(value, str):
        if value and place.path:
            yield place.path, choice, value
    elif place.as_json and place.path:
        if value:
            yield place.path, choice, to_json(value, inf_nan_mode="null").decode()
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, place, choice)
    elif isinstance(value, dict):
        index = value.get("index")
        choice = index if isinstance(index, int) else choice
        for member, below in place.below.items():
            if member in value:
                yield from _texts(value[member], below, choice)


def _any(value: object, place: _Place) -> bool:
    if place.path:
        return bool(value)
    if isinstance(value, list):
        return any(_any(item, place) for item in value)
    return isinstance(value, dict) and any(_any(value.get(name), below) for name, below in place.below.items())


def _turns(value: object) -> int:
    return sum(isinstance(item, dict) for item in value) if isinstance(value, list) else int(bool(value))


def _numbers(value: object) -> int:
    """How many tokens a prompt has that was sent as their numbers."""
    if isinstance(value, list):
        return sum(map(_numbers, value))
    return int(isinstance(value, int) and not isinstance(value, bool))
