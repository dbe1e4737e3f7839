"""What the halves of one call tell -> the call to count. Pure.

    policy                   a policy's event: who called, and maybe the usage; several policies may send one
    gateway_log, llm_log     the gateway's own records of the request, and of the model's answer

The first that names somebody says who called (TELLERS); the usage is its own, else another policy's, else the
llm_log's. A call is counted as soon as both are known; by a deadline it is counted with what is known then. Whatever
comes after that corrects it: usage takes the place of none, and a call that was counted under another app or day is
moved. Every order of the same records leads to the same call. The llm_log has several rows of one request: what they
state is taken together, and one that says more than the call was counted with corrects it, once.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from azure.data.tables import EntityProperty
from pydantic_core import from_json, to_json

from ledger.rows import call_columns, call_of, call_row_key, hour_of
from ledger.store import Entity
from models.call import Call
from models.half import Half

TELLERS: Final = ("policy_entra_app", "policy_subscription", "policy_product", "gateway_log", "policy_none", "llm_log")
"""Who tells of a call, in the order in which they are believed about who called. A policy's event is told from another
policy's by what it names."""


class Known(NamedTuple):
    """What is known of one call, by who told it.

    `settled`: the deadline has passed. `counted_as`: the tellers who said who called whenever the call was to be
    counted; each is noted before it is done, so that whoever moves the call finds all places where it may be.
    `revision`: how often what is to be counted changed since.
    """

    halves: Mapping[str, Half]
    settled: bool = False
    counted_as: frozenset[str] = frozenset()
    revision: int = 0


NOTHING = Known({})


class Verdict(NamedTuple):
    """`call` is what to count, None as long as it waits. `moved` are its former places, where it is counted no more."""

    call: Call | None
    moved: list[Call]


def teller(half: Half) -> str:
    """One of TELLERS."""
    return f"policy_{half.call.app_source}" if half.kind == "policy" else half.kind


def learn(known: Known, halves: Iterable[Half]) -> Known:
    """`known` and what `halves` add to it, in whatever order and however often they come."""
    for half in halves:
        if is_stranger(known, half) or is_superfluous(known, half):
            continue
        told = teller(half)
        after = with_half(known.halves.get(told), half)
        if after is known.halves.get(told):
            continue
        before, known = known, known._replace(halves={**known.halves, told: after})
        # Who said so is noted at the end; what is counted is a revision of what may be counted by now.
        if before.halves and _ready(before) and _counted(known) != _counted(before):
            known = known._replace(revision=known.revision + 1)
    return _noted(known)


def with_half(earlier: Half | None, half: Half) -> Half:
    """Of several records of one teller the one with usage; but the LLM log has several rows of one request, and what
    was used may stand on any of them."""
    if earlier is None:
        return half
    if half.kind == "llm_log":
        merged = earlier._replace(call=_with_more(earlier.call, half.call))
        return earlier if merged == earlier else merged
    if _has_usage(half) and not _has_usage(earlier):
        return half._replace(call=half.call._replace(**{name: getattr(earlier.call, name) for name in _WHERE}))
    return earlier


_WHERE: Final = ("app", "app_source", "timestamp", "clamped", "stated_timestamp", "undated")
"""What says where a call is counted. It stays as the first record had it, so that it is found there."""
_FIRST: Final = frozenset(
    {*_WHERE, "origin", "position", "stage", "usage", "usage_state", "missing_reason", "estimate"}
)


def _with_more(call: Call, other: Call) -> Call:
    """What two rows of one log say together: of counts the greater, of names the one that is there."""
    usage = call.usage.with_more(other.usage)
    reported = call if call.usage_state == "reported" else other
    names = {name: _either(getattr(call, name), getattr(other, name)) for name in Call._fields if name not in _FIRST}
    return call._replace(
        **names, usage=usage, usage_state=reported.usage_state, missing_reason=reported.missing_reason,
        stage=reported.stage, estimate=None if reported.usage_state == "reported" else call.estimate,
    )  # fmt: skip


def _either(one: Any, other: Any) -> Any:
    """Where two rows differ, the greater: whichever comes first, the same."""
    return other if one is None else one if other is None else max(one, other)


def meeting_of(half: Half) -> str:
    """Under which name the records of a call meet: its request_id. A call whose day is not sure is told from those of
    other apps by the app, if its id is no GUID: it must be found again, and may not be another's."""
    call = half.call
    if half.of_any_day and not _GUID.fullmatch(call.request_id):
        return f"of_app:{hashlib.sha256(to_json([call.app, call.request_id])).hexdigest()}"
    return call.request_id


def is_stranger(known: Known, half: Half) -> bool:
    """True for a whole call of another app, or another day, than the one that is known by an id that is no GUID, since
    senders that are no gateway of ours may number their calls. A GUID is one call, whoever tells of it, and so is a
    call whose day only its deliveries say."""
    if half.kind != "policy" or half.waits or half.call.app_source == "none" or _GUID.fullmatch(half.call.request_id):
        return False
    if half.of_any_day:
        return False
    named = [other.call for told, other in known.halves.items() if told in TELLERS[:3]]
    return bool(named) and _place(half.call) not in map(_place, named)


def is_superfluous(known: Known, half: Half) -> bool:
    """True if nothing that it tells could change the call: a policy that is believed before it told all."""
    if not known.halves:
        return False
    caller = _caller(known)
    decided = caller in TELLERS[:3] and _has_usage(known.halves[caller])
    return decided and TELLERS.index(teller(half)) > TELLERS.index(caller)


def settle(known: Known) -> Known:
    """`known` when the deadline has passed."""
    return _noted(known._replace(settled=True))


def is_waiting(known: Known) -> bool:
    """True if the call is neither counted nor to be counted yet."""
    return bool(known.halves) and not _ready(known)


def judge(known: Known) -> Verdict:
    """What to count, and what no more."""
    if not known.halves or not _ready(known):
        return Verdict(None, [])
    caller = _caller(known)
    call = _joined(known, caller)
    former = {_place(known.halves[told].call): known.halves[told].call for told in TELLERS if told in known.counted_as}
    if call.stated_timestamp is not None:  # where it would be counted if it came again when that time is past
        stated = call._replace(timestamp=call.stated_timestamp)
        former.setdefault(_place(stated), stated)
    former.pop(_place(call), None)
    return Verdict(call, [each._replace(stage="moved") for each in former.values()])


def _caller(known: Known) -> str:
    """Who says who called: the first that names somebody, else a policy before the gateway's logs."""
    told = [each for each in TELLERS if each in known.halves]
    named = next((each for each in told if known.halves[each].call.app_source != "none"), None)
    return named or ("policy_none" if "policy_none" in told else told[0])


def _ready(known: Known) -> bool:
    policies = [half for told, half in known.halves.items() if told.startswith("policy")]
    if known.settled or any(not half.waits or _has_usage(half) for half in policies):
        return True
    return set(known.halves) != {"llm_log"} and any(map(_has_usage, known.halves.values()))


def _counted(known: Known) -> Call:
    return _joined(known, _caller(known))._replace(revision=0)


def _noted(known: Known) -> Known:
    if not known.halves or not _ready(known):
        return known
    return known._replace(counted_as=known.counted_as | {_caller(known)})


def _has_usage(half: Half) -> bool:
    return half.call.usage_state == "reported"


def _joined(known: Known, caller: str) -> Call:
    """The call of the half that says who called, with what the others know better."""
    call = known.halves[caller].call
    for other in TELLERS:
        if other in (caller, "gateway_log") or other not in known.halves:
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
    if caller == "llm_log" and call.stage == "final":
        call = call._replace(stage="logged")
    return call._replace(revision=known.revision)


_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def _place(call: Call) -> tuple[str, str, str]:
    return call.app, hour_of(call.timestamp)[:6], call_row_key(call)


def columns_of(known: Known) -> Entity:
    """The columns that hold it: a document for each teller."""
    columns: Entity = {"settled": known.settled, "counted_as": ",".join(sorted(known.counted_as))}
    if known.revision:
        columns["revision"] = known.revision
    for told, half in known.halves.items():
        call = {name: _plain(value) for name, value in call_columns(half.call).items()}
        columns[told] = to_json({"kind": half.kind, "waits": half.waits, "call": call}).decode()
    return columns


def _plain(value: object) -> object:
    return value.value if isinstance(value, EntityProperty) else value


def known_of(columns: Mapping[str, Any]) -> Known:
    """What `columns_of` made these of."""
    documents = {told: from_json(columns[told]) for told in TELLERS if told in columns}
    halves = {told: Half(each["kind"], call_of(each["call"]), each["waits"]) for told, each in documents.items()}
    counted_as = frozenset(told for told in TELLERS if told in columns["counted_as"].split(","))
    return Known(halves, columns["settled"], counted_as, columns.get("revision", 0))
