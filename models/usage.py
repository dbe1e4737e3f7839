"""What one model call used, in one meaning whatever the provider (docs/architecture.md, "Usage")."""

from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

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

    `prompt_tokens` contains the cached, cache-write, audio and image prompt tokens, which may be the same
    ones: `cached_audio_prompt_tokens` are both cached and audio. `completion_tokens` contains the
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
    cached_audio_prompt_tokens: int | None = None
    cached_image_prompt_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_completion_tokens: int | None = None
    image_completion_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    audio_seconds: Decimal | None = None
    total_tokens_reported: int | None = None

    def with_more(self, other: "Usage") -> "Usage":
        """Of each count the greater, of two statements about one call that may each be a part of the whole. Any number
        of them, in any order and repeated, give the same. A total that a part of them stated is no disagreement."""
        if other in (self, _NOTHING) or self == _NOTHING:
            return other if self == _NOTHING else self
        most = Usage(*(_greater(one, another) for one, another in zip(self, other, strict=True)))
        if most.prompt_tokens is None and most.completion_tokens is None:
            return most
        total = (most.prompt_tokens or 0) + (most.completion_tokens or 0)
        alone = [
            each.total_tokens or 0 for each in (self, other) if each.prompt_tokens is each.completion_tokens is None
        ]
        stated = max(most.total_tokens_reported or 0, *alone, 0)
        return most._replace(total_tokens=total, total_tokens_reported=stated if stated > total else None)

    @property
    def has_parts(self) -> bool:
        """True if any part of the prompt or of the completion was reported, other than as zero."""
        return any(self[_FIRST_PART:_AFTER_PARTS])

    @property
    def excess_prompt_tokens(self) -> int:
        """How much the parts of the prompt come to more than the prompt, as if none of them were the same tokens."""
        cached, audio = self.cached_prompt_tokens or 0, self.audio_prompt_tokens or 0
        parts = cached + (self.cache_write_prompt_tokens or 0) + audio + (self.image_prompt_tokens or 0)
        return max(0, parts - (self.prompt_tokens or 0))

    @property
    def excess_completion_tokens(self) -> int:
        """The same of the completion."""
        parts = (self.audio_completion_tokens or 0) + (self.image_completion_tokens or 0)
        return max(0, parts - (self.completion_tokens or 0))

    @property
    def parts_exceed_whole(self) -> bool:
        """True if the provider reported more of a part than of what contains it. Such counts are kept as reported.

        Parts that exclude each other are taken together: what was read from a cache was not written to it, audio is no
        image, an accepted prediction was not rejected. A whole that was not reported is exceeded by nothing.
        """
        prompt, completion = self.prompt_tokens, self.completion_tokens
        return any(
            whole is not None and sum(part or 0 for part in parts) > whole
            for whole, parts in (
                (prompt, (self.cached_prompt_tokens, self.cache_write_prompt_tokens)),
                (prompt, (self.audio_prompt_tokens, self.image_prompt_tokens)),
                (self.cached_prompt_tokens, (self.cached_audio_prompt_tokens, self.cached_image_prompt_tokens)),
                (self.audio_prompt_tokens, (self.cached_audio_prompt_tokens,)),
                (self.image_prompt_tokens, (self.cached_image_prompt_tokens,)),
                (completion, (self.reasoning_tokens,)),
                (completion, (self.audio_completion_tokens, self.image_completion_tokens)),
                (completion, (self.accepted_prediction_tokens, self.rejected_prediction_tokens)),
            )
        )


_NOTHING: Final = Usage()


def _greater(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else max(one, other)


_FIRST_PART: Final = Usage._fields.index("cached_prompt_tokens")
_AFTER_PARTS: Final = Usage._fields.index("audio_seconds")


class Estimate(NamedTuple):
    """Token counts of a call that reported none, made from its text (docs/estimates.md). `None`: that text is not
    there."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def sums(self) -> dict[str, int]:
        """By the names in ESTIMATED_KINDS. The total is that of what could be estimated, so where one of the two could
        not, it is less than the call used."""
        parts = {f"estimated_{name}": count for name, count in self._asdict().items() if count is not None}
        return parts | {"estimated_total_tokens": sum(parts.values())}


TOKEN_KINDS: tuple[str, ...] = tuple(name for name in Usage._fields if name.endswith("_tokens"))
"""The names of all token counts that are added up, in the order in which answers show them."""

ESTIMATED_KINDS: tuple[str, ...] = ("estimated_prompt_tokens", "estimated_completion_tokens", "estimated_total_tokens")
"""The names of the sums of estimates, which are never part of the sums above."""
