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
    return Half("llm_log", call(request_id=GUID, usage=usage(99), **NOBODY), waits=True)


KINDS = (*TOLD_BY, "gateway_log", "llm_log")
halves = st.sets(st.sampled_from(KINDS), min_size=1).flatmap(
    lambda kinds: st.tuples(*(st.builds(half_of, st.just(kind), st.integers(0, 3), st.booleans()) for kind in kinds))
)


def place(counted: Call) -> tuple[str, str]:
    return counted.app, call_row_key(counted)


def after(order: list[Half | None]) -> tuple[Known, set[tuple[str, str]]]:
    """What is known in the end, and where the call is counted then. None is the deadline; a row is stored and read."""
    known, counted = NOTHING, set()
    for half in order:
        known = known_of(columns_of(settle(known) if half is None else learn(known, [half])))
        verdict: Verdict = judge(known)
        if verdict.call is not None:
            counted.add(place(verdict.call))
        counted -= {place(former) for former in verdict.moved}
    return known, counted


@given(told=halves, data=st.data())
def test_any_order_leads_to_the_same_call_counted_in_one_place(told: tuple[Half, ...], data: st.DataObject) -> None:
    once = [*told, None]
    order = data.draw(st.permutations([*once, *data.draw(st.lists(st.sampled_from(once), max_size=4))]))
    (expected, _), (known, counted) = after([*once]), after([*order, None])
    first, second = judge(expected).call, judge(known).call
    assert first is not None
    assert second is not None
    assert counted == {place(second)}
    assert (first.app, first.usage, first.usage_state, first.stage) == (
        second.app,
        second.usage,
        second.usage_state,
        second.stage,
    )


@given(told=halves)
def test_what_is_known_is_stored_as_it_is(told: tuple[Half, ...]) -> None:
    known = learn(NOTHING, told)
    assert known_of(columns_of(known)) == known
