"""How others get at the usage of a response: `(prompt, completion, cached prompt, reasoning)` tokens, or None.

Each is given what costs it least: no server-sent-events parser of its own, plain objects where it takes them. Nothing
here goes to the network: litellm would fetch prices when it is imported, and tokenizers for streams without usage.

Imported by extract.py alone, from benchmarks/requirements.txt.
"""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from benchmarks.bodies import Body

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}

import litellm  # reads the environment
from genai_prices import extract_usage
from openai.types.chat import ChatCompletionChunk

litellm.suppress_debug_info = True
logging.getLogger("LiteLLM").setLevel(logging.ERROR)

Counts = tuple[int, int, int, int]
"""0 also where a count is not reported: not every peer tells these apart."""

Peer = Callable[[Body], Counts | None]


def _chunks(body: Body) -> Iterator[bytes]:
    """The data of streams that have one `data: ` line for each chunk, as those of chat completions do."""
    return (line[6:] for line in body.text.encode().splitlines() if line.startswith(b"data: {"))


def parse_every_chunk(body: Body) -> Counts | None:
    """No peer but the floor: JSON parsed into plain objects, and the last usage taken."""
    usage = None
    for data in _chunks(body):
        chunk = from_json(data)
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
    if usage is None:
        return None
    prompt_details = usage.get("prompt_tokens_details") or {}
    details = usage.get("completion_tokens_details") or {}
    cached, reasoning = prompt_details.get("cached_tokens") or 0, details.get("reasoning_tokens") or 0
    return usage["prompt_tokens"], usage["completion_tokens"], cached, reasoning


def openai_models(body: Body) -> Counts | None:
    """The SDK's models, made as its own stream makes them."""
    usage = None
    for data in _chunks(body):
        usage = ChatCompletionChunk.construct(**from_json(data)).usage or usage
    return _of_object(usage)


def openai_models_validated(body: Body) -> Counts | None:
    """The SDK's models as plain pydantic models: faster, but they refuse what is not exactly OpenAI's own."""
    usage = None
    for data in _chunks(body):
        usage = ChatCompletionChunk.model_validate_json(data).usage or usage
    return _of_object(usage)


def litellm_builder(body: Body) -> Counts | None:
    """The whole answer built of its chunks; litellm then has its usage."""
    answer: Any = litellm.stream_chunk_builder([from_json(data) for data in _chunks(body)])
    return _of_object(answer.usage)


def _of_object(usage: Any) -> Counts | None:
    if usage is None:
        return None
    cached = getattr(usage.prompt_tokens_details, "cached_tokens", None) or 0
    reasoning = getattr(usage.completion_tokens_details, "reasoning_tokens", None) or 0
    return usage.prompt_tokens, usage.completion_tokens, cached, reasoning


_GENAI_PROVIDERS = {
    "anthropic": ("anthropic", {"messages": "default"}),
    "azure-openai": ("azure", {"chat": "chat", "embeddings": "embeddings"}),
    "bedrock": ("aws", {"converse": "default", "invoke": "anthropic"}),
    "cohere": ("cohere", {"chat": "tokens", "embeddings": "embeddings"}),
    "google": ("google", {"generateContent": "default"}),
    "google-vertex": ("google", {"generateContent": "default"}),
    "groq": ("groq", {"chat": "default"}),
    "mistral": ("mistral", {"chat": "default", "embeddings": "default"}),
    "openai": ("openai", {"chat": "chat", "embeddings": "embeddings", "images": "images", "responses": "responses"}),
}
"""Our names of providers and operations -> its provider and api_flavor."""


def genai_extractor(body: Body) -> Counts | None:
    """A whole JSON body through the extractor of its provider."""
    provider, flavors = _GENAI_PROVIDERS.get(body.provider, ("", {}))
    if body.operation not in flavors:
        raise NotImplementedError
    found = extract_usage(from_json(body.text), provider_id=provider, api_flavor=flavors[body.operation])
    usage = vars(found.usage)
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "output_reasoning_tokens")
    prompt, completion, cached, reasoning = (usage.get(name) or 0 for name in names)
    return prompt, completion, cached, reasoning
