"""What the fuzzers and the soak have found: each a small test that failed when it was found."""

import json
from collections.abc import Callable

import pytest

from collectors.collect import collect
from tests.faults.decoders import CHECKS, LONG_AGO, assert_accounted
from tests.faults.test_fuzz import FRAMES, assert_linear
from tests.support.events import raw_event, usage_event

FINAL_CHUNK = b'{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1,"outputTokenCount":1}}'


@pytest.mark.parametrize("frame", [FRAMES["events"], FRAMES["lines"], FRAMES["array"]])
def test_a_stream_of_nothing_but_final_chunks_is_read_once(frame: Callable[[bytes, int], bytes]) -> None:
    assert_linear(CHECKS["body"][0], frame, FINAL_CHUNK)


def test_a_cloud_event_whose_base64_is_no_ascii_takes_no_neighbour_along() -> None:
    broken = {"specversion": "1.0", "type": "t", "source": "s", "id": "1", "data_base64": "é"}
    result = collect([raw_event([usage_event(request_id="good"), broken])], LONG_AGO)
    assert [call.request_id for call in result.calls] == ["good"]
    assert [(letter.reason, letter.field) for letter in result.dead_letters] == [("not_json", "data_base64")]
    assert_accounted(result)


def test_half_a_letter_in_the_model_of_a_cut_body_is_not_kept() -> None:
    """It cannot be written as UTF-8: stored, it would make every answer that names it an internal error."""
    cut = json.dumps({"model": "a\ud800b", "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "choices": []})[:-4]
    result = collect([raw_event(usage_event(usage=None, response_model=None, body=cut))], LONG_AGO)
    assert result.calls[0].usage.total_tokens == 3
    assert_accounted(result)
