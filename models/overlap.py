"""What of a prompt is several things at once (cached and audio), so that each token of it is charged once.

Only the single call tells: of sums, one call's overlap would vanish in what others have left. So it is settled when a
call is counted, and what comes of it is added up with the rest (models/measures.py).
"""

from typing import NamedTuple

from models.usage import Usage


class Overlap(NamedTuple):
    """Tokens of one call, in what prices/price.py adds to its counts or takes off them.

    `charged_cached_audio` and `charged_cached_image` were told to be both. `overlapping_audio` and `overlapping_image`
    are those, and those that must be cached too since the prompt has no room for them beside what was cached.
    `overlapping_excess` is how much less the parts exceed the prompt for it.
    """

    charged_cached_audio: int = 0
    charged_cached_image: int = 0
    overlapping_audio: int = 0
    overlapping_image: int = 0
    overlapping_excess: int = 0


def overlap(usage: Usage) -> Overlap:
    """A prompt has as few tokens as all that was told of it allows: mostly those it was reported with. More only where
    parts that exclude each other exceed it: a contradiction, which is charged as it was reported."""
    cached = usage.cached_prompt_tokens or 0
    audio, image = usage.audio_prompt_tokens or 0, usage.image_prompt_tokens or 0
    from_cache = cached + (usage.cache_write_prompt_tokens or 0)
    tokens = max(usage.prompt_tokens or 0, from_cache, audio + image)
    cached_audio = min(usage.cached_audio_prompt_tokens or 0, audio, cached)
    cached_image = min(usage.cached_image_prompt_tokens or 0, image, cached - cached_audio)
    without_room = max(0, from_cache + audio + image - cached_audio - cached_image - tokens)
    more_image = min(without_room, image - cached_image)
    return Overlap(
        charged_cached_audio=cached_audio,
        charged_cached_image=cached_image,
        overlapping_audio=cached_audio + without_room - more_image,
        overlapping_image=cached_image + more_image,
        overlapping_excess=usage.excess_prompt_tokens - (tokens - (usage.prompt_tokens or 0)),
    )
