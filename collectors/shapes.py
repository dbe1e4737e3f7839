"""What providers' usage objects look like, as a table. normalise.py gives them their one meaning.

To add a provider, add a `Shape` (and in places.py the place where it stands, if that is new). Sources: the response
types of the `openai` (3.x), `anthropic` (2.x), `google-genai`, `cohere` and `boto3` SDKs, and recorded responses
(samples/NOTES.md).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

Path = tuple[str | int, ...]


class Shape(NamedTuple):
    """One way to state usage.

    The shape is recognised by any of the members `marks`. `counts` says where each of our counts stands: of several
    places for one count, the first that is given. `outside_prompt` and `outside_completion` name the parts that this
    provider leaves out of its prompt or completion count; they are added to it, because ours contain them.
    `TOOL_USE` is such a part that we have no count of its own for. `as_text`: the counts may be strings of digits.
    """

    name: str
    marks: frozenset[str]
    counts: tuple[tuple[str, Path], ...]
    outside_prompt: tuple[str, ...] = ()
    outside_completion: tuple[str, ...] = ()
    as_text: bool = False


TOOL_USE = "tool_use_prompt_tokens"
"""Prompt tokens of built-in tools, which Gemini and Mistral count apart from the prompt."""

SHAPES: tuple[Shape, ...] = (
    Shape(
        # Chat completions, completions, embeddings and assistants' runs, on OpenAI, Azure OpenAI and everything
        # compatible. Cached tokens are part of prompt_tokens; all completion details are parts of completion_tokens,
        # except where the total says otherwise (see normalise).
        name="openai_chat",
        marks=frozenset({"prompt_tokens", "completion_tokens"}),
        counts=(
            ("prompt_tokens", ("prompt_tokens",)),
            ("completion_tokens", ("completion_tokens",)),
            ("total_tokens_reported", ("total_tokens",)),
            ("cached_prompt_tokens", ("prompt_tokens_details", "cached_tokens")),
            ("cached_prompt_tokens", ("prompt_cache_hit_tokens",)),  # DeepSeek
            ("cached_prompt_tokens", ("cache_read_input_tokens",)),  # Claude on Databricks
            ("cached_prompt_tokens", ("cached_tokens",)),  # Together, Moonshot
            ("cache_write_prompt_tokens", ("prompt_tokens_details", "cache_write_tokens")),
            ("cache_write_prompt_tokens", ("cache_creation_input_tokens",)),
            (
                "audio_seconds",
                ("prompt_audio_seconds",),
            ),  # Mistral's transcriptions, whose total alone has their tokens
            (TOOL_USE, ("connector_tokens",)),  # Mistral's conversations: what its tools put into the prompt
            ("audio_prompt_tokens", ("prompt_tokens_details", "audio_tokens")),
            ("image_prompt_tokens", ("prompt_tokens_details", "image_tokens")),
            ("cached_audio_prompt_tokens", ("prompt_tokens_details", "cached_tokens_details", "audio_tokens")),
            ("cached_image_prompt_tokens", ("prompt_tokens_details", "cached_tokens_details", "image_tokens")),
            ("reasoning_tokens", ("completion_tokens_details", "reasoning_tokens")),
            ("reasoning_tokens", ("reasoning_tokens",)),  # Together, Perplexity
            ("audio_completion_tokens", ("completion_tokens_details", "audio_tokens")),
            ("image_completion_tokens", ("completion_tokens_details", "image_tokens")),
            ("accepted_prediction_tokens", ("completion_tokens_details", "accepted_prediction_tokens")),
            ("rejected_prediction_tokens", ("completion_tokens_details", "rejected_prediction_tokens")),
        ),
        outside_prompt=(TOOL_USE,),
    ),
    Shape(
        # Anthropic messages. input_tokens leaves out what was read from and written to the cache; there is no total.
        name="anthropic_messages",
        marks=frozenset({"cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "iterations"}),
        counts=(
            ("prompt_tokens", ("input_tokens",)),
            ("completion_tokens", ("output_tokens",)),
            ("cached_prompt_tokens", ("cache_read_input_tokens",)),
            ("cache_write_prompt_tokens", ("cache_creation_input_tokens",)),
            ("reasoning_tokens", ("output_tokens_details", "thinking_tokens")),
        ),
        outside_prompt=("cached_prompt_tokens", "cache_write_prompt_tokens"),
    ),
    Shape(
        # The responses API, images, transcriptions by tokens, realtime; cached tokens are part of input_tokens.
        # Anthropic's usage without cache counts reads alike. Transcription and realtime write input_token_details.
        name="openai_responses",
        marks=frozenset({"input_tokens", "output_tokens"}),
        counts=(
            ("prompt_tokens", ("input_tokens",)),
            ("completion_tokens", ("output_tokens",)),
            ("total_tokens_reported", ("total_tokens",)),
            ("cached_prompt_tokens", ("input_tokens_details", "cached_tokens")),
            ("cached_prompt_tokens", ("input_token_details", "cached_tokens")),
            ("cache_write_prompt_tokens", ("input_tokens_details", "cache_write_tokens")),
            ("audio_prompt_tokens", ("input_token_details", "audio_tokens")),
            ("audio_prompt_tokens", ("input_tokens_details", "audio_tokens")),
            ("image_prompt_tokens", ("input_tokens_details", "image_tokens")),
            ("image_prompt_tokens", ("input_token_details", "image_tokens")),
            ("cached_audio_prompt_tokens", ("input_token_details", "cached_tokens_details", "audio_tokens")),
            ("cached_audio_prompt_tokens", ("input_tokens_details", "cached_tokens_details", "audio_tokens")),
            ("cached_image_prompt_tokens", ("input_token_details", "cached_tokens_details", "image_tokens")),
            ("cached_image_prompt_tokens", ("input_tokens_details", "cached_tokens_details", "image_tokens")),
            ("reasoning_tokens", ("output_tokens_details", "reasoning_tokens")),
            ("reasoning_tokens", ("output_tokens_details", "thinking_tokens")),
            ("audio_completion_tokens", ("output_token_details", "audio_tokens")),
            ("image_completion_tokens", ("output_tokens_details", "image_tokens")),
            ("audio_seconds", ("seconds",)),  # a realtime session whose input is transcribed by length
        ),
    ),
    Shape(
        # Transcriptions that are billed by their length.
        name="openai_duration",
        marks=frozenset({"seconds"}),
        counts=(("audio_seconds", ("seconds",)),),
    ),
    Shape(
        # Gemini and Vertex AI generateContent. Thoughts are counted apart from candidates, tools apart from the prompt.
        name="gemini",
        marks=frozenset({"promptTokenCount", "candidatesTokenCount", "responseTokenCount"}),
        counts=(
            ("prompt_tokens", ("promptTokenCount",)),
            ("completion_tokens", ("candidatesTokenCount",)),
            ("completion_tokens", ("responseTokenCount",)),  # the Live API
            ("total_tokens_reported", ("totalTokenCount",)),
            ("cached_prompt_tokens", ("cachedContentTokenCount",)),
            (TOOL_USE, ("toolUsePromptTokenCount",)),
            ("reasoning_tokens", ("thoughtsTokenCount",)),
            ("audio_prompt_tokens", ("promptTokensDetails", "AUDIO")),
            ("image_prompt_tokens", ("promptTokensDetails", "IMAGE")),
            ("cached_audio_prompt_tokens", ("cacheTokensDetails", "AUDIO")),
            ("cached_image_prompt_tokens", ("cacheTokensDetails", "IMAGE")),
            ("audio_completion_tokens", ("candidatesTokensDetails", "AUDIO")),
            ("audio_completion_tokens", ("responseTokensDetails", "AUDIO")),
            ("image_completion_tokens", ("candidatesTokensDetails", "IMAGE")),
            ("image_completion_tokens", ("responseTokensDetails", "IMAGE")),
        ),
        outside_prompt=(TOOL_USE,),
        outside_completion=("reasoning_tokens",),
    ),
    Shape(
        # Gemini's interactions API.
        name="gemini_interactions",
        marks=frozenset({"total_input_tokens", "total_output_tokens"}),
        counts=(
            ("prompt_tokens", ("total_input_tokens",)),
            ("completion_tokens", ("total_output_tokens",)),
            ("total_tokens_reported", ("total_tokens",)),
            ("cached_prompt_tokens", ("total_cached_tokens",)),
            (TOOL_USE, ("total_tool_use_tokens",)),
            ("reasoning_tokens", ("total_thought_tokens",)),
            ("audio_prompt_tokens", ("input_tokens_by_modality", "AUDIO")),
            ("image_prompt_tokens", ("input_tokens_by_modality", "IMAGE")),
            ("cached_audio_prompt_tokens", ("cached_tokens_by_modality", "AUDIO")),
            ("cached_image_prompt_tokens", ("cached_tokens_by_modality", "IMAGE")),
            ("audio_completion_tokens", ("output_tokens_by_modality", "AUDIO")),
            ("image_completion_tokens", ("output_tokens_by_modality", "IMAGE")),
        ),
        outside_prompt=(TOOL_USE,),
        outside_completion=("reasoning_tokens",),
    ),
    Shape(
        # Cohere v1 and v2: what the model read and wrote, else what is billed.
        name="cohere",
        marks=frozenset({"billed_units"}),
        counts=(
            ("prompt_tokens", ("tokens", "input_tokens")),
            ("prompt_tokens", ("billed_units", "input_tokens")),
            ("completion_tokens", ("tokens", "output_tokens")),
            ("completion_tokens", ("billed_units", "output_tokens")),
            ("cached_prompt_tokens", ("cached_tokens",)),
        ),
    ),
    Shape(
        # Amazon Bedrock converse: inputTokens leaves the cache out, totalTokens contains it.
        name="bedrock_converse",
        marks=frozenset({"inputTokens", "outputTokens"}),
        counts=(
            ("prompt_tokens", ("inputTokens",)),
            ("completion_tokens", ("outputTokens",)),
            ("total_tokens_reported", ("totalTokens",)),
            ("cached_prompt_tokens", ("cacheReadInputTokens",)),
            ("cached_prompt_tokens", ("cacheReadInputTokenCount",)),
            ("cache_write_prompt_tokens", ("cacheWriteInputTokens",)),
            ("cache_write_prompt_tokens", ("cacheWriteInputTokenCount",)),
        ),
        outside_prompt=("cached_prompt_tokens", "cache_write_prompt_tokens"),
    ),
    Shape(
        # Amazon Bedrock invoke with a response stream: the metrics of the last chunk.
        name="bedrock_invocation",
        marks=frozenset({"inputTokenCount", "outputTokenCount"}),
        counts=(
            ("prompt_tokens", ("inputTokenCount",)),
            ("completion_tokens", ("outputTokenCount",)),
            ("cached_prompt_tokens", ("cacheReadInputTokenCount",)),
            ("cache_write_prompt_tokens", ("cacheWriteInputTokenCount",)),
        ),
        outside_prompt=("cached_prompt_tokens", "cache_write_prompt_tokens"),
    ),
    Shape(
        # Amazon Bedrock invoke: headers of the response, in lower case. Some models (AI21, Cohere, Mistral) state usage
        # nowhere else; where others state it in the body too, the two agree (recorded responses).
        name="bedrock_headers",
        marks=frozenset({"x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count"}),
        counts=(
            ("prompt_tokens", ("x-amzn-bedrock-input-token-count",)),
            ("completion_tokens", ("x-amzn-bedrock-output-token-count",)),
            ("cached_prompt_tokens", ("x-amzn-bedrock-cache-read-input-token-count",)),
            ("cache_write_prompt_tokens", ("x-amzn-bedrock-cache-write-input-token-count",)),
        ),
        outside_prompt=("cached_prompt_tokens", "cache_write_prompt_tokens"),
        as_text=True,
    ),
    Shape(
        # Meta's models on Amazon Bedrock invoke.
        name="bedrock_meta",
        marks=frozenset({"prompt_token_count", "generation_token_count"}),
        counts=(
            ("prompt_tokens", ("prompt_token_count",)),
            ("completion_tokens", ("generation_token_count",)),
        ),
    ),
    Shape(
        # Amazon Titan on Bedrock invoke; its embeddings have no results.
        name="bedrock_titan",
        marks=frozenset({"inputTextTokenCount"}),
        counts=(
            ("prompt_tokens", ("inputTextTokenCount",)),
            ("completion_tokens", ("results", 0, "tokenCount")),
            ("completion_tokens", ("totalOutputTextTokenCount",)),
        ),
    ),
    Shape(
        # Ollama: at the top of the answer, or of the last line of a stream. A prompt wholly in the cache is left out.
        name="ollama",
        marks=frozenset({"prompt_eval_count", "eval_count"}),
        counts=(
            ("prompt_tokens", ("prompt_eval_count",)),
            ("completion_tokens", ("eval_count",)),
        ),
    ),
    Shape(
        # A total alone: Voyage, and gateways that log nothing else.
        name="total_only",
        marks=frozenset({"total_tokens"}),
        counts=(("total_tokens_reported", ("total_tokens",)),),
    ),
)

TOP_LEVEL = frozenset({"ollama", "bedrock_meta", "bedrock_titan"})
"""The shapes that stand at the top of an answer, among its other members."""

LIKE_ANTHROPICS = frozenset({"anthropic_messages", "openai_responses"})
"""The shapes that may be Anthropic's, whose message_delta may state a part of the usage: what changed."""

USAGE_HEADERS: frozenset[str | int] = frozenset(
    path[0] for shape in SHAPES if shape.name == "bedrock_headers" for _, path in shape.counts
)
"""The response headers that are read, in lower case. Nothing else of headers is looked at or kept."""


def recognise(usage: Mapping[str, Any]) -> Shape | None:
    """The first shape of the table that has a mark in `usage` which is not null, or None."""
    for shape in SHAPES:
        if not shape.marks.isdisjoint(usage):
            for mark in shape.marks:
                if usage.get(mark) is not None:
                    return shape
    return None
