"""What one model call used, in one meaning whatever the provider (docs/architecture.md, "Usage")."""

from decimal import Decimal
from typing import Literal, NamedTuple

UsageState = Literal["reported", "estimated", "missing"]
USAGE_STATES: tuple[UsageState, ...] = ("reported", "estimated", "missing")

MissingReason = Literal[
    "not_requested", "truncated", "client_disconnected", "error_response", "not_metered", "unrecognised"
]
MISSING_REASONS: tuple[MissingReason, ...] = (
    "not_requested",
    "truncated",
    "client_disconnected",
    "error_response",
    "not_metered",
    "unrecognised",
)


class Usage(NamedTuple):
    """Token counts of one call. `None` means not reported, 0 means reported as zero.

    `prompt_tokens` contains the cached, cache-write, audio and image prompt tokens; `completion_tokens` contains the
    reasoning, audio, image and prediction tokens; `total_tokens` = prompt + completion. The parts are never added on
    top. `total_tokens_reported` is the provider's own total, kept only where it disagrees with `total_tokens`.
    `audio_seconds` is the duration a transcription is billed by, in seconds.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    cache_write_prompt_tokens: int | None = None
    audio_prompt_tokens: int | None = None
    image_prompt_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_completion_tokens: int | None = None
    image_completion_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    audio_seconds: Decimal | None = None
    total_tokens_reported: int | None = None


TOKEN_KINDS: tuple[str, ...] = tuple(name for name in Usage._fields if name.endswith("_tokens"))
"""The names of all token counts that are added up, in the order in which answers show them."""
