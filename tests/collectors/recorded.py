"""The recorded answers of samples/recorded.jsonl, each with the truth about it, worked out without the product."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from models.usage import Usage

SAMPLES = Path(__file__).parents[2] / "samples" / "recorded.jsonl"


class Recorded(NamedTuple):
    """`truth` is the normalised usage the collector must arrive at, None if the answer states none."""

    name: str
    provider: str
    streaming: bool
    status: int
    body: str
    model: str | None
    truth: Usage | None


def load() -> list[Recorded]:
    with SAMPLES.open(encoding="utf-8", newline="") as lines:
        return [_recorded(number, json.loads(line)) for number, line in enumerate(lines)]


def _recorded(number: int, record: dict[str, Any]) -> Recorded:
    kind = "stream" if record["streaming"] else "json"
    expected = record["expected"]
    return Recorded(
        name=f"{number:02}-{record['provider']}-{record['operation']}-{kind}",
        provider=record["provider"],
        streaming=record["streaming"],
        status=record["response"]["status"],
        body=record["response"]["body"],
        model=expected["model"] if expected else None,
        truth=_truth(record["provider"], expected) if expected else None,
    )


def _truth(provider: str, expected: dict[str, Any]) -> Usage:
    """DESIGN section 3: prompt includes cached and cache-write tokens, total = prompt + completion."""
    prompt = expected["prompt_tokens"]
    if provider == "anthropic":
        prompt += (expected["cached_tokens"] or 0) + (expected["cache_creation_tokens"] or 0)
    total = prompt + (expected["completion_tokens"] or 0)
    reported = expected["total_tokens"] if expected["total_reported"] else total
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=expected["completion_tokens"],
        total_tokens=total,
        cached_prompt_tokens=expected["cached_tokens"],
        cache_write_prompt_tokens=expected["cache_creation_tokens"],
        audio_prompt_tokens=expected["audio_prompt_tokens"],
        reasoning_tokens=expected["reasoning_tokens"],
        audio_completion_tokens=expected["audio_completion_tokens"],
        accepted_prediction_tokens=expected.get("accepted_prediction_tokens"),
        rejected_prediction_tokens=expected.get("rejected_prediction_tokens"),
        total_tokens_reported=None if reported == total else reported,
    )


RECORDED = load()
WITH_USAGE = [record for record in RECORDED if record.truth is not None]
WITHOUT_USAGE = [record for record in RECORDED if record.truth is None]
STREAMS = [record for record in RECORDED if record.streaming]
