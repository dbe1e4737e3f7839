"""collectors.shapes: providers' usage objects and their one meaning."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collectors.normalise import MAX_TOKENS, normalise
from collectors.shapes import SHAPES, TOOL_USE, Shape, recognise
from models.errors import BadRecord
from models.usage import Usage
from tests.collectors.reading import call_of, call_of_body, dead_letter_of

BY_NAME = {shape.name: shape for shape in SHAPES}
tokens = st.integers(0, 10**6)


def usage_of(stated: dict[str, Any]) -> Usage:
    shape = recognise(stated)
    assert shape is not None
    usage = normalise(stated, shape)
    assert usage is not None
    return usage


def stated(shape: Shape, values: dict[str, int]) -> dict[str, Any]:
    """A provider's usage object with the values where the shape's table says they stand."""
    result: dict[str, Any] = {}
    for name, path in shape.counts:
        if name in values:
            inner: Any = result
            for member in path[:-1]:
                inner = inner.setdefault(member, {})
            inner[path[-1]] = values[name]
    return result


@pytest.mark.parametrize(
    ("usage", "name"),
    [
        ({"prompt_tokens": 1}, "openai_chat"),
        ({"completion_tokens": 1}, "openai_chat"),
        ({"input_tokens": 1, "cache_read_input_tokens": 0}, "anthropic_messages"),
        ({"input_tokens": 1, "output_tokens": 1}, "openai_responses"),
        ({"prompt_tokens": 1, "cache_read_input_tokens": 5}, "openai_chat"),
    ],
)
def test_shape_is_recognised_by_its_members(usage: dict[str, Any], name: str) -> None:
    shape = recognise(usage)
    assert shape is not None
    assert shape.name == name


@pytest.mark.parametrize("usage", [{}, {"tokens": 1}, {"total": 3}, {"Prompt_Tokens": 1}])
def test_unknown_shape_is_not_recognised(usage: dict[str, Any]) -> None:
    assert recognise(usage) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"promptTokenCount": 1000, "cachedContentTokenCount": 900,
             "candidatesTokenCount": 1, "totalTokenCount": 1001,
             "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 700}, {"modality": "AUDIO", "tokenCount": 250},
                                     {"modality": "TEXT", "tokenCount": 50}],
             "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 690},
                                    {"modality": "AUDIO", "tokenCount": 200}]},
            Usage(1000, 1, 1001, 900, None, 250, 700, 200, 690),
        ),
        (
            {"input_tokens": 1000, "output_tokens": 1, "total_tokens": 1001,
             "input_token_details": {"cached_tokens": 900, "audio_tokens": 250, "image_tokens": 700,
                                     "cached_tokens_details": {"audio_tokens": 200, "image_tokens": 690}}},
            Usage(1000, 1, 1001, 900, None, 250, 700, 200, 690),
        ),
    ],
    ids=["gemini", "realtime"],
)  # fmt: skip
def test_what_is_both_cached_and_audio_or_an_image_is_read(usage: dict[str, Any], expected: Usage) -> None:
    assert usage_of(usage) == expected
    assert not expected.parts_exceed_whole


@given(st.data(), st.sampled_from(["openai_chat", "openai_responses"]))
def test_parts_are_never_added_on_top(data: st.DataObject, name: str) -> None:
    """total = prompt + completion whatever cached, reasoning, audio, image and prediction tokens are stated."""
    shape = BY_NAME[name]
    parts = [part for part, _ in shape.counts if part not in ("prompt_tokens", "completion_tokens", TOOL_USE)]
    values = data.draw(st.dictionaries(st.sampled_from(parts), tokens)) | {
        "prompt_tokens": data.draw(tokens),
        "completion_tokens": data.draw(tokens),
    }
    usage = usage_of(stated(shape, values))
    total = values["prompt_tokens"] + values["completion_tokens"]
    reported = values.pop("total_tokens_reported", total)
    assume(reported != total + values.get("reasoning_tokens", 0) or reported == total)  # as xAI's is
    expected = Usage(total_tokens=total, total_tokens_reported=None if reported == total else reported)
    assert usage == expected._replace(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_an_empty_list_in_the_place_of_an_object_is_none(shape: Shape) -> None:
    """PHP writes an object without members so."""
    usage = stated(shape, dict.fromkeys((part for part, _ in shape.counts), 7))
    for name, value in usage.items():
        if isinstance(value, dict):
            without = {other: count for other, count in usage.items() if other != name}
            assert normalise(usage | {name: []}, shape) == normalise(without, shape)


def test_an_event_with_empty_lists_for_objects_is_counted() -> None:
    details = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": [], "completion_tokens_details": []}
    assert call_of(usage=details).usage == call_of_body(json.dumps({"usage": details})).usage == Usage(5, 3, 8)
    assert call_of(error=[]).error_reason is None
    assert call_of(usage=[], body=json.dumps({"usage": details})).usage == Usage(5, 3, 8)


@given(tokens, tokens, tokens, tokens)
def test_anthropics_cache_tokens_become_part_of_the_prompt(prompt: int, read: int, write: int, output: int) -> None:
    usage = usage_of(
        {
            "input_tokens": prompt,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": write,
            "output_tokens": output,
        }
    )
    assert usage == Usage(
        prompt_tokens=prompt + read + write,
        completion_tokens=output,
        total_tokens=prompt + read + write + output,
        cached_prompt_tokens=read,
        cache_write_prompt_tokens=write,
    )


def test_none_means_not_reported_and_zero_means_zero() -> None:
    usage = usage_of(
        {"prompt_tokens": 4, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": None}
    )
    assert usage == Usage(prompt_tokens=4, total_tokens=4, cached_prompt_tokens=0)


def test_usage_that_states_nothing_is_no_usage() -> None:
    assert call_of(usage={"prompt_tokens": None, "completion_tokens": None}).usage_state == "missing"


@given(tokens, tokens, tokens)
def test_providers_disagreeing_total_is_kept_beside_ours(prompt: int, completion: int, total: int) -> None:
    usage = usage_of({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total})
    assert usage.total_tokens == prompt + completion
    assert usage.total_tokens_reported == (None if total == prompt + completion else total)


def short(value: object) -> str:
    return repr(value)[:20]


NOT_COUNTS = [
    True,
    False,
    -1,
    -(10**30),
    1.5,
    -0.5,
    1e300,
    float("nan"),
    float("inf"),
    -float("inf"),
    MAX_TOKENS + 1,
    10**40,
    10**4000,
    "12",
    "",
    "many",
    [],
    [1],
    {},
    {"a": 1},
]
MEMBERS = [
    (shape.name, tuple(str(member) for member in path))
    for shape in SHAPES
    for count, path in shape.counts
    if count != "audio_seconds" and not any(isinstance(member, int) or member.isupper() for member in path)
    if not shape.as_text
]
"""All that are reached through objects and are numbers; test_providers has those in lists, and those in headers."""


@pytest.mark.parametrize("value", NOT_COUNTS, ids=short)
@pytest.mark.parametrize(("name", "path"), MEMBERS, ids=lambda part: part if isinstance(part, str) else ".".join(part))
def test_number_that_is_no_count_is_refused_by_name(name: str, path: tuple[str, ...], value: object) -> None:
    usage: dict[str, Any] = {}
    inner = usage
    for member in path[:-1]:
        inner = inner.setdefault(member, {})
    inner[path[-1]] = value
    with pytest.raises(BadRecord) as caught:
        normalise(usage, BY_NAME[name])
    assert caught.value.field == ".".join(("usage", *path))


@pytest.mark.parametrize("value", NOT_COUNTS, ids=short)
def test_bad_count_in_the_events_usage_is_a_dead_letter_that_names_it(value: object) -> None:
    letter = dead_letter_of(usage={"prompt_tokens": value, "completion_tokens": 4})
    assert (letter.reason, letter.field) == ("invalid_field", "usage.prompt_tokens")
    assert letter.expected
    assert letter.got


@pytest.mark.parametrize("value", NOT_COUNTS, ids=short)
def test_bad_count_in_a_body_leaves_the_call_without_usage(value: object) -> None:
    """The call did happen: it is counted, with no number rather than a wrong one."""
    call = call_of_body(json.dumps({"model": "m", "usage": {"prompt_tokens": value, "completion_tokens": 4}}))
    assert (call.usage, call.usage_state, call.missing_reason) == (Usage(), "missing", "unrecognised")


@pytest.mark.parametrize("value", [True, -1, -0.1, 10**10, float("nan"), float("inf"), "9", [], {}], ids=repr)
def test_what_is_no_number_of_seconds_is_refused_by_name(value: object) -> None:
    letter = dead_letter_of(usage={"type": "duration", "seconds": value})
    assert (letter.reason, letter.field) == ("invalid_field", "usage.seconds")


@pytest.mark.parametrize(("value", "seconds"), [(9, "9"), (9.25, "9.25"), (0, "0"), (1e2, "100.0")])
def test_seconds_may_have_fractions(value: float, seconds: str) -> None:
    assert str(call_of(usage={"type": "duration", "seconds": value}).usage.audio_seconds) == seconds


@pytest.mark.parametrize("details", [5, "x", True, [{}]], ids=repr)
def test_details_that_are_no_object_are_refused_by_name(details: object) -> None:
    letter = dead_letter_of(usage={"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": details})
    assert letter.field == "usage.prompt_tokens_details"


@pytest.mark.parametrize(("value", "count"), [(12.0, 12), (1e3, 1000), (0.0, 0), (-0.0, 0), (MAX_TOKENS, MAX_TOKENS)])
def test_whole_numbers_are_counts_however_they_are_written(value: float, count: int) -> None:
    assert usage_of({"prompt_tokens": value, "completion_tokens": 0}).prompt_tokens == count


@given(
    st.dictionaries(
        st.sampled_from(sorted({str(path[0]) for shape in SHAPES for _, path in shape.counts})),
        st.integers() | st.floats() | st.text(max_size=3) | st.booleans() | st.none(),
    )
)
def test_any_usage_gives_whole_counts_or_a_bad_record(usage: dict[str, Any]) -> None:
    shape = recognise(usage)
    if shape is None:
        return
    try:
        found = normalise(usage, shape)
    except BadRecord:
        return
    for name, count in (found or Usage())._asdict().items():
        whole = type(count) is int and 0 <= count <= 3 * MAX_TOKENS
        assert count is None or whole or (name == "audio_seconds" and count.is_finite())
    if found is not None and (found.prompt_tokens, found.completion_tokens) != (None, None):
        assert found.total_tokens == (found.prompt_tokens or 0) + (found.completion_tokens or 0)
