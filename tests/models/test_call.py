"""models.call: one request to a model, ready to be counted."""

from dataclasses import dataclass

import pytest

from models.call import DIMENSIONS, Call
from models.usage import MISSING_REASONS, TOKEN_KINDS, USAGE_STATES, Usage
from tests.collectors.reading import call_of


@dataclass(frozen=True)
class Outcome:
    status: int | None
    error: dict[str, str] | None
    failed: bool


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(200, None, False),
        Outcome(None, None, False),
        Outcome(399, None, False),
        Outcome(400, None, True),
        Outcome(499, None, True),
        Outcome(503, None, True),
        Outcome(200, {"source": "backend", "reason": "Timeout"}, True),
        Outcome(200, {"source": "", "reason": ""}, False),
    ],
)
def test_call_failed_if_the_client_got_an_error_or_the_gateway_saw_one(outcome: Outcome) -> None:
    assert call_of(status=outcome.status, error=outcome.error).failed is outcome.failed


def test_every_dimension_is_a_field_of_a_call() -> None:
    assert set(DIMENSIONS) <= set(Call._fields)


def test_vocabulary_is_the_designs() -> None:
    """DESIGN section 3: the names that tables, settings and the API share."""
    assert USAGE_STATES == ("reported", "estimated", "missing")
    assert set(MISSING_REASONS) == {
        "not_requested", "truncated", "client_disconnected", "error_response", "not_metered", "unrecognised"
    }  # fmt: skip
    assert set(TOKEN_KINDS) == {
        "prompt_tokens", "completion_tokens", "total_tokens", "cached_prompt_tokens", "cache_write_prompt_tokens",
        "audio_prompt_tokens", "image_prompt_tokens", "cached_audio_prompt_tokens", "cached_image_prompt_tokens",
        "reasoning_tokens", "audio_completion_tokens", "image_completion_tokens",
        "accepted_prediction_tokens", "rejected_prediction_tokens",
    }  # fmt: skip
    assert set(Usage()) == {None}
    assert set(DIMENSIONS) == {
        "deployment", "operation", "api", "product", "subscription", "user", "backend", "gateway", "region",
        "client_ip", "stream", "status",
    }  # fmt: skip
