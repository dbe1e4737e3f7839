"""Which requests ask a model for tokens, by method and path. What asks for something else has no usage of its own."""

import re
from typing import Final

METERED_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})

_BASE: Final = "/(?:openai|v[0-9][0-9a-z]*(?:/messages)?|api/projects/[^/]+|locations/[^/]+)"
_ID: Final = (
    "(?:(?:file|asst|assistant|batch|msgbatch|upload|vs|vsfb|ft|ftjob|ftckpt|cntr|cfile|eval|evalrun)[_-][^/]+"
    "|[0-9a-f]{8}-[0-9a-f-]{27})"
)
ASKS_NO_MODEL: Final = (
    # What is kept for later: lists, uploads, jobs, whose own calls are told elsewhere or never pass the gateway.
    f"{_BASE}/(?:files|uploads|batches|batch/jobs|fine_tuning/jobs|vector_stores|containers|assistants|evals"
    f"|cachedContents)(?:/{_ID}(?:/(?:content|parts|complete|cancel|start|pause|resume|files|file_batches|search|runs"
    f"|checkpoints|permissions)(?:/{_ID})?){{0,2}})?/?$"
    f"|{_BASE}/threads(?:/thread_[^/]+(?:/messages(?:/msg_[^/]+)?)?)?/?$"
    "|/conversations/conv_[^/]+/items/?$"
    # What was answered before is told again: a stored completion or run that is changed, a response that is cancelled.
    "|/chat/completions/chatcmpl[^/]+/?$|/threads/thread_[^/]+/runs/run_[^/]+(?:/cancel)?/?$|/responses/[^/]+/cancel/?$"
    # What has no tokens, is not billed by them, or only counts them.
    f"|{_BASE}/(?:(?:chat/)?moderations|rerank|tokenize|detokenize)/?$"
    "|/responses/input_tokens/?$|/messages/count_tokens/?$|/model/[^/]+/count-tokens/?$"
    "|/realtime/(?:client_secrets|sessions|transcription_sessions)/?$"
    "|/count-tokens:[a-z]+$|:(?:countTokens|computeTokens|batchGenerateContent|asyncBatchEmbedContent)$"
)
"""The paths of such requests, whatever their method. An operator may call an API by any name, /assistants/ask too, and
what is taken for no model's loses the usage that it reports. So a resource is believed only directly behind what
providers put before it, and what follows it only if it looks like their ids.

The policies have the same text (policies/fragments/usage-identity.xml), so it holds only what .NET reads as Python
does, and no backslash or `<`. Case does not matter."""

_ASKS_NO_MODEL: Final = re.compile(ASKS_NO_MODEL, re.IGNORECASE)


def asks_no_model(path: str) -> bool:
    """True for the path of a URL, without its query, that is known to ask for something else than a model's tokens."""
    return _ASKS_NO_MODEL.search(path) is not None
