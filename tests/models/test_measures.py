"""models.measures: sums over calls that can be added again, and percentiles read from them."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.call import Call
from models.measures import (
    AUDIO_MICROSECONDS,
    DISAGREEING_TOTALS,
    EXCEEDING_PARTS,
    LATENCY_BOUNDS_MS,
    LATENCY_BUCKETS,
    MEASURES,
    Measures,
    add,
    latency_percentile,
    measures_of,
    total,
)
from models.origin import Origin
from models.usage import ESTIMATED_KINDS, MISSING_REASONS, TOKEN_KINDS, Estimate, Usage
from tests.support.events import NOON


def call(usage: Usage | None = None, **changes: Any) -> Call:
    """A call that reported `usage`, or nothing where it is None."""
    made = Call(
        request_id="r",
        timestamp=NOON,
        app="app",
        app_source="entra_app",
        model="m",
        usage=usage or Usage(),
        usage_state="reported" if usage is not None else "missing",
        missing_reason=None if usage is not None else "truncated",
        usage_shape=None,
        origin=Origin("h", "0", 0, NOON),
    )
    return made._replace(**changes)


counts = st.none() | st.integers(0, 10**12)
usages = st.builds(
    lambda fields, seconds: Usage(**fields, audio_seconds=seconds),
    st.fixed_dictionaries({name: counts for name in Usage._fields if name != "audio_seconds"}),
    st.none() | st.decimals(0, 10**5, places=3),
)
durations = st.none() | st.floats(0, 200_000) | st.sampled_from(LATENCY_BOUNDS_MS)
statuses = st.sampled_from([200, 500, None])
reasons = st.sampled_from(MISSING_REASONS)
estimates = st.builds(Estimate, counts, counts)
calls = st.one_of(
    st.builds(lambda usage, ms, status: call(usage, duration_ms=ms, status=status), usages, durations, statuses),
    st.builds(lambda why, ms: call(missing_reason=why, duration_ms=ms), reasons, durations),
    st.builds(
        lambda estimate, why: call(usage_state="estimated", missing_reason=why, estimate=estimate), estimates, reasons
    ),
)
sums = st.dictionaries(st.sampled_from(MEASURES), st.integers(0, 2**40))


@given(st.lists(calls, max_size=12))
def test_sums_add_up(made: list[Call]) -> None:
    """Every call is in one usage state, every missing one has one reason, every timed one is in one bucket."""
    measures = total(measures_of(one) for one in made)
    assert set(measures) <= set(MEASURES)

    def of(*names: str) -> int:
        return sum(measures.get(name, 0) for name in names)

    assert of("calls") == len(made)
    assert of("usage_reported", "usage_estimated", "usage_missing") == len(made)
    assert of(*(f"missing_{reason}" for reason in MISSING_REASONS)) == of("usage_missing")
    assert of(*LATENCY_BUCKETS) == sum(one.duration_ms is not None for one in made)
    assert of("failed_calls") == sum(one.failed for one in made)
    for kind in TOKEN_KINDS:
        assert of(kind) == sum(getattr(one.usage, kind) or 0 for one in made)
    made_up = [one.estimate for one in made if one.estimate]
    assert of("estimated_prompt_tokens") == sum(estimate.prompt_tokens or 0 for estimate in made_up)
    assert of("estimated_completion_tokens") == sum(estimate.completion_tokens or 0 for estimate in made_up)
    assert of("estimated_total_tokens") == of("estimated_prompt_tokens", "estimated_completion_tokens")
    assert of(DISAGREEING_TOTALS) == sum(one.usage.total_tokens_reported is not None for one in made)
    assert of(AUDIO_MICROSECONDS) == sum((one.usage.audio_seconds or Decimal(0)) * 1_000_000 for one in made)


def test_an_estimate_stands_beside_the_missing_and_the_reported_and_adds_to_neither() -> None:
    estimated = call(usage_state="estimated", missing_reason="not_requested", estimate=Estimate(None, 5))
    measures = measures_of(estimated)
    assert measures == {
        "calls": 1, "usage_estimated": 1, "estimated_completion_tokens": 5, "estimated_total_tokens": 5
    }  # fmt: skip
    assert not set(ESTIMATED_KINDS) & set(TOKEN_KINDS)


@pytest.mark.parametrize(
    ("usage", "exceeding"),
    [
        (Usage(prompt_tokens=31, cached_prompt_tokens=161), True),  # grok in Azure AI Foundry
        (Usage(prompt_tokens=31, cached_prompt_tokens=31, cache_write_prompt_tokens=0), False),
        (Usage(prompt_tokens=31, cached_prompt_tokens=20, cache_write_prompt_tokens=12), True),
        (Usage(prompt_tokens=31, audio_prompt_tokens=32), True),
        (Usage(prompt_tokens=31, image_prompt_tokens=32), True),
        (Usage(prompt_tokens=31, audio_prompt_tokens=20, image_prompt_tokens=12), True),
        (Usage(prompt_tokens=31, cached_prompt_tokens=31, audio_prompt_tokens=31), False),  # audio in the cache
        (Usage(prompt_tokens=31, cached_prompt_tokens=5, audio_prompt_tokens=9, cached_audio_prompt_tokens=5), False),
        (Usage(prompt_tokens=31, cached_prompt_tokens=5, audio_prompt_tokens=9, cached_audio_prompt_tokens=6), True),
        (Usage(prompt_tokens=31, cached_prompt_tokens=9, image_prompt_tokens=5, cached_image_prompt_tokens=6), True),
        (Usage(completion_tokens=9, reasoning_tokens=10), True),
        (Usage(completion_tokens=9, audio_completion_tokens=10), True),
        (Usage(completion_tokens=9, audio_completion_tokens=5, image_completion_tokens=5), True),
        (Usage(completion_tokens=9, accepted_prediction_tokens=9), False),
        (Usage(completion_tokens=9, accepted_prediction_tokens=5, rejected_prediction_tokens=5), True),
        (Usage(completion_tokens=9, cached_prompt_tokens=10), False),  # of a prompt that was not reported
        (Usage(prompt_tokens=0, cached_prompt_tokens=1), True),
        (Usage(), False),
    ],
)
def test_calls_with_more_of_a_part_than_of_the_whole_are_counted(usage: Usage, exceeding: bool) -> None:
    measures = measures_of(call(usage))
    assert measures.get(EXCEEDING_PARTS, 0) == exceeding
    assert {kind: measures[kind] for kind in TOKEN_KINDS if kind in measures} == {
        kind: count for kind, count in usage._asdict().items() if count is not None
    }


@given(st.lists(calls, max_size=10), st.integers(0, 10))
def test_sum_of_parts_is_the_sum_of_the_whole(made: list[Call], cut: int) -> None:
    parts = [total(map(measures_of, made[:cut])), total(map(measures_of, made[cut:]))]
    assert total(parts) == total(reversed(parts)) == total(map(measures_of, made))


@given(sums, sums)
def test_add_changes_only_what_it_adds_to(into: Measures, more: Measures) -> None:
    before, result = dict(more), dict(into)
    add(result, more)
    assert more == before
    assert result == {name: into.get(name, 0) + more.get(name, 0) for name in into | more}


def test_not_reported_is_absent_and_zero_is_zero() -> None:
    measures = measures_of(call(Usage(prompt_tokens=0, completion_tokens=None)))
    assert measures["prompt_tokens"] == 0
    assert "completion_tokens" not in measures
    assert total([measures, measures_of(call())])["prompt_tokens"] == 0
    assert "prompt_tokens" not in measures_of(call())


def test_every_sum_is_a_whole_number_and_names_are_unique() -> None:
    measures = measures_of(call(Usage(audio_seconds=Decimal("1.2345678")), duration_ms=1.5))
    assert all(type(amount) is int for amount in measures.values())
    assert measures[AUDIO_MICROSECONDS] == 1_234_568
    assert len(set(MEASURES)) == len(MEASURES)
    assert len(LATENCY_BUCKETS) == len(LATENCY_BOUNDS_MS) + 1


@pytest.mark.parametrize(
    ("milliseconds", "bucket"),
    [(0, "latency_le_10_ms"), (10, "latency_le_10_ms"), (10.001, "latency_le_20_ms"), (81920, "latency_le_81920_ms"),
     (81921, "latency_slower"), (1e15, "latency_slower")],
)  # fmt: skip
def test_latency_falls_into_the_bucket_whose_bound_it_does_not_exceed(milliseconds: float, bucket: str) -> None:
    assert measures_of(call(duration_ms=milliseconds))[bucket] == 1


@given(
    st.lists(st.floats(0, 200_000), min_size=1, max_size=40), st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0])
)
def test_percentile_lies_in_the_bucket_of_the_true_one(latencies: list[float], share: float) -> None:
    measures = total(measures_of(call(duration_ms=latency)) for latency in latencies)
    found = latency_percentile(measures, share)
    true = sorted(latencies)[math.ceil(share * len(latencies)) - 1]
    upper = next((bound for bound in LATENCY_BOUNDS_MS if true <= bound), LATENCY_BOUNDS_MS[-1])
    lower = max((bound for bound in (0, *LATENCY_BOUNDS_MS) if bound < true), default=0)
    assert found is not None
    assert min(lower, LATENCY_BOUNDS_MS[-1]) <= found <= upper


@given(sums, st.floats(0, 1), st.floats(0, 1))
def test_percentiles_never_fall_with_the_share(measures: Measures, one: float, other: float) -> None:
    low, high = (latency_percentile(measures, share) for share in sorted([one, other]))
    if low is not None:
        assert high is not None
        assert 0 <= low <= high <= LATENCY_BOUNDS_MS[-1]


def test_percentile_without_latency_is_unknown() -> None:
    assert latency_percentile({}, 0.5) is None
    assert latency_percentile(measures_of(call()), 0.99) is None
    assert latency_percentile({"latency_slower": 0}, 0.5) is None


def test_percentile_of_known_buckets() -> None:
    measures = {"latency_le_20_ms": 1, "latency_le_40_ms": 3}
    assert latency_percentile(measures, 0.25) == 20
    assert latency_percentile(measures, 1) == 40
    assert latency_percentile({"latency_slower": 5}, 0.5) == 81920
