"""What the halves of one call tell, in any order, any number of times, with the deadline anywhere between them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.join import NOTHING, Known, Verdict, columns_of, judge, known_of, learn, settle
from ledger.rows import call_row_key
from models.call import Call
from models.half import Half
from tests.support.ledger import call

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
NOBODY: dict[str, Any] = {"app_id": None, "subscription_id": None, "product_id": None}
TOLD_BY = {
    "app": NOBODY | {"app_id": "app-1"},
    "subscription": NOBODY | {"subscription_id": "sub-1"},
    "product": NOBODY | {"product_id": "gold"},
    "nobody": NOBODY,
}


def usage(prompt: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}


def half_of(kind: str, number: int, has_usage: bool) -> Half:
    """One teller's half; the same teller always tells the same."""
    told = usage(10 + number) if has_usage else None
    if kind in TOLD_BY:
        waits = number % 2 == 1 and not has_usage
        return Half("policy", call(request_id=GUID, usage=told, stream=True, **TOLD_BY[kind]), waits)
    if kind == "gateway_log":
        made = call(request_id=GUID, usage=None, stream=True, **TOLD_BY["subscription"] | {"subscription_id": "sub-2"})
        return Half("gateway_log", made, waits=True)
    return llm_row(ROWS[number])


ROWS: list[dict[str, Any]] = [
    {"usage": usage(99)},
    {"usage": {"prompt_tokens": 26, "completion_tokens": 0}},
    {"usage": {"prompt_tokens": 26, "completion_tokens": 431, "prompt_tokens_details": {"cached_tokens": 4}}},
    {"usage": {"completion_tokens": 431}, "response_model": None, "deployment": None},
    {"usage": {"total_tokens": 457}},
    {"usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 24}},
    {"usage": None, "response_model": "gpt-4o-2024-08-06", "deployment": "chat-prod", "region": "West Europe"},
    {"usage": None, "response_model": "gpt-4o", "deployment": None},
]
"""What one row of the gateway's LLM log says of a call."""


def llm_row(told: dict[str, Any]) -> Half:
    return Half("llm_log", call(request_id=GUID, **NOBODY | {"response_model": None, "deployment": None} | told), True)


KINDS = (*TOLD_BY, "gateway_log", "llm_log")
halves = st.sets(st.sampled_from(KINDS), min_size=1).flatmap(
    lambda kinds: st.tuples(*(st.builds(half_of, st.just(kind), st.integers(0, 3), st.booleans()) for kind in kinds))
)
rows = st.lists(st.sampled_from(ROWS).map(llm_row), max_size=4).map(tuple)


def place(counted: Call) -> tuple[str, str]:
    return counted.app, call_row_key(counted)


def after(order: list[Half | None]) -> tuple[Known, dict[tuple[str, str], Call]]:
    """What is known in the end, and what is counted where, as the ledger does it: what has a higher rank stands. None
    is the deadline; a row is stored and read."""
    known, counted = NOTHING, dict[tuple[str, str], Call]()
    for half in order:
        known = known_of(columns_of(settle(known) if half is None else learn(known, [half])))
        verdict: Verdict = judge(known)
        if verdict.call is not None:
            row = counted.setdefault(place(verdict.call), verdict.call)
            if row.rank < verdict.call.rank:
                counted[place(verdict.call)] = verdict.call
        for former in verdict.moved:
            counted[place(former)] = former
    return known, {where: row for where, row in counted.items() if row.stage != "moved"}


@given(told=halves, more=rows, data=st.data())
def test_any_order_leads_to_the_same_call_counted_in_one_place(
    told: tuple[Half, ...], more: tuple[Half, ...], data: st.DataObject
) -> None:
    once = [*told, *more, None]
    order = data.draw(st.permutations([*once, *data.draw(st.lists(st.sampled_from(once), max_size=4))]))
    (expected, _), (known, counted) = after([*once]), after([*order, None])
    first, second = judge(expected).call, judge(known).call
    assert first is not None
    assert second is not None
    assert counted == {place(second): second}
    assert said(first) == said(second)


def said(counted: Call) -> tuple[object, ...]:
    return (
        counted.app, counted.usage, counted.usage_state, counted.missing_reason, counted.stage, counted.model,
        counted.deployment, counted.region,
    )  # fmt: skip


@given(told=halves, more=rows)
def test_what_is_known_is_stored_as_it_is(told: tuple[Half, ...], more: tuple[Half, ...]) -> None:
    known = learn(NOTHING, [*told, *more])
    assert known_of(columns_of(known)) == known


@given(more=rows.filter(bool), data=st.data())
def test_rows_of_the_llm_log_say_together_the_most_that_any_says(more: tuple[Half, ...], data: st.DataObject) -> None:
    order = data.draw(st.permutations([*more, *data.draw(st.lists(st.sampled_from(more), max_size=3))]))
    call = learn(NOTHING, order).halves["llm_log"].call
    stated = [half.call.usage for half in more]
    for name in ("prompt_tokens", "completion_tokens", "cached_prompt_tokens"):
        assert getattr(call.usage, name) == max(
            (count for usage in stated if (count := getattr(usage, name)) is not None), default=None
        )
    if call.usage.prompt_tokens is not None or call.usage.completion_tokens is not None:
        assert call.usage.total_tokens == (call.usage.prompt_tokens or 0) + (call.usage.completion_tokens or 0)
    else:
        assert call.usage.total_tokens == (max((usage.total_tokens or 0 for usage in stated), default=0) or None)
    assert call.model == max((half.call.model for half in more if half.call.model), default=None)


def test_a_total_that_is_more_than_what_it_is_made_of_is_kept_as_reported() -> None:
    both = learn(NOTHING, map(llm_row, (ROWS[1], ROWS[4], ROWS[1]))).halves["llm_log"].call.usage
    assert (both.total_tokens, both.total_tokens_reported) == (26, 457)
    whole = learn(NOTHING, map(llm_row, (ROWS[1], ROWS[4], ROWS[3]))).halves["llm_log"].call.usage
    assert (whole.total_tokens, whole.total_tokens_reported) == (457, None)
