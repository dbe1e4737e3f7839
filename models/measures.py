"""What is added up over calls: named whole numbers, so that any two sums over disjoint calls can be added again."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from operator import attrgetter

from models.call import Call
from models.overlap import Overlap, overlap
from models.usage import ESTIMATED_KINDS, MISSING_REASONS, TOKEN_KINDS, USAGE_STATES

Measures = dict[str, int]
"""Sums by name. A name that is absent was never reported; 0 was reported as zero."""

LATENCY_BOUNDS_MS: tuple[int, ...] = (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 40960, 81920)
"""Upper bounds of the latency buckets, in milliseconds: the boundaries that the OpenTelemetry GenAI conventions give
for gen_ai.client.operation.duration (opentelemetry.io, "Semantic conventions for generative AI metrics").
A last bucket holds what is slower."""

LATENCY_BUCKETS: tuple[str, ...] = (*(f"latency_le_{bound}_ms" for bound in LATENCY_BOUNDS_MS), "latency_slower")
AUDIO_MICROSECONDS = "audio_microseconds"
DISAGREEING_TOTALS = "disagreeing_totals"
CLAMPED = "clamped_timestamps"
EXCEEDING_PARTS = "exceeding_parts"
ODDITIES = (DISAGREEING_TOTALS, EXCEEDING_PARTS, CLAMPED)
"""Calls that are counted as they were told, although something in them cannot be right."""
EXCESS_PROMPT_TOKENS = "excess_prompt_tokens"
EXCESS_COMPLETION_TOKENS = "excess_completion_tokens"
OVERLAPS: tuple[str, ...] = tuple(f"{name}_tokens" for name in Overlap._fields)

MEASURES: tuple[str, ...] = (
    "calls",
    "failed_calls",
    *(f"usage_{state}" for state in USAGE_STATES),
    *(f"missing_{reason}" for reason in MISSING_REASONS),
    *TOKEN_KINDS,
    *ESTIMATED_KINDS,
    AUDIO_MICROSECONDS,
    *ODDITIES,
    EXCESS_PROMPT_TOKENS,
    EXCESS_COMPLETION_TOKENS,
    *OVERLAPS,
    *LATENCY_BUCKETS,
)
"""Every name a sum can have: the counter columns of the aggregate rows."""


_tokens_of = attrgetter(*TOKEN_KINDS)


def measures_of(call: Call) -> Measures:
    """One call as sums over itself. A call with an estimate is not among the missing, and no part of it among the
    reported."""
    if call.stage == "moved":
        return {}
    measures: Measures = {"calls": 1, f"usage_{call.usage_state}": 1}
    if call.failed:
        measures["failed_calls"] = 1
    if call.clamped:
        measures[CLAMPED] = 1
    if call.usage_state == "missing":
        measures[f"missing_{call.missing_reason}"] = 1
    elif call.usage_state == "estimated" and call.estimate is not None:
        measures.update(call.estimate.sums())
    else:
        usage = call.usage
        for kind, tokens in zip(TOKEN_KINDS, _tokens_of(usage), strict=True):
            if tokens is not None:
                measures[kind] = tokens
        if usage.audio_seconds is not None:
            measures[AUDIO_MICROSECONDS] = round(usage.audio_seconds * 1_000_000)
        if usage.total_tokens_reported is not None:
            measures[DISAGREEING_TOTALS] = 1
        if usage.has_parts:
            if usage.parts_exceed_whole:
                measures[EXCEEDING_PARTS] = 1
            # Only the single call tells: of sums, one call's excess would vanish in what others have left.
            if excess := usage.excess_prompt_tokens:
                measures[EXCESS_PROMPT_TOKENS] = excess
            if excess := usage.excess_completion_tokens:
                measures[EXCESS_COMPLETION_TOKENS] = excess
            if usage.audio_prompt_tokens or usage.image_prompt_tokens:
                measures.update((name, tokens) for name, tokens in zip(OVERLAPS, overlap(usage), strict=True) if tokens)
    if call.duration_ms is not None:
        measures[LATENCY_BUCKETS[bisect_left(LATENCY_BOUNDS_MS, call.duration_ms)]] = 1
    return measures


def add(into: Measures, more: Mapping[str, int]) -> None:
    """Add `more` to `into`, in place."""
    for name, amount in more.items():
        into[name] = into.get(name, 0) + amount


def negative(measures: Mapping[str, int]) -> Measures:
    """What takes `measures` back where it is added."""
    return {name: -amount for name, amount in measures.items()}


def total(parts: Iterable[Mapping[str, int]]) -> Measures:
    """The sum of all parts."""
    result: Measures = {}
    for part in parts:
        add(result, part)
    return result


def latency_percentile(measures: Mapping[str, int], share: float) -> float | None:
    """The latency in milliseconds that `share` (0..1) of the calls stayed within, or None without any latency.

    Read from the buckets with linear interpolation inside the bucket, so it is exact to the bucket's width. What is
    slower than the last bound is given as that bound.
    """
    counts = [measures.get(bucket, 0) for bucket in LATENCY_BUCKETS]
    wanted = share * sum(counts)
    if wanted <= 0:
        return None
    below = 0
    for bucket, count in enumerate(counts[:-1]):
        if count and below + count >= wanted:
            lower = LATENCY_BOUNDS_MS[bucket - 1] if bucket else 0
            return lower + (LATENCY_BOUNDS_MS[bucket] - lower) * (wanted - below) / count
        below += count
    return float(LATENCY_BOUNDS_MS[-1])
