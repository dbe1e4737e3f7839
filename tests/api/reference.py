"""What /api/usage must answer, worked out by brute force over the calls themselves."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.support.events import usage_event

HOUR = timedelta(hours=1)
LATENCY_BOUNDS = [0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 40960, 81920]

COUNTS = (
    "calls",
    "failed_calls",
    "usage_reported",
    "usage_estimated",
    "usage_missing",
    "missing_not_requested",
    "missing_truncated",
    "missing_client_disconnected",
    "missing_error_response",
    "missing_not_metered",
    "missing_unrecognised",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_prompt_tokens",
    "cache_write_prompt_tokens",
    "audio_prompt_tokens",
    "image_prompt_tokens",
    "cached_audio_prompt_tokens",
    "cached_image_prompt_tokens",
    "reasoning_tokens",
    "audio_completion_tokens",
    "image_completion_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
    "estimated_prompt_tokens",
    "estimated_completion_tokens",
    "estimated_total_tokens",
    "disagreeing_totals",
    "exceeding_parts",
    "clamped_timestamps",
)


class Tokens(NamedTuple):
    """Usage as a provider reports it; `stated_total` may disagree."""

    prompt: int
    completion: int
    stated_total: int
    cached: int | None
    reasoning: int | None


@dataclass(frozen=True)
class MadeCall:
    """A call as a test makes it up. `tokens` is None where the provider said nothing."""

    app: str
    model: str | None
    deployment: str | None
    product: str | None
    stream: bool | None
    status: int | None
    time: datetime
    partition: str
    tokens: Tokens | None
    duration_ms: float | None

    def event(self) -> dict[str, Any]:
        usage: dict[str, Any] | None = None
        if self.tokens is not None:
            usage = {
                "prompt_tokens": self.tokens.prompt,
                "completion_tokens": self.tokens.completion,
                "total_tokens": self.tokens.stated_total,
                "prompt_tokens_details": {"cached_tokens": self.tokens.cached},
                "completion_tokens_details": {"reasoning_tokens": self.tokens.reasoning},
            }
        return usage_event(
            app_id=self.app,
            response_model=self.model,
            deployment=self.deployment,
            product_id=self.product,
            stream=self.stream,
            status=self.status,
            timestamp=self.time.isoformat(),
            usage=usage,
            duration_ms=self.duration_ms,
        )

    def dimension(self, name: str) -> str | None:
        value = getattr(self, name)
        if value is None:
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def counts(self) -> Counter[str]:
        failed = self.status is not None and self.status >= 400
        counts = Counter(calls=1, failed_calls=int(failed))
        if self.tokens is None:
            reason = "error_response" if failed else "not_requested" if self.stream else "unrecognised"
            return counts + Counter({"usage_missing": 1, f"missing_{reason}": 1})
        prompt, completion, stated, cached, reasoning = self.tokens
        if reasoning and stated == prompt + completion + reasoning:  # xAI's: reasoning stands beside the completion
            completion += reasoning
        return counts + Counter(
            usage_reported=1,
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            cached_prompt_tokens=cached or 0,
            reasoning_tokens=reasoning or 0,
            disagreeing_totals=int(stated != prompt + completion),
            exceeding_parts=int((cached or 0) > prompt or (reasoning or 0) > completion),
        )


@dataclass(frozen=True)
class Question:
    """A question to /api/usage; `group_by` None leaves the parameter out, and so does UTC `tz`."""

    start: datetime
    end: datetime
    granularity: str
    group_by: tuple[str, ...] | None
    filters: Mapping[str, Sequence[str]]
    tz: str = "UTC"

    @property
    def names(self) -> tuple[str, ...]:
        return ("app", "model") if self.group_by is None else self.group_by

    def parameters(self) -> dict[str, str | list[str]]:
        asked: dict[str, str | list[str]] = {
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "granularity": self.granularity,
        }
        if self.tz != "UTC":
            asked["tz"] = self.tz
        if self.group_by is not None:
            asked["group_by"] = ",".join(self.group_by) or "none"
        return {**asked, **{name: list(values) for name, values in self.filters.items()}}


class Expected(NamedTuple):
    start: datetime
    end: datetime
    rows: list[dict[str, Any]]
    totals: dict[str, int]
    calls: list[list[MadeCall]]
    coverage: float | None


def bucket(time: datetime, question: Question, start: datetime) -> datetime:
    """On the zone's own clock; hours that a clock shows twice are told apart by their offset."""
    zone = ZoneInfo(question.tz)
    hour = time.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    return {
        "hour": hour,
        "day": hour.replace(hour=0, fold=0),
        "month": hour.replace(day=1, hour=0, fold=0),
        "total": start.astimezone(zone),
    }[question.granularity]


def shown(time: datetime, question: Question) -> str:
    """As an answer shows it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if question.tz == "UTC" else time.astimezone(ZoneInfo(question.tz)).isoformat()


def expected(calls: Sequence[MadeCall], question: Question) -> Expected:
    """The answer, over a range that is widened to full hours. `calls` are those of each row."""
    start = full_hour(question.start, question.tz)
    end = full_hour(question.end, question.tz)
    end += HOUR * (end < question.end)
    groups: dict[tuple[Any, ...], list[MadeCall]] = defaultdict(list)
    for call in calls:
        passes = all(call.dimension(name) in values for name, values in question.filters.items())
        if passes and start <= call.time < end:
            group = tuple(call.dimension(name) for name in question.names)
            groups[bucket(call.time, question, start).astimezone(UTC), group].append(call)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], [(name is not None, name) for name in item[0][1]]))
    rows = [
        {"start": shown(time, question), **dict(zip(question.names, group, strict=True)), **summed(members)}
        for (time, group), members in ordered
    ]
    members = [call for _, found in ordered for call in found]
    reported = sum(call.tokens is not None for call in members)
    coverage = reported / len(members) if members else None
    return Expected(start, end, rows, summed(members), [found for _, found in ordered], coverage)


def full_hour(time: datetime, tz: str) -> datetime:
    return time.astimezone(ZoneInfo(tz)).replace(minute=0, second=0, microsecond=0).astimezone(UTC)


def summed(calls: Sequence[MadeCall]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for call in calls:
        counts.update(call.counts())
    return {name: counts[name] for name in COUNTS}


def percentile_bounds(calls: Sequence[MadeCall], share: float) -> tuple[float, float] | None:
    """The bounds of the bucket in which the true percentile of the calls' latencies lies."""
    latencies = sorted(call.duration_ms for call in calls if call.duration_ms is not None)
    if not latencies:
        return None
    rank = next(rank for rank in range(1, len(latencies) + 1) if rank >= share * len(latencies))
    true = latencies[rank - 1]
    upper = next((number for number, bound in enumerate(LATENCY_BOUNDS) if number and true <= bound), None)
    if upper is None:
        return LATENCY_BOUNDS[-1], LATENCY_BOUNDS[-1]
    return LATENCY_BOUNDS[upper - 1], LATENCY_BOUNDS[upper]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]
