"""A call without usage, whose message carries the text -> how many tokens that text probably has (docs/estimates.md).

Only with the setting ESTIMATE_USAGE. The tokenizer's package is loaded when it is first needed: it takes a second or
two, and about 170 MB of memory.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from collectors.reading import loads
from collectors.text import RequestText, answer_texts, request_text
from models.call import Call
from models.usage import Estimate, MissingReason

if TYPE_CHECKING:
    from bpe_openai import Encoding

ESTIMABLE: Final = frozenset[MissingReason | None](
    {"not_requested", "truncated", "client_disconnected", "unrecognised"}
)
"""Not where the provider answered with an error, nor where the operation has no tokens."""

MAX_CHARACTERS: Final = 1_000_000
"""Of one prompt or one completion. A longer one is not estimated, so that one message never holds up its batch for more
than a second: the tokenizer's time is linear in the text, whatever is in it."""

TOKENS_PER_MESSAGE: Final = 3
TOKENS_BEFORE_ANSWER: Final = 3
"""What the chat format adds to the text of gpt-3.5-turbo and later (developers.openai.com/cookbook, "How to count
tokens with tiktoken", section 6). Other providers' formats are not published."""


def estimated(call: Call, *, body: str | None, whole: bool, answer: object, request: object) -> Call:
    """`call`, with an estimate if there is text to make one of.

    `whole` is False if a part of `body`, the response's, is missing; `answer` is the answer's text where that came by
    itself; `request` is what the model was asked, as JSON or as text.
    """
    reason = call.missing_reason
    if call.usage_state != "missing" or reason not in ESTIMABLE:
        return call
    if not body and not answer and reason not in ("truncated", "client_disconnected"):
        return call  # nothing says that a model was ever asked
    completion: list[str] = []
    if whole and reason != "truncated":  # of what is not there nothing can be said
        completion = [answer] if isinstance(answer, str) else answer_texts(body or "")
    model = call.model or call.deployment or ""
    estimate = Estimate(prompt_tokens(request, model), tokens_of(completion, model))
    if estimate == Estimate():
        return call
    return call._replace(usage_state="estimated", estimate=estimate)


def prompt_tokens(request: object, model: str) -> int | None:
    """The tokens of a request, given as JSON, as text, or as the messages alone; None if its text is not all of it."""
    text = _request(request)
    if text is None or not (text.texts or text.tokens):
        return None
    tokens = tokens_of(text.texts, model) if text.texts else 0
    if tokens is None:
        return None
    return tokens + text.tokens + (text.turns * TOKENS_PER_MESSAGE + TOKENS_BEFORE_ANSWER if text.turns else 0)


def _request(request: object) -> RequestText | None:
    document: Any = loads(request) if isinstance(request, str) else request
    if isinstance(document, list):
        document = {"messages": document}
    if isinstance(document, dict) and "body" in document:  # an HTTP request
        return _request(document["body"])
    return request_text(document) if isinstance(document, dict) else None


def tokens_of(texts: list[str], model: str) -> int | None:
    """How many tokens the texts have together; None without text, or with too much."""
    if not any(texts) or sum(map(len, texts)) > MAX_CHARACTERS:
        return None
    encode = _encoding(encoding_of(model)).encode_ordinary
    return sum(len(encode(piece)) for text in texts for piece in _pieces(text))


_CL100K: Final = re.compile(r"gpt-?(?:3|4(?![.\do]))|text-embedding|(?:ada|davinci|babbage)-002", re.IGNORECASE)


def encoding_of(model: str) -> str:
    """The vocabulary of an OpenAI model; every other model gets that of OpenAI's present ones."""
    return "cl100k_base" if _CL100K.search(model) else "o200k_base"


_PIECE: Final = 50_000
"""Characters. The package refuses a text of more than 200,000 tokens, and a character may take four."""


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


@lru_cache
def _encoding(name: str) -> "Encoding":
    from bpe_openai import get_encoding

    return get_encoding(name)
