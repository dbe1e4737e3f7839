"""What the halves of one call tell -> the call to count. Pure.

    policy                   the policy's event: who called, and maybe the usage
    gateway_log, llm_log     the gateway's own records of the request, and of the model's answer

The first of these that names somebody says who called (HALF_KINDS), the policy, else the llm_log what was used. A call
is counted as soon as both are known; by a deadline it is counted with what is known then. Whatever comes after that
corrects it: usage takes the place of none, and a call that was counted under another app or day is moved.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ledger.rows import call_columns, call_of, call_row_key, hour_of
from ledger.store import Entity
from models.call import Call
from models.half import HALF_KINDS, Half, HalfKind


class Known(NamedTuple):
    """What is known of one call.

    `complete`: a policy's event with usage was counted, so nothing more is needed of any half. `settled`: the deadline
    has passed. `counted_as`: the halves that said who called whenever the call was to be counted; each is noted before
    it is done, so that whoever moves the call finds all places where it may be.
    """

    halves: Mapping[HalfKind, Half]
    complete: bool = False
    settled: bool = False
    counted_as: frozenset[HalfKind] = frozenset()


NOTHING = Known({})


class Verdict(NamedTuple):
    """`call` is what to count, None as long as it waits. `moved` are its former places, where it is counted no more."""

    call: Call | None
    moved: list[Call]


def learn(known: Known, halves: Iterable[Half]) -> Known:
    """`known` and what `halves` add to it, in whatever order and however often they come."""
    told = dict(known.halves)
    complete = known.complete
    for half in halves:
        if is_stranger(known._replace(halves=told), half):
            continue
        earlier = told.get(half.kind)
        # Of several records for one half, such as the rows that the LLM log has for one request, the one with usage.
        if earlier is None:
            told[half.kind] = half
        elif _has_usage(half) and not _has_usage(earlier):
            call = half.call._replace(timestamp=earlier.call.timestamp)  # a row of the log never changes its place
            told[half.kind] = half._replace(call=call)
        complete = complete or (half.kind == "policy" and _has_usage(half))
    if known.complete and "policy" not in told:
        return known
    return _noted(known._replace(halves=told, complete=complete))


def is_stranger(known: Known, half: Half) -> bool:
    """True for a whole call of another app, or of another day, than the one that is known by this id."""
    policy = known.halves.get("policy")
    return half.kind == "policy" and not half.waits and policy is not None and _place(policy.call) != _place(half.call)


def settle(known: Known) -> Known:
    """`known` when the deadline has passed."""
    return _noted(known._replace(settled=True))


def is_waiting(known: Known) -> bool:
    """True if the call is neither counted nor to be counted yet."""
    return not known.complete and bool(known.halves) and not _ready(known)


def judge(known: Known) -> Verdict:
    """What to count, and what no more."""
    if not known.halves or (known.complete and "policy" not in known.halves) or not _ready(known):
        return Verdict(None, [])
    kind = _caller(known)
    call = _joined(known, kind)
    before = [known.halves[other].call for other in HALF_KINDS if other != kind and other in known.counted_as]
    moved = [former._replace(stage="moved") for former in before if _place(former) != _place(call)]
    return Verdict(call, moved)


def _caller(known: Known) -> HalfKind:
    """The half that says who called: the first that names somebody, else the first."""
    told = [kind for kind in HALF_KINDS if kind in known.halves]
    return next((kind for kind in told if known.halves[kind].call.app_source != "none"), told[0])


def _ready(known: Known) -> bool:
    if known.settled or known.complete:
        return True
    policy = known.halves.get("policy")
    if policy is not None and not policy.waits:
        return True
    return set(known.halves) != {"llm_log"} and any(map(_has_usage, known.halves.values()))


def _noted(known: Known) -> Known:
    if not _ready(known):
        return known
    return known._replace(counted_as=known.counted_as | {_caller(known)})


def _has_usage(half: Half) -> bool:
    return half.call.usage_state == "reported"


def _joined(known: Known, kind: HalfKind) -> Call:
    """The call of the half that says who called, with what the others know better."""
    call = known.halves[kind].call
    for other in ("policy", "llm_log"):
        if other == kind or other not in known.halves:
            continue
        told = known.halves[other].call
        if call.usage_state != "reported":
            call = call._replace(model=told.model or call.model, deployment=call.deployment or told.deployment)
        # Reading a stored response repeats its usage, whoever tells it.
        if call.usage_state != "reported" and told.usage_state == "reported" and call.missing_reason != "not_metered":
            call = call._replace(
                usage=told.usage,
                usage_state="reported",
                missing_reason=None,
                usage_shape=told.usage_shape,
                estimate=None,
                stage="logged" if other == "llm_log" else "final",
            )
    return call if kind != "llm_log" or call.stage != "final" else call._replace(stage="logged")


def _place(call: Call) -> tuple[str, str, str]:
    return call.app, hour_of(call.timestamp)[:6], call_row_key(call)


def columns_of(known: Known) -> Entity:
    """The columns that hold it. Of a complete call it is enough to know that it is."""
    columns: Entity = {
        "complete": known.complete,
        "settled": known.settled,
        "counted_as": ",".join(sorted(known.counted_as)),
    }
    for kind, half in known.halves.items():
        if not (known.complete and kind == "policy"):
            columns[f"{kind}_waits"] = half.waits
            columns.update((f"{kind}_{name}", value) for name, value in call_columns(half.call).items())
    return columns


def known_of(columns: Mapping[str, Any]) -> Known:
    """What `columns_of` made these of."""
    halves: dict[HalfKind, Half] = {}
    for kind in HALF_KINDS:
        if f"{kind}_waits" in columns:
            start = len(kind) + 1
            told = {name[start:]: value for name, value in columns.items() if name.startswith(f"{kind}_")}
            halves[kind] = Half(kind, call_of(told), columns[f"{kind}_waits"])
    counted_as = frozenset(kind for kind in HALF_KINDS if kind in columns["counted_as"].split(","))
    return Known(halves, columns["complete"], columns["settled"], counted_as)
