"""collectors.estimate: what becomes of calls without usage with the setting on, and that nothing does with it off."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.collect import Collected, collect
from collectors.estimate import ESTIMABLE, MAX_CHARACTERS, encoding_of, estimated
from models.call import Call
from models.usage import MISSING_REASONS, Estimate, MissingReason, Usage
from tests.collectors.dialects.fixtures import MARK, cases, record_of
from tests.collectors.reading import LONG_AGO, call_of
from tests.support.events import raw_event, usage_event

SAMPLES = Path(__file__).parents[2] / "samples"
RECORDS = [
    json.loads(line)
    for name in ("recorded.jsonl", "providers.jsonl")
    for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()
]


def with_estimates(*bodies: object) -> Collected:
    events = [raw_event(body, sequence_number=number) for number, body in enumerate(bodies)]
    return collect(events, LONG_AGO, estimate_usage=True)


def one(record: object) -> Call:
    (call,) = with_estimates(record).calls
    return call


def of_event(**changes: Any) -> Call:
    return one(usage_event(**{"usage": None, "response_model": None} | changes))


def answer(text: str, model: str = "gpt-4o-2024-08-06") -> str:
    return json.dumps({"model": model, "choices": [{"message": {"role": "assistant", "content": text}}]})


def stream(*parts: str, end: bool = True) -> str:
    chunks = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in parts]
    data = [json.dumps({"model": "gpt-4o-2024-08-06", "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
    if end:
        data += ['{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}', "[DONE]"]
    return "".join(f"data: {each}\n\n" for each in data)


FIVE_TOKENS = ["South", " Atlantic", " Ocean", " is", " cold"]


def test_a_stream_without_usage_is_estimated_from_its_joined_parts() -> None:
    for parts in (FIVE_TOKENS, list("".join(FIVE_TOKENS))):  # whatever way a provider cuts it
        call = of_event(stream=True, body=stream(*parts))
        assert (call.usage_state, call.missing_reason) == ("estimated", "not_requested")
        assert call.estimate == Estimate(None, 5)
        assert call.usage == Usage()
        assert call.stage == "provisional"


def test_a_body_whose_usage_nobody_knows_is_estimated() -> None:
    call = of_event(body=answer("".join(FIVE_TOKENS)))
    assert (call.usage_state, call.missing_reason, call.estimate) == ("estimated", "unrecognised", Estimate(None, 5))


def test_reported_usage_is_never_replaced() -> None:
    reported = '{"usage": {"prompt_tokens": 1, "completion_tokens": 2}, "choices": [{"text": "a b c d e f g"}]}'
    for call in (one(usage_event(body=answer("text"))), of_event(body=reported)):
        assert (call.usage_state, call.estimate) == ("reported", None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": answer("text"), "status": 500}, "error_response"),
        ({"body": answer("text"), "error": {"reason": "BackendConnectionFailure"}}, "error_response"),
        ({"body": answer("text"), "method": "GET"}, "not_metered"),
        ({"body": '{"error": {"message": "text"}}'}, "error_response"),
        ({"body": '{"results": [{"relevance_score": 1, "text": "text"}]}'}, "not_metered"),
    ],
)
def test_errors_and_what_has_no_tokens_are_not_estimated(changes: dict[str, Any], reason: str) -> None:
    call = of_event(**changes)
    assert (call.usage_state, call.missing_reason, call.estimate) == ("missing", reason, None)


def test_what_a_client_got_before_it_hung_up_is_estimated() -> None:
    call = of_event(stream=True, status=499, body=stream(*FIVE_TOKENS, end=False))
    assert (call.usage_state, call.missing_reason) == ("estimated", "client_disconnected")
    assert call.estimate == Estimate(None, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": stream(*FIVE_TOKENS, end=False)},
        {"body": stream(*FIVE_TOKENS)[40:], "body_offset": 40},
        {"body": answer("".join(FIVE_TOKENS))[:-9]},
    ],
    ids=["a stream without its end", "a tail", "a document without its end"],
)
def test_a_part_of_an_answer_is_no_ground_for_an_estimate(changes: dict[str, Any]) -> None:
    call = of_event(stream=True, **changes)
    assert (call.usage_state, call.estimate) == ("missing", None)


QUESTION = "Answer in up to 3 words: Which ocean contains the falkland islands?"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": QUESTION}]}
TWENTY_FOUR = 24
"""What gpt-4o-mini and gpt-4 reported for CHAT (elastic/elastic-otel-python-instrumentations, recorded answers)."""

CARRIERS: dict[str, tuple[dict[str, Any], Estimate]] = {
    "private_openai": (
        record_of("private_openai", "stream_without_usage")
        | {"request": json.dumps(CHAT), "response": stream(*FIVE_TOKENS)},
        Estimate(TWENTY_FOUR, 5),
    ),
    "tkcount": (
        record_of("tkcount", "stream_without_usage") | {"RequestBody": CHAT, "ResponseBody": stream(*FIVE_TOKENS)},
        Estimate(TWENTY_FOUR, 5),
    ),
    "sse_proxy": (
        record_of("sse_proxy", "usage_not_asked_for") | {"prompt": CHAT["messages"], "content": "".join(FIVE_TOKENS)},
        Estimate(TWENTY_FOUR, 5),
    ),
    "raw_response": (
        record_of("raw_response", "stream") | {"request": CHAT, "response": stream(*FIVE_TOKENS)},
        Estimate(TWENTY_FOUR, 5),
    ),
    "apim_chargeback": (
        record_of("apim_chargeback", "whole")
        | {"requestBody": CHAT, "responseBody": json.loads(answer("".join(FIVE_TOKENS)))},
        Estimate(TWENTY_FOUR, 5),
    ),
    "apim_chargeback, the last chunk alone": (
        record_of("apim_chargeback", "last_chunk")
        | {
            "requestBody": CHAT | {"stream": True},
            "responseBody": {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "."}}]},
        },
        Estimate(TWENTY_FOUR, None),
    ),
    "exchange": (
        {"request": CHAT, "response": json.loads(answer("".join(FIVE_TOKENS)))},
        Estimate(TWENTY_FOUR, 5),
    ),
    "exchange over HTTP": (
        {
            "request": {"method": "POST", "path": "/chat/completions", "body": json.dumps(CHAT)},
            "response": {"status": 200, "body": stream(*FIVE_TOKENS)},
        },
        Estimate(TWENTY_FOUR, 5),
    ),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_prompt_and_answer_of_the_dialects_that_carry_them(name: str) -> None:
    record, estimate = CARRIERS[name]
    call = one(record)
    assert (call.usage_state, call.estimate) == ("estimated", estimate)


@pytest.mark.parametrize(
    ("model", "request_", "prompt_tokens"),
    [  # as the provider counted them (recordings of traceloop/openllmetry, open-telemetry/opentelemetry-python-contrib)
        ("gpt-35-turbo", {"messages": [{"role": "user", "content": "Tell me a joke about opentelemetry"}]}, 15),
        ("gpt-4.1-mini", {"messages": [{"role": "user", "content": "Tell me a joke about opentelemetry"}]}, 16),
        ("gpt-4-0613", {"messages": [{"role": "user", "content": "Say this is a test"}]}, 12),
        ("text-embedding-3-small", {"input": ["South Atlantic Ocean."], "model": "text-embedding-3-small"}, 4),
        ("text-embedding-ada-002", {"input": "Tell me a joke about opentelemetry", "model": "embed"}, 8),
        ("davinci-002", {"prompt": [[1, 2, 3], [4]]}, 4),
        ("gpt-4o", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}, "Q"]}]}, 8),
    ],
)  # fmt: skip
def test_prompts_are_counted_as_openai_counts_them(model: str, request_: object, prompt_tokens: int) -> None:
    call = missing("not_requested")._replace(model=model)
    made = estimated(call, body="{}", whole=True, answer=None, request=request_)
    assert made.estimate == Estimate(prompt_tokens, None)


def missing(reason: MissingReason) -> Call:
    return call_of(usage=None)._replace(missing_reason=reason)


@pytest.mark.parametrize("reason", MISSING_REASONS)
def test_why_usage_is_missing_decides_what_is_estimated(reason: MissingReason) -> None:
    made = estimated(missing(reason), body=None, whole=True, answer="".join(FIVE_TOKENS), request=CHAT)
    expected = {
        "not_requested": Estimate(TWENTY_FOUR, 5),
        "unrecognised": Estimate(TWENTY_FOUR, 5),
        "client_disconnected": Estimate(TWENTY_FOUR, 5),
        "truncated": Estimate(TWENTY_FOUR, None),
    }
    assert made.estimate == expected.get(reason)
    assert (made.usage_state == "estimated") is (reason in ESTIMABLE)


def test_a_request_that_nothing_says_was_answered_is_not_estimated() -> None:
    for reason in ("not_requested", "unrecognised"):
        call = missing(reason)
        assert estimated(call, body="", whole=True, answer=None, request=CHAT) == call
    hung_up = estimated(missing("client_disconnected"), body=None, whole=True, answer=None, request=CHAT)
    assert hung_up.estimate == Estimate(TWENTY_FOUR, None)


@pytest.mark.parametrize("request_", [None, "no JSON", "[]", {}, {"messages": []}, 5, [1], {"body": None}])
def test_a_request_without_text_gives_no_prompt(request_: object) -> None:
    made = estimated(missing("not_requested"), body=answer("x"), whole=True, answer=None, request=request_)
    assert made.estimate == Estimate(None, 1)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        *((name, "cl100k_base") for name in ("gpt-4", "gpt-4-32k", "gpt-4-turbo-2024-04-09", "gpt-4-1106-preview")),
        *((name, "cl100k_base") for name in ("gpt-3.5-turbo-0125", "gpt-35-turbo", "ft:gpt-3.5-turbo:org", "gpt4")),
        *((name, "cl100k_base") for name in ("text-embedding-3-large", "text-embedding-ada-002", "davinci-002")),
        *((name, "o200k_base") for name in ("gpt-4o-2024-08-06", "gpt-4.1-mini", "gpt-4.5-preview", "gpt-41", "gpt4o")),
        *(
            (name, "o200k_base")
            for name in ("gpt-5", "o1", "o4-mini", "chatgpt-4o-latest", "claude-sonnet-4", "", "chat")
        ),
    ],
)
def test_each_model_has_its_vocabulary_and_the_unknown_the_present_one(model: str, encoding: str) -> None:
    assert encoding_of(model) == encoding


def without_usage(body: str) -> str:
    """A recorded body as it would be, had the provider not reported usage."""
    if body.lstrip().startswith("{"):
        return json.dumps(_without(json.loads(body)))
    lines = []
    for line in body.splitlines():
        data = line.removeprefix("data:").strip()
        lines.append(f"data: {json.dumps(_without(json.loads(data)))}" if data.startswith("{") else line)
    return "\n".join(lines)


def _without(document: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in document.items() if name not in ("usage", "x_groq")}
    return rest | {"response": _without(rest["response"])} if isinstance(rest.get("response"), dict) else rest


def _is_plain(record: dict[str, Any]) -> bool:
    """True for text of those of OpenAI's models that do not reason, without tools."""
    expected, body = record["expected"], record["response"]["body"]
    return (
        record["provider"] in ("openai", "azure-openai")
        and record["operation"] in ("chat", "completions", "responses")
        and bool(expected and expected["completion_tokens"])
        and not expected["model"].startswith(("gpt-5", "o"))
        and not any(mark in body for mark in ('"tool_calls"', '"function_call"', '"mcp_call"'))
    )


PLAIN = [record for record in RECORDS if _is_plain(record)]


def test_there_are_plain_answers_to_compare() -> None:
    assert len(PLAIN) >= 20


@pytest.mark.parametrize("record", PLAIN, ids=lambda record: record["source"][-50:])
def test_openais_plain_answers_are_estimated_to_two_tokens(record: dict[str, Any]) -> None:
    call = of_event(body=without_usage(record["response"]["body"]), stream=record["streaming"])
    assert call.estimate is not None
    assert call.estimate.completion_tokens is not None
    assert abs(call.estimate.completion_tokens - record["expected"]["completion_tokens"]) <= 2


PATHOLOGICAL = {
    "spaces": " ", "a": "a", "A": "A", "digits": "1", "newlines": "\n", "slashes": "/", "quotes": "'", "emoji": "😀",
    "marks": "\u0301", "ideographs": "漢", "zeros": "\0", "aA": "aA", "words": "a ", "lines": " " * 500 + "\n",
}  # fmt: skip


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_a_million_of_anything_takes_seconds_at_most(name: str) -> None:
    """The slowest takes half a second; of a tokenizer whose time is quadratic, one would take minutes."""
    unit = PATHOLOGICAL[name]
    text = unit * (MAX_CHARACTERS // len(unit))
    missing_call = missing("not_requested")
    estimated(missing_call, body=answer("x"), whole=True, answer=None, request=CHAT)  # the vocabulary is loaded once
    started = time.monotonic()
    made = estimated(missing_call, body=answer(text), whole=True, answer=None, request=None)
    assert time.monotonic() - started < 15
    assert made.estimate is not None
    assert 0 < (made.estimate.completion_tokens or 0) <= len(text.encode())


def test_more_text_than_the_bound_is_not_estimated() -> None:
    call = missing("not_requested")
    over = estimated(call, body=None, whole=True, answer="a " * MAX_CHARACTERS, request=CHAT)
    assert over.estimate == Estimate(TWENTY_FOUR, None)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=400) | st.text(max_size=50))
def test_any_text_is_estimated_the_same_in_a_stream_and_whole(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()  # as it is in JSON
    whole, parts = of_event(body=answer(text)), of_event(body=stream(*text), stream=True)
    assert whole.estimate == parts.estimate
    assert (whole.estimate is None) is (text == "")
    if whole.estimate is not None:
        assert 0 < (whole.estimate.completion_tokens or 0) <= len(text.encode())


ALL_EVENTS = [
    *(case.record for case in cases()),
    *(record for record, _ in CARRIERS.values()),
    *(usage_event(usage=None, body=record["response"]["body"], stream=record["streaming"]) for record in RECORDS),
]


def test_nothing_but_calls_without_usage_is_touched_and_off_is_as_if_it_did_not_exist() -> None:
    events = [raw_event(body, sequence_number=number) for number, body in enumerate(ALL_EVENTS)]
    off, on = collect(events, LONG_AGO), collect(events, LONG_AGO, estimate_usage=True)
    assert off == collect(events, LONG_AGO, estimate_usage=False)
    assert all(call.usage_state != "estimated" and call.estimate is None for call in off.calls)
    assert len(on.calls) == len(off.calls)
    for with_estimate, without in zip(on.calls, off.calls, strict=True):
        if with_estimate.usage_state == "estimated":
            assert without.usage_state == "missing"
            assert with_estimate.estimate is not None
            assert with_estimate._replace(usage_state="missing", estimate=None) == without
        else:
            assert with_estimate == without
    assert on._replace(calls=off.calls) == off


@settings(max_examples=150)
@given(st.sampled_from(ALL_EVENTS), st.floats(0, 1))
def test_a_message_cut_anywhere_is_no_fault_and_says_no_more_than_the_whole(record: object, share: float) -> None:
    text = json.dumps(record, ensure_ascii=False).encode()
    cut = collect([raw_event(text[: int(len(text) * share)])], LONG_AGO, estimate_usage=True)
    whole = collect([raw_event(text)], LONG_AGO, estimate_usage=True)
    assert all(letter.reason != "unreadable" for letter in cut.dead_letters)
    for call in cut.calls:
        if call.estimate is None or not whole.calls:
            continue
        full = whole.calls[0]
        assert call.estimate.completion_tokens in (None, full.estimate and full.estimate.completion_tokens)
        if full.estimate is not None:
            assert call.estimate.prompt_tokens in (None, full.estimate.prompt_tokens)


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.module}.{case.name}")
def test_no_text_is_kept(case: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert MARK not in repr(with_estimates(case.record))
    assert MARK not in caplog.text
