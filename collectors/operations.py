"""Which requests ask a model for tokens, by method and path. What asks for something else has no usage of its own."""

import re
from typing import Final

METERED_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})

ASKS_NO_MODEL: Final = (
    # What is kept for later: lists, uploads, jobs, whose own calls are told elsewhere or never pass the gateway.
    "/(?:files|uploads|batches|fine_tuning|vector_stores|containers|assistants"
    "|conversations|evals|cachedContents)"
    "(?:/(?!chat|completions|embeddings|responses|messages|images|audio"
    "|invocations|openai|models?|v[0-9])[^/]+){0,5}/?$"
    # What was answered before is told again: a stored completion or run that is changed, anything that is cancelled.
    "|/completions/[^/]+/?$|/threads/[^/]+/runs/[^/]+/?$|/cancel/?$"
    "|/threads(?!/runs/?$)(?:/[^/]+)?/?$|/threads/[^/]+/messages(?:/[^/]+)?/?$"
    # What has no tokens, is not billed by them, or only counts them.
    "|/(?:moderations|rerank|count[_-]tokens|input_tokens|tokenize|detokenize|client_secrets)/?$"
    "|/count-tokens:[a-z]+$|:(?:countTokens|computeTokens|batchGenerateContent|asyncBatchEmbedContent)$"
)
"""The paths of such requests, whatever their method. The policies have the same text (policies/fragments/
usage-identity.xml), so it holds only what .NET reads as Python does, and no backslash or `<`. Case does not matter."""

_ASKS_NO_MODEL: Final = re.compile(ASKS_NO_MODEL, re.IGNORECASE)


def asks_no_model(path: str) -> bool:
    """True for the path of a URL, without its query, that is known to ask for something else than a model's tokens."""
    return _ASKS_NO_MODEL.search(path) is not None
