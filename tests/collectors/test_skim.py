"""Of an answer only what is asked for is made. That nothing else matters, see tests/faults/decoders.py."""

import json
from typing import Any

import pytest

from collectors.skim import skim

USAGE = {"prompt_tokens": 3, "total_tokens": 3, "of_their_own": {"a": [1]}}


def test_what_nobody_asks_for_is_passed_over() -> None:
    answer = {"object": "list", "model": "m", "choices": [{"message": {"content": "text"}}], "usage": USAGE}
    assert skim(json.dumps(answer).encode()) == {"object": "list", "model": "m", "usage": USAGE}


def test_of_an_embedding_its_numbers_are_not_made() -> None:
    answer = {"data": [{"object": "embedding", "index": 0, "embedding": [0.25, 1e-3]}], "usage": USAGE}
    assert skim(json.dumps(answer).encode()) == {"data": [{"object": "embedding"}], "usage": USAGE}


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b'"text"',
        b'{"usage": {}',
        b'{"usage": NaN}',
        b'{"data": "of another kind"}',
        b'{"input_tokens": 5}',
        b'{"choices": ' + b"[" * 100_000,
        b'{"choices": "\\ud83d"}',
    ],
)
def test_what_is_unusual_is_to_be_read_as_a_whole(answer: bytes) -> None:
    assert skim(answer) is None


def test_every_place_is_left_in() -> None:
    """The members that say usage and model come from the tables of places.py and shapes.py."""
    answer: dict[str, Any] = {"usageMetadata": {"a": 1}, "eval_count": 1, "response": {"usage": USAGE}, "meta": {}}
    assert skim(json.dumps(answer).encode()) == answer
