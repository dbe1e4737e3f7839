"""What the collector must arrive at, added up from what was sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from local.sample.records import Record


@dataclass
class Counts:
    """Sums over calls, under the names that a row of `/api/usage` has for them."""

    calls: int = 0
    failed_calls: int = 0
    usage_reported: int = 0
    usage_missing: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    cache_write_prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def of_call(cls, record: Record | None, status: int) -> Self:
        """One call. `record` is what the provider answered; None if the gateway refused the call itself."""
        counts = cls(calls=1, failed_calls=int(status >= 400))
        expected = record.expected if record is not None else None
        if record is None or expected is None:
            counts.usage_missing = 1
            return counts
        counts.usage_reported = 1
        counts.cached_prompt_tokens = expected["cached_tokens"] or 0
        counts.cache_write_prompt_tokens = expected["cache_creation_tokens"] or 0
        counts.prompt_tokens = expected["prompt_tokens"] or 0
        if record.provider == "anthropic":  # whose input_tokens leave out what the cache gave and took
            counts.prompt_tokens += counts.cached_prompt_tokens + counts.cache_write_prompt_tokens
        counts.completion_tokens = expected["completion_tokens"] or 0
        counts.reasoning_tokens = expected["reasoning_tokens"] or 0
        counts.total_tokens = counts.prompt_tokens + counts.completion_tokens
        return counts

    @classmethod
    def of_log(cls, record: Record, status: int) -> Self:
        """A call whose usage the gateway's own log tells: prompt, completion and what of the prompt was read from a
        cache. It leaves out what was written to one, and does not tell reasoning apart."""
        counts = cls.of_call(record, status)
        counts.prompt_tokens -= counts.cache_write_prompt_tokens
        counts.total_tokens -= counts.cache_write_prompt_tokens
        counts.cache_write_prompt_tokens = counts.reasoning_tokens = 0
        return counts

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """From a row of `/api/usage`, which has every one of these names."""
        return cls(**{item.name: int(row[item.name]) for item in fields(cls)})

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        total = cls()
        for part in parts:
            total += part
        return total

    def __add__(self, other: Self) -> Self:
        return type(self)(**{i.name: getattr(self, i.name) + getattr(other, i.name) for i in fields(self)})

    def __sub__(self, other: Self) -> Self:
        return type(self)(**{i.name: getattr(self, i.name) - getattr(other, i.name) for i in fields(self)})


@dataclass
class Truth:
    """What was sent. Every usage event is the first of its call, a copy of such a one, or malformed.

    `joined` of the calls have their usage in the gateway's own log, in `logs` messages, of which `repeated_logs` were
    sent twice.
    """

    apps: dict[str, Counts] = field(default_factory=dict)
    duplicates: int = 0
    malformed: int = 0
    joined: int = 0
    logs: int = 0
    repeated_logs: int = 0

    @property
    def totals(self) -> Counts:
        return Counts.total(self.apps.values())

    @property
    def usage_events(self) -> int:
        return self.totals.calls + self.duplicates + self.malformed


def differences(expected: Mapping[str, Counts], found: Mapping[str, Counts]) -> list[str]:
    """One line per number that is not as it should be; empty when all agree."""
    lines = []
    for app in sorted(expected.keys() | found.keys()):
        should, does = expected.get(app, Counts()), found.get(app, Counts())
        for item in fields(Counts):
            if (want := getattr(should, item.name)) != (got := getattr(does, item.name)):
                lines.append(f"{app}: {item.name} should be {want:,} and is {got:,}")
    return lines
