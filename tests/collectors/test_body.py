"""collectors.body: what a provider's response body says of usage and model, whole, re-framed or cut."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.body import read_body
from collectors.normalise import normalise
from collectors.shapes import recognise
from models.usage import Usage
from tests.collectors.reading import call_of_body
from tests.collectors.recorded import RECORDED, STREAMS, WITH_USAGE, WITHOUT_USAGE, Recorded


def by_name(record: Recorded) -> str:
    return record.name


def read(body: str, *, is_tail: bool = False) -> tuple[Usage | None, str | None]:
    """The normalised usage and the model; a usage or a reason, never both or neither."""
    usage, model, reason = read_body(body, is_tail=is_tail)
    assert (usage is None) == (reason is not None)
    shape = recognise(usage) if usage is not None else None
    return (normalise(usage, shape) if usage is not None and shape else None), model


# --- whole bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", WITH_USAGE, ids=by_name)
def test_recorded_body_gives_its_true_counts_and_model(record: Recorded) -> None:
    assert read(record.body) == (record.truth, record.model)


@pytest.mark.parametrize("record", WITH_USAGE, ids=by_name)
def test_recorded_body_gives_its_true_counts_through_the_whole_event(record: Recorded) -> None:
    call = call_of_body(record.body, stream=record.streaming, status=record.status)
    assert (call.usage, call.model) == (record.truth, record.model)
    assert (call.usage_state, call.missing_reason) == ("reported", None)


@pytest.mark.parametrize("record", WITHOUT_USAGE, ids=by_name)
def test_recorded_body_without_usage_is_missing_with_its_reason(record: Recorded) -> None:
    """An error answer says so; a stream that ended well without usage was not asked for it."""
    reason = "error_response" if record.status >= 400 else "not_requested"
    assert read_body(record.body, is_tail=False).missing_reason == reason
    call = call_of_body(record.body, stream=record.streaming, status=record.status)
    assert (call.usage_state, call.missing_reason, call.usage) == ("missing", reason, Usage())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "unrecognised"),
        ("plain text of a transcription", "unrecognised"),
        ("[]", "unrecognised"),
        ("{}", "unrecognised"),
        ('{"usage": null}', "unrecognised"),
        ('{"usage": {}}', "unrecognised"),
        ('{"usage": 5}', "unrecognised"),
        ('{"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}', "not_metered"),
        ('{"object": "list", "data": []}', "not_metered"),
        ('{"id": "modr-1", "results": []}', "not_metered"),
        ('{"object": "batch", "status": "completed", "usage": {"input_tokens": 9}}', "not_metered"),
        ('{"type": "message_batch", "request_counts": {"succeeded": 2}}', "not_metered"),
        ('{"object": "fine_tuning.job", "trained_tokens": 5}', "not_metered"),
        ('{"inputTokens": 12}', "not_metered"),
        ('{"error": {"code": "429"}}', "error_response"),
        ('{"error": {"code": "content_filter", "innererror": {"code": "Violation"}}}', "error_response"),
        ('data: {"choices": []}', "truncated"),
        ('data: {"type": "error", "error": {"type": "overloaded_error"}}\n\n', "error_response"),
        ('data: {"choices": [], "usage": null}\n\ndata: [DONE]\n\n', "not_requested"),
        ('data: {"choices": [{"finish_reason": "stop"}], "usage": null}\n\n', "truncated"),
        ('data: {"choices": [{"finish_reason": "stop"}]}\n\n', "not_requested"),
        ('data: {"choices": [{"finish_reason": "error"}], "error": {"code": 5}}\n\n', "error_response"),
        ('data: {"choices": [{"finish_reason": "error"}], "error": {"code": 5}}\n\ndata: [DONE]', "error_response"),
        ('data: {"choices": [{"finish_reason": "stop"}], "x_groq": {"error": "x"}}\n\ndata: [DONE]', "error_response"),
        ('data: {"choices": [{"finish_reason": "stop"}], "error": null}\n\ndata: [DONE]\n\n', "not_requested"),
        ('data: {"choices": [{"finish_reason": "stop", "delta": {"content": "\\"error\\": 1"}}]}\n\n', "not_requested"),
        ('data: {"object": "thread.run", "status": "requires_action", "usage": null}\n\ndata: [DONE]', "unrecognised"),
        ('data: {"object": "thread.run", "last_error": {"code": "x"}}\n\ndata: [DONE]\n\n', "error_response"),
        ('data: {"type": "response.completed", "response": {"usage": null}}\n\n', "unrecognised"),
        ('data: {"type": "response.completed", "response": {"output": "te', "truncated"),
        ('data: {"type": "response.failed", "response": {"usage": null}}\n\n', "error_response"),
        ('data: {"candidates": [{"finishReason": "STOP"}]}\n\n', "unrecognised"),
    ],
)  # fmt: skip
def test_body_without_usage_says_why(body: str, reason: str) -> None:
    assert read_body(body, is_tail=False).missing_reason == reason


@pytest.mark.parametrize("value", [[], {}, [{}], {"a": 1}, 1, 1.5, True, None, "list"])
@pytest.mark.parametrize("member", ["object", "id", "data", "model", "usage", "error", "type", "response", "choices"])
def test_members_of_unexpected_types_never_raise(member: str, value: object) -> None:
    """A body may be anything that is JSON: none may stop the batch it is in."""
    for document in (
        {member: value},
        {"object": "list", member: value},
        {"usage": {"prompt_tokens": 1}, member: value},
    ):
        text = json.dumps(document)
        read(text)
        read(text, is_tail=True)
        read(f"data: {text}\n\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
members = st.sampled_from(
    ["object", "id", "data", "model", "usage", "error", "type", "response", "choices", "message", "delta"]
)
texts = st.sampled_from(
    ["list", "message_delta", "response.done", "message_start", "error", "response.completed", "", "prompt_tokens"]
)
documents = st.dictionaries(members, json_values | texts, max_size=5)


@given(st.lists(documents, max_size=4), st.booleans(), st.booleans())
def test_any_json_in_any_framing_never_raises(chunks: list[dict[str, Any]], as_stream: bool, is_tail: bool) -> None:
    separator, prefix = ("\n\n", "data: ") if as_stream else ("\n", "")
    read(separator.join(prefix + json.dumps(chunk) for chunk in chunks), is_tail=is_tail)


@given(st.text(alphabet='"usage":{}[],\\n \r\n1promt_tkedaDONE\u2028', max_size=200), st.booleans())
def test_any_text_never_raises(text: str, is_tail: bool) -> None:
    read(text, is_tail=is_tail)


def test_look_alikes_in_the_answers_text_are_not_usage() -> None:
    """A model that writes JSON about usage: its text is inside a string and counts nothing."""
    answer = json.dumps({"usage": {"prompt_tokens": 666, "completion_tokens": 666}, "model": "fake"})
    document = {"model": "real", "choices": [{"message": {"content": answer}}]}
    for body in (json.dumps(document), json.dumps(document)[:-1], f"data: {json.dumps(document)}\n\n"):
        for is_tail in (False, True):
            assert read(body, is_tail=is_tail)[0] is None, body


# --- streams --------------------------------------------------------------------------------------------------------


def chunk(**members: Any) -> str:
    return f"data: {json.dumps({'model': 'gpt-4o', 'choices': []} | members)}\n\n"


def counts(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def test_last_usage_that_is_not_null_wins_and_is_never_a_sum() -> None:
    body = (
        chunk(usage=None)
        + chunk(usage=counts(7, 1))
        + chunk(usage=counts(7, 3))
        + chunk(usage=None)
        + "data: [DONE]\n\n"
    )
    assert read(body)[0] == Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10)


def test_azures_first_chunk_names_no_model_and_is_not_the_usage_chunk() -> None:
    body = (
        chunk(model="", id="", created=0, prompt_filter_results=[{"prompt_index": 0}])
        + chunk(choices=[{"delta": {"content": "Hi"}, "finish_reason": "stop"}], model="gpt-4o-2024-08-06")
        + chunk(usage=counts(3, 1), model="gpt-4o-2024-08-06")
    )
    assert read(body) == (Usage(prompt_tokens=3, completion_tokens=1, total_tokens=4), "gpt-4o-2024-08-06")


def anthropic(start: dict[str, Any], *deltas: dict[str, Any] | None, stop: bool = True) -> str:
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"model": "claude-x", "usage": start}}]
    for number, usage in enumerate(deltas, 1):
        reason = "end_turn" if number == len(deltas) else None
        events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})
    if stop:
        events.append({"type": "message_stop"})
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def test_anthropics_delta_updates_what_message_start_said() -> None:
    """Set, never added; a null in the delta leaves the start's number; cache tokens are part of the prompt."""
    start = {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3, "output_tokens": 1}
    body = anthropic(start, {"output_tokens": 20, "input_tokens": None, "cache_read_input_tokens": None})
    assert read(body) == (
        Usage(
            prompt_tokens=17,
            completion_tokens=20,
            total_tokens=37,
            cached_prompt_tokens=4,
            cache_write_prompt_tokens=3,
        ),
        "claude-x",
    )
    grown = anthropic(start, {"output_tokens": 20, "input_tokens": 100})
    assert read(grown)[0] == Usage(
        prompt_tokens=107,
        completion_tokens=20,
        total_tokens=127,
        cached_prompt_tokens=4,
        cache_write_prompt_tokens=3,
    )


@pytest.mark.parametrize("update", [{}, {"output_tokens": None}, {"server_tool_use": {}}, None])
def test_anthropics_provisional_output_count_is_never_taken_for_the_final_one(update: dict[str, Any] | None) -> None:
    """message_start says output_tokens 1 before a word was written: without the delta's count it is not known."""
    body = anthropic({"input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 1}, update)
    assert read(body)[0] is None


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ud83d\\ud83d"])
@pytest.mark.parametrize("usage", [{"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}])
def test_half_a_letter_hides_no_usage(half: str, usage: dict[str, int]) -> None:
    response = json.dumps({"model": "gpt-5", "output": "HALF", "usage": usage}).replace("HALF", half)
    for body in (response, f'data: {{"type": "response.completed", "response": {response}}}\n\n', f"[{response}]"):
        assert read(body) == (Usage(prompt_tokens=9, completion_tokens=4, total_tokens=13), "gpt-5")


def test_responses_stream_states_usage_in_its_final_event() -> None:
    usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {"model": "gpt-5", "usage": None}}]
    for final in ("completed", "incomplete", "failed"):
        last = {"type": f"response.{final}", "response": {"model": "gpt-5", "usage": usage}, "sequence_number": 3}
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in [*events, last])
        assert read(body) == (Usage(prompt_tokens=9, completion_tokens=4, total_tokens=13), "gpt-5")


# --- re-framing -------------------------------------------------------------------------------------------------------


def events_of(body: str) -> list[list[str]]:
    """The lines of each event, without their ends."""
    lines = re.split("\r\n|\r|\n", body)
    events: list[list[str]] = [[]]
    for line in lines:
        if line:
            events[-1].append(line)
        elif events[-1]:
            events.append([])
    return [event for event in events if event]


@given(st.data())
def test_any_framing_of_a_recorded_stream_gives_the_same_usage(data: st.DataObject) -> None:
    """Line ends, comments, a BOM, the space after the colon, other fields, [DONE], the last blank line may vary."""
    record = data.draw(st.sampled_from(STREAMS))
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    space = data.draw(st.sampled_from(["", " "]))
    extra = data.draw(st.sampled_from([None, ": keep-alive", ":", "id: 7", "retry: 100", 'comment {"usage": 1}']))
    blank_lines = data.draw(st.integers(1, 3))
    keep_done = data.draw(st.booleans())
    lines: list[str] = []
    for event in events_of(record.body):
        if not keep_done and "[DONE]" in event[-1]:
            continue
        for line in event:
            if extra is not None and data.draw(st.booleans()):
                lines.append(extra)
            field, _, value = line.partition(": ")
            lines.append(f"{field}:{space}{value}")
        lines += [""] * blank_lines
    body = data.draw(st.sampled_from(["", "\ufeff"])) + end.join(lines)
    body = body if data.draw(st.booleans()) else body.rstrip("\r\n")
    usage, model = read(body)
    assert usage == record.truth
    assert model == read(record.body)[1]


@pytest.mark.parametrize("record", STREAMS, ids=by_name)
def test_events_of_several_data_lines_are_read_as_one(record: Recorded) -> None:
    """The standard joins the data lines of an event with LF, which JSON allows between its tokens."""
    body = re.sub(r'(?<=[}\]"0-9el]),(?="[a-z_]+":)', ",\ndata: ", record.body)
    assert body != record.body
    assert read(body)[0] == record.truth


def test_only_cr_and_lf_end_a_line() -> None:
    """U+2028 and its like may stand raw in a JSON string."""
    text = "a\u2028b\u2029c\u0085d\u001ce"
    body = f'data: {{"model": "m", "text": "{text}", "usage": {{"prompt_tokens": 3, "completion_tokens": 2}}}}\n\n'
    assert read(body.replace("\u001c", "")) == (Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5), "m")


# --- cut bodies -------------------------------------------------------------------------------------------------------


def cuts(body: bytes) -> Iterator[int]:
    """Every byte of a short body; of a long one those around usage, ends and events, and a sample of the others."""
    if len(body) <= 500:
        yield from range(len(body) + 1)
        return
    near: set[int] = set(range(0, len(body), 101)) | {len(body)}
    for match in re.finditer(rb'"usage"|finish_reason|stop_reason|\[DONE\]|message_delta|response\.completed', body):
        near.update(range(match.start() - 3, match.end() + 3))
    near.update(range(len(body) - 350, len(body)))
    yield from sorted(cut for cut in near if 0 <= cut <= len(body))


def whole_or_nothing(body: bytes, *, is_tail: bool, truth: Usage | None, model: str | None) -> bool:
    """Reads a part of a body; fails if it says anything that the whole body does not say. True if usage was found."""
    usage, named = read(body.decode("utf-8", "replace"), is_tail=is_tail)
    assert usage in (None, truth), body[-300:]
    assert named in (None, model), body[-300:]
    return usage is not None


@pytest.mark.parametrize("record", RECORDED, ids=by_name)
def test_body_cut_at_its_end_gives_the_whole_bodys_count_or_none(record: Recorded) -> None:
    body, model = record.body.encode(), read(record.body)[1]
    for cut in cuts(body):
        whole_or_nothing(body[:cut], is_tail=False, truth=record.truth, model=model)


@pytest.mark.parametrize("record", RECORDED, ids=by_name)
def test_tail_of_a_body_gives_the_whole_bodys_count_or_none(record: Recorded) -> None:
    body, model = record.body.encode(), read(record.body)[1]
    for cut in cuts(body):
        whole_or_nothing(body[cut:], is_tail=True, truth=record.truth, model=model)


@pytest.mark.parametrize("record", RECORDED, ids=by_name)
def test_body_cut_at_both_ends_gives_the_whole_bodys_count_or_none(record: Recorded) -> None:
    """A tail whose stream broke off: windows that start a little before each place that speaks of usage.

    Nearer to it nothing tells message_start from a whole message: there `"stop_reason": null` comes just before.
    """
    body, model = record.body.encode(), read(record.body)[1]
    for match in re.finditer(rb'"usage"', body):
        for start in range(max(1, match.start() - 110), max(1, match.start() - 69), 10):
            for end in range(match.end() + 5, min(len(body), match.end() + 420), 9):
                whole_or_nothing(body[start:end], is_tail=True, truth=record.truth, model=model)


def usage_span(record: Recorded) -> tuple[int, int]:
    """From where to where the body's bytes state its usage. In a stream: from the start of the chunks that do."""
    body = record.body.encode()
    start = max(match.start() for match in re.finditer(rb'"usage"\s*:\s*\{', body))
    text = body[body.index(b"{", start) :].decode()
    _, length = json.JSONDecoder().raw_decode(text)
    end = body.index(b"{", start) + len(text[:length].encode())
    if record.streaming:
        lines = list(re.finditer(rb'data: ?\{[^\r\n]*"usage"\s*:\s*\{', body))
        start = (lines[0] if record.provider == "anthropic" else lines[-1]).start()
    return start, end


@pytest.mark.parametrize("record", WITH_USAGE, ids=by_name)
def test_cut_that_holds_the_whole_usage_finds_it(record: Recorded) -> None:
    body, model = record.body.encode(), read(record.body)[1]
    start, end = usage_span(record)
    for cut in cuts(body):
        if cut >= end:
            assert whole_or_nothing(body[:cut], is_tail=False, truth=record.truth, model=model), cut
        if 0 < cut <= start and b"data:" not in body[cut : cut + 5]:
            assert whole_or_nothing(body[cut:], is_tail=True, truth=record.truth, model=model), cut


@pytest.mark.parametrize(
    "record", [record for record in WITH_USAGE if record.streaming and record.provider != "anthropic"], ids=by_name
)
def test_tail_that_starts_inside_the_usage_chunk_finds_the_usage(record: Recorded) -> None:
    """The last chunk of the responses API repeats the whole answer, so a tail of some kB often starts inside it."""
    body = record.body.encode()
    line_start, _ = usage_span(record)
    key = max(match.start() for match in re.finditer(rb'"usage"\s*:\s*\{', body))
    for cut in range(line_start, key + 1):
        assert read(body[cut:].decode("utf-8", "replace"), is_tail=True)[0] == record.truth, cut


def test_tail_that_lost_the_usage_chunk_does_not_claim_it_was_not_requested() -> None:
    """The chunk before [DONE] is cut, so nobody knows whether it was the one with the usage."""
    body = '"completion_tokens":3,"total_tokens":10}}\n\ndata: [DONE]\n\n'
    assert read_body(body, is_tail=True).missing_reason == "truncated"


NESTED = [
    # an assistant's run steps: each repeats the run's usage
    {"object": "list", "data": [{"id": "step_1", "usage": counts(5, 5)}, {"id": "step_2", "usage": counts(6, 6)}]},
    # Groq's compound models: usage per model behind the whole usage
    {
        "model": "compound",
        "usage": counts(30, 3),
        "usage_breakdown": {"models": [{"model": "a", "usage": counts(10, 1)}, {"model": "b", "usage": counts(20, 2)}]},
    },
    # the responses API: a tool has a model of its own
    {
        "object": "response",
        "model": "gpt-5",
        "tools": [{"type": "image_generation", "model": "gpt-image-1"}],
        "usage": {"input_tokens": 9, "output_tokens": 4},
    },
    {"run": {"usage": counts(5, 5)}, "note": "nothing at the top"},
    [{"usage": counts(1, 2)}, {"usage": counts(3, 4)}],
]  # fmt: skip


@pytest.mark.parametrize("is_tail", [False, True], ids=["head", "tail"])
@pytest.mark.parametrize("document", NESTED, ids=["run steps", "breakdown", "tool model", "run", "array"])
def test_look_alikes_deeper_inside_are_not_believed_in_a_cut_body_either(document: object, is_tail: bool) -> None:
    text = json.dumps(document)
    usage, model = read(text)
    for cut in range(1, len(text)):
        whole_or_nothing((text[cut:] if is_tail else text[:cut]).encode(), is_tail=is_tail, truth=usage, model=model)


TEXT = '"} \\ "usage": {"prompt_tokens": 666, "completion_tokens": 666}, {"'
GEMINI = {"promptTokenCount": 41, "candidatesTokenCount": 23, "thoughtsTokenCount": 12, "totalTokenCount": 76}
BILLED = {"billed_units": {"input_tokens": 5, "output_tokens": 17}, "tokens": {"input_tokens": 71, "output_tokens": 17}}
ANTHROPICS = {"input_tokens": 14, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 0, "output_tokens": 25}
WHOLE: list[dict[str, Any]] = [
    {"id": "1", "model": "m", "choices": [{"message": {"content": TEXT}}], "usage": counts(123, 45), "x_groq": {}},
    {"id": "1", "model": "m", "content": [{"text": TEXT}], "stop_reason": "end_turn", "usage": ANTHROPICS},
    {"model": "m", "output": [], "usage": {"input_tokens": 12, "output_tokens": 34, "total_tokens": 46}, "user": None},
    {"candidates": [{"content": TEXT, "finishReason": "STOP"}], "usageMetadata": GEMINI, "modelVersion": "m"},
    {"text": TEXT, "meta": {"api_version": {"version": "1"}, **BILLED}, "finish_reason": "COMPLETE"},
    {"message": {"content": [{"text": TEXT}]}, "usage": BILLED},
    {"output": {"message": TEXT}, "usage": {"inputTokens": 30, "outputTokens": 62, "totalTokens": 92}, "metrics": {}},
    {"inputTextTokenCount": 12, "results": [{"tokenCount": 42, "outputText": TEXT, "completionReason": "FINISH"}]},
    {"generation": TEXT, "prompt_token_count": 12, "generation_token_count": 34, "stop_reason": "stop"},
    {"model": "m", "response": TEXT, "done": True, "prompt_eval_count": 26, "eval_count": 298, "eval_duration": 47999},
    {"text": TEXT, "usage": {"type": "duration", "seconds": 125}},
    {"object": "list", "data": [{"object": "embedding", "embedding": [0.25]}], "usage": {"total_tokens": 43}},
    {"object": "list", "data": [{"relevance_score": 0.25, "document": TEXT}], "usage": {"total_tokens": 43}},
    {"model": "m", "results": [{"relevance_score": 0.25}], "usage": {"total_tokens": 43}},
]  # fmt: skip


@pytest.mark.parametrize("document", WHOLE, ids=lambda document: "-".join(document)[:40])
@given(st.data())
def test_a_document_of_any_order_cut_at_any_byte_gives_its_whole_count_or_none(
    document: dict[str, Any], data: st.DataObject
) -> None:
    members = data.draw(st.permutations(list(document.items())))
    text = json.dumps(dict(members), indent=data.draw(st.sampled_from([None, 1]))).encode()
    truth, model = read(text.decode())
    cut = data.draw(st.integers(0, len(text)))
    whole_or_nothing(text[:cut], is_tail=False, truth=truth, model=model)
    whole_or_nothing(text[cut:], is_tail=True, truth=truth, model=model)


STREAMED: list[list[dict[str, Any]]] = [
    [
        *({"model": "m", "choices": [{"index": i % 2, "delta": {"content": TEXT}, "finish_reason": reason}],
           "usage": counts(90, i)} for i, reason in enumerate([None, None, "stop", None, None, "stop"])),
        {"model": "m", "choices": [], "usage": counts(90, 5)},
    ],
    [*({"candidates": [{"content": TEXT}], "usageMetadata": GEMINI | {"candidatesTokenCount": i}} for i in range(3)),
     {"candidates": [{"content": TEXT, "finishReason": "STOP"}], "usageMetadata": GEMINI}],
    [*({"model": "m", "response": TEXT, "done": False} for _ in range(3)),
     {"model": "m", "response": "", "done": True, "prompt_eval_count": 26, "eval_count": 298, "eval_duration": 4799}],
    [{"event_type": "text-generation", "text": TEXT},
     {"event_type": "stream-end", "response": {"text": TEXT, "meta": BILLED}, "finish_reason": "COMPLETE"}],
    [{"type": "message-start"}, {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": BILLED}}],
    [{"type": "response.created", "response": {"model": "m", "usage": None}},
     {"type": "response.completed", "sequence_number": 9, "response": {
         "model": "m", "output": TEXT, "usage": {"input_tokens": 12, "output_tokens": 34, "total_tokens": 46}}}],
    [{"event_type": "interaction.complete",
      "interaction": {"model": "m", "usage": {"total_input_tokens": 9, "total_output_tokens": 13}}}],
    [{"type": "message_start", "message": {"model": "m", "usage": ANTHROPICS | {"output_tokens": 1}}},
     {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 7}},
     {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 25}},
     {"type": "message_stop"}],
]  # fmt: skip


@pytest.mark.parametrize(
    ("framing", "chunks"),
    [
        pytest.param(framing, chunks, id=f"{framing}-{'-'.join(chunks[-1])[:40]}")
        for framing in ("events", "lines", "array")
        for chunks in STREAMED
        # who sends running totals sends no lines: cut in the first, it would be a document
        if framing != "lines" or not {"usage", "usageMetadata"} & chunks[0].keys()
    ],
)
@settings(max_examples=20)  # each of many cuts
@given(st.data())
def test_a_stream_of_any_order_cut_at_any_byte_gives_its_whole_count_or_none(
    framing: str, chunks: list[dict[str, Any]], data: st.DataObject
) -> None:
    written = [json.dumps(dict(data.draw(st.permutations(list(each.items()))))) for each in chunks]
    before, between = {"events": ("data: ", "\n\n"), "lines": ("", "\n"), "array": ("", "\n,\r\n")}[framing]
    text = between.join(before + each for each in written)
    body = (f"[{text}]" if framing == "array" else text + between).encode()
    truth, model = read(body.decode())
    assert truth is not None
    lost = data.draw(st.integers(1, len(before + written[0])))
    for cut in range(data.draw(st.integers(0, 59)), len(body) + 1, 60):
        whole_or_nothing(body[:cut], is_tail=False, truth=truth, model=model)
        whole_or_nothing(body[cut:], is_tail=True, truth=truth, model=model)
        # Within one chunk, and where an array's last one is whole, nothing tells that others followed.
        if framing != "array" and cut > len(between.join(before + each for each in written[:2])):
            whole_or_nothing(body[lost:cut], is_tail=True, truth=truth, model=model)


TOTALS = [  # of two choices: all but the last, when the first has ended
    {"choices": [{"index": i, "finish_reason": reason}], "usage": counts(90, n)}
    for n, (i, reason) in enumerate([(0, None), (1, None), (0, "stop"), (1, None), (1, "stop")])
]


def test_a_chunk_that_was_cut_does_not_make_the_running_total_before_it_the_whole() -> None:
    """It says that the last choice has ended, and its own total is lost."""
    for framed in (json.dumps(TOTALS), "".join(chunk(**each) for each in TOTALS)):
        cut = framed.rindex('"usage"')
        for end in (cut, cut - 2, cut - 4):
            assert read(framed[:end])[0] is None, framed[:end][-60:]
    assert read(json.dumps(TOTALS))[0] == read(framed)[0] == Usage(90, 4, 94)


def test_a_running_total_in_the_middle_of_a_tail_is_not_the_whole() -> None:
    """The choice that goes on is in what was lost at the start, or was not heard of yet."""
    stream = "".join(chunk(**each) for each in TOTALS)
    start = stream.index('"finish_reason": "stop"') - 40
    for end in range(stream.index("data: {", start) + 7, stream.rindex('"usage"')):
        assert read(stream[start:end], is_tail=True)[0] is None, stream[start:end]
    one = 'o"}, "finish_reason": %s}], "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}'
    assert read(one % "null", is_tail=True)[0] is None
    assert read(one % '"stop"', is_tail=True)[0] == Usage(3, 2, 5)


def test_a_tail_of_vllms_whole_answer_has_its_usage() -> None:
    """It says both why a choice ended and, as null, which of the caller's stop words ended it."""
    tail = 'o"}, "finish_reason": "stop", "stop_reason": null}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}'
    assert read(tail, is_tail=True)[0] == Usage(3, 2, 5)


def test_a_choice_that_ends_after_the_cut_usage_does_not_make_the_usage_before_it_whole() -> None:
    ends = ((0, None), (1, None), (0, "stop"), (1, None), (1, "stop"))
    chunks = [
        {"choices": [{"index": choice, "finish_reason": end}], "usage": counts(9, n)}
        for n, (choice, end) in enumerate(ends)
    ]
    body = json.dumps(chunks).encode()
    truth, model = read(body.decode())
    assert truth is not None
    for cut in range(1, len(body)):
        whole_or_nothing(body[:cut], is_tail=False, truth=truth, model=model)


def test_first_of_several_anthropic_deltas_is_not_the_whole() -> None:
    """Deltas are running totals ("one or more message_delta events"): only one that ends the message tells all."""
    start = {"input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 1}
    body = anthropic(start, {"output_tokens": 8}, {"output_tokens": 20})
    truth, model = read(body)
    for cut in range(1, len(body)):
        whole_or_nothing(body[:cut].encode(), is_tail=False, truth=truth, model=model)


def test_running_totals_of_a_cut_stream_are_not_the_whole() -> None:
    """Usage in every chunk (DeepSeek, Perplexity, vLLM): the last one counts, and only if the stream got there."""
    going = [chunk(choices=[{"delta": {}, "finish_reason": None}], usage=counts(9, n)) for n in range(4)]
    body = "".join(going) + chunk(choices=[{"delta": {}, "finish_reason": "stop"}], usage=counts(9, 4))
    truth, model = read(body)
    assert truth == Usage(prompt_tokens=9, completion_tokens=4, total_tokens=13)
    for cut in range(1, len(body)):
        whole_or_nothing(body[:cut].encode(), is_tail=False, truth=truth, model=model)
        whole_or_nothing(body[cut:].encode(), is_tail=True, truth=truth, model=model)


def test_running_totals_of_two_choices_are_not_whole_when_only_one_has_finished() -> None:
    """n=2 with usage in every chunk (vLLM's continuous_usage_stats): the first to finish does not end the stream."""
    steps = [(0, None, 1), (1, None, 2), (0, "stop", 3), (1, None, 4), (1, "stop", 5)]
    body = "".join(chunk(choices=[{"index": i, "finish_reason": r}], usage=counts(9, n)) for i, r, n in steps)
    truth, model = read(body)
    for cut in range(1, len(body)):
        whole_or_nothing(body[:cut].encode(), is_tail=False, truth=truth, model=model)


@pytest.mark.parametrize("cache", [{}, {"cache_read_input_tokens": None}], ids=["absent", "null"])
def test_anthropic_tail_without_its_start_does_not_guess_the_cache_tokens(cache: dict[str, Any]) -> None:
    """A delta that repeats input_tokens but not the cache counts tells only a part of the prompt."""
    start = {"input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7, "output_tokens": 1}
    body = anthropic(start, {"input_tokens": 10, "output_tokens": 20, **cache})
    truth, model = read(body)
    for cut in range(1, len(body)):
        whole_or_nothing(body[cut:].encode(), is_tail=True, truth=truth, model=model)


def test_tail_is_known_by_its_offset() -> None:
    """body_offset 0 and null say that the body starts where the response starts."""
    tail = '"x"}], "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}'
    assert call_of_body(tail, body_offset=1).usage.total_tokens == 5
    assert call_of_body(tail, body_offset=0).usage_state == "missing"
    assert call_of_body(tail, body_offset=None).usage_state == "missing"


# --- large bodies -----------------------------------------------------------------------------------------------------

MEGABYTE = 1_000_000
CONTENT = chunk(choices=[{"delta": {"content": "Hello"}, "finish_reason": None}], usage=None)
ENDING = chunk(usage=counts(3, 2)) + "data: [DONE]\n\n"


@pytest.mark.parametrize(
    "body",
    [
        CONTENT * (MEGABYTE // len(CONTENT)) + ENDING,
        CONTENT * (MEGABYTE // len(CONTENT)),
        "\x07garbage" * (MEGABYTE // 8),
        "data: x" + "\n" * MEGABYTE,
        'data: {"type": "message_delta", "usage": {}}\n\n' * (MEGABYTE // 50),
        '{"a":' * (MEGABYTE // 5),
        '"' * MEGABYTE,
        '"usage"' + " " * MEGABYTE,
        '{"usage":' * (MEGABYTE // 20),
        ('"usage":{"a":[' + "1," * 250 + "1],") * (MEGABYTE // 1000),
    ],
    ids=["stream", "no-usage", "garbage", "blank", "deltas", "deep", "quotes", "spaces", "nested-usage", "long-usage"],
)
def test_time_to_read_grows_with_the_body_not_with_its_square(body: str) -> None:
    """A body of a megabyte, of whatever text, is read in a moment: the function's batch waits for it."""
    started = time.process_time()
    read(body)
    read(body, is_tail=True)
    assert time.process_time() - started < 2
