"""/api/dead-letters: GET; /{id}: GET, DELETE; /redrive: POST (docs/dead-letters.md)."""

import base64
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from pydantic_core import from_json, to_json

import services
from api.edits import body_within, refuse_repeated
from api.response import Request, Response, error_shape, json_response
from ledger.dead_letters import Wanted
from models.dead_letter import REASONS, Kept, letter_id, parse_letter_id
from models.errors import QueryError
from models.event import describe
from queries.parameters import DeadLettersParameters, Query, parameter, parameters_of
from queries.question import Parameters, moment, refuse_unknown, single
from redrive import MAX_LETTERS, Redrive, Status, redrive_wanted
from redrive import redrive as redrive_ids

BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
END: Final = datetime(2101, 1, 1, tzinfo=UTC)

STATUSES: Final[tuple[Status, ...]] = get_args(Status)

Cursor = tuple[str, str]

RedriveBody = parameters_of(
    "RedriveBody",
    {
        "ids": parameter(list[str], "Which, by their ids; then nothing else.", min_length=1, max_length=MAX_LETTERS),
        "reason": parameter(
            Literal[REASONS] | list[Literal[REASONS]],  # type: ignore[valid-type]
            "Those that were set aside for this, or any of these.",
        ),
        "from": parameter(datetime, "Those that the hub took in at this time or later."),
        "to": parameter(datetime, "Those that it took in before."),
        "limit": parameter(int, "How many, at most.", MAX_LETTERS, ge=1, le=MAX_LETTERS),
        "cursor": parameter(str, "`next_cursor` of the answer before, with the rest as it was.", min_length=1),
    },
    "What is to be sent again: `ids`, or those of a reason or a time.",
)


async def page(request: Request) -> Response:
    """The dead letters that are asked for, a page of them, without what is kept of the records."""
    refuse_unknown(request.parameters, DeadLettersParameters.names())
    wanted = _wanted(request.parameters)
    limit = _limit(request.parameters, DeadLettersParameters)
    found = await services.get().dead_letters.page(wanted, limit, _cursor(request.parameters))
    listed = [_shown(kept) for kept in found.letters]
    return json_response({"dead_letters": listed, "next_cursor": _text_of(found.next)})


async def one(request: Request) -> Response:
    """One dead letter, with what is kept of the record; also as the last look at one that is deleted."""
    refuse_unknown(request.parameters, ())
    letter = request.route["id"]
    found = services.get().dead_letters
    try:
        kept = await found.get(letter)
    except ValueError:
        kept = None
    if kept is None:
        raise _not_found(letter)
    if request.method == "DELETE":
        await found.remove(letter)
    payload = kept.letter.payload
    # Numbers that JSON has not, which a sender may have written all the same, are shown as texts.
    shown = None if payload is None else from_json(to_json(from_json(payload.text), inf_nan_mode="strings"))
    return json_response(_shown(kept) | {"payload": shown})


async def redrive(request: Request) -> Response:
    """Send dead letters to the hub again: those of some ids, or a page of those of a reason or a time."""
    asked = _asked(request.body)
    if "ids" in asked:
        if len(asked) > 1:
            raise QueryError("invalid_parameter", "ids select by themselves, expected no other member", "ids")
        ids = _ids(asked["ids"])
        outcomes = await redrive_ids(ids, services.get())
        # The others would be sent if they were asked for again.
        return _answer(outcomes + [Redrive(each, "not_sent") for each in ids[len(outcomes) :]], None)
    parameters = _as_parameters(asked)
    if parameters.keys().isdisjoint({"reason", "from", "to"}):
        raise QueryError("missing_parameter", "expected ids, or one of reason, from, to: which to send again", "ids")
    limit = _limit(parameters, RedriveBody)
    sweep = await redrive_wanted(_wanted(parameters), services.get(), limit, _cursor(parameters))
    return _answer(sweep.outcomes, sweep.next)


def _shown(kept: Kept) -> dict[str, Any]:
    letter = kept.letter
    return {
        "id": letter_id(letter.origin, letter.position),
        "reason": letter.reason,
        "field": letter.field,
        "expected": letter.expected,
        "got": letter.got,
        "dialect": letter.dialect,
        "request_id": letter.request_id,
        "hub": letter.origin.hub,
        "partition": letter.origin.partition,
        "sequence_number": letter.origin.sequence_number,
        "position": letter.position,
        "records": letter.records,
        "size_bytes": letter.size_bytes,
        "enqueued_time": _time(letter.origin.enqueued_time),
        "first_seen": _time(kept.first_seen),
        "last_seen": _time(kept.last_seen),
        "times_seen": kept.times_seen,
        "tries": kept.tries,
        "kept": None if letter.payload is None else "full" if letter.payload.whole else "redacted",
        "redrivable": kept.obstacle is None,
        "obstacle": kept.obstacle,
    }


def _answer(outcomes: list[Redrive], following: Cursor | None) -> Response:
    """202 if any was sent, 503 if the hub did not confirm all; what became of each stands in the answer."""
    count = Counter(outcome.status for outcome in outcomes)
    answer: dict[str, Any] = {status: count[status] for status in STATUSES}
    answer |= {"dead_letters": [outcome._asdict() for outcome in outcomes], "next_cursor": _text_of(following)}
    if count["not_sent"]:
        message = f"the hub did not confirm {count['not_sent']} of {len(outcomes)} dead letters; redrive them again"
        return json_response(error_shape("hub_unavailable", message, None) | answer, 503)
    return json_response(answer, 202 if count["redriven"] else 200)


def _not_found(letter: str) -> QueryError:
    return QueryError("not_found", f"there is no dead letter {letter!r:.100}", "id", 404)


# ------------------------------------------------------------------------------------------------------- what is asked


def _wanted(parameters: Parameters) -> Wanted:
    reasons = frozenset(parameters.get("reason", ()))
    for reason in reasons:
        if reason not in REASONS:
            expected = f"expected one of {', '.join(REASONS)}"
            raise QueryError("invalid_parameter", f"reason is {reason!r:.60}, {expected}", "reason")
    start, end = moment(parameters, "from") or BEGINNING, moment(parameters, "to") or END
    if start >= end:
        raise QueryError("invalid_range", f"from ({_time(start)}) must lie before to ({_time(end)})", "from")
    return Wanted(reasons, start, end)


def _limit(parameters: Parameters, known: type[Query]) -> int:
    most = known.most("limit")
    text = single(parameters, "limit") or str(known.default("limit"))
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or not 1 <= int(text) <= most:
        raise QueryError("invalid_parameter", f"limit is {text!r:.60}, expected a number from 1 to {most}", "limit")
    return int(text)


_KEY: Final = re.compile(r"\d{8}\n[A-Za-z0-9._:@|~-]{1,600}", re.ASCII)


def _cursor(parameters: Parameters) -> Cursor | None:
    text = single(parameters, "cursor")
    if text is None:
        return None
    try:
        key = base64.b64decode(text.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        key = ""
    if not _KEY.fullmatch(key):
        raise QueryError("invalid_parameter", "cursor is not one that an answer gave as next_cursor", "cursor")
    partition_key, _, row_key = key.partition("\n")
    return partition_key, row_key


def _text_of(cursor: Cursor | None) -> str | None:
    return None if cursor is None else base64.urlsafe_b64encode("\n".join(cursor).encode()).decode()


def _asked(body: bytes) -> dict[str, Any]:
    try:
        asked = from_json(body_within(body))
    except ValueError as error:
        raise QueryError("not_json", f"the body is not JSON ({error})") from None
    if not isinstance(asked, dict):
        raise QueryError("not_json", f"the body is {describe(asked)}; expected an object")
    refuse_unknown(dict.fromkeys(asked, ()), RedriveBody.names())
    refuse_repeated(body)
    return asked


def _ids(value: object) -> list[str]:
    expected = f"expected an array of 1 to {MAX_LETTERS} ids of dead letters"
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LETTERS:
        raise QueryError("invalid_parameter", f"ids is {describe(value)}, {expected}", "ids")
    for each in value:
        try:
            parse_letter_id(each if isinstance(each, str) else "")
        except ValueError:
            raise QueryError("invalid_parameter", f"ids has {describe(each)}, {expected}", "ids") from None
    return list(dict.fromkeys(value))


def _as_parameters(asked: dict[str, Any]) -> Parameters:
    """The members as they would stand in a query string: texts, or where one is repeated an array of them."""
    parameters: dict[str, list[str]] = {}
    for name, value in asked.items():
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        texts = [str(each) if type(each) is int else each for each in values]
        if not all(isinstance(each, str) for each in texts):
            raise QueryError("invalid_parameter", f"{name} is {describe(value)}, expected a text", name)
        parameters[name] = texts
    return parameters


def _time(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
