"""The dialects gateways speak, each recognised by its content and turned into the one usage event (docs/dialects.md).

A dialect is a module of this folder: put it here and it is found. Modules whose name starts with `_` are none.
docs/bring-your-own-gateway.md writes one step by step.
"""

import pkgutil
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Protocol, cast

from collectors.identity import Delivery
from models.event import UsageEvent
from models.half import HalfKind


class Dialect(Protocol):
    """What a module of this folder must offer. It may also have

    ORDER     where two dialects recognise a record, the lower number reads it (default 50)
    CALL_ID   the member that says which call it was; without one, the delivery says it
    LATE      the members that come after those which say whose call it was: a record whose end was cut is read only
              if the cut is in or behind one of them (default none, so that no cut record is read)
    BODY      the member of those whose text is worth reading as far as it goes
    REQUEST   the member with what the model was asked, as JSON or as text: for estimates only (collectors/estimate.py)
    ANSWER    the member with the text of the answer, where the record has no response body: likewise
    TEXTS     the members whose texts it reads: identities, times. A dead letter keeps them if they are short, so that
              it can be sent again; without TEXTS it can only if nothing but content and secrets had to be removed
    PATHS     members, in lower case, or members of members (`request.path`), that are paths or URLs whose query it does
              not read
    SECRETS   members that hold a secret though their name does not say so
    HALF      for a log of the gateway's own, which kind of half its records are (models/half.py)

    and, if it is the first to be asked, a function `read_at_once` (below).
    """

    NAME: str

    def recognises(self, record: dict[str, Any]) -> bool:
        """True if the record is written in this dialect. Looks at members only, never raises."""

    def read(self, record: dict[str, Any], delivery: Delivery) -> UsageEvent | None:
        """The record as a usage event, None if it is knowingly not about a call. Raises BadRecord, naming the dialect's
        own member."""


def find_dialects(folders: Iterable[str]) -> tuple[Dialect, ...]:
    """The dialects in `folders`, in the order in which they are tried."""
    names = [module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_")]
    found = [cast("Dialect", import_module(f"{__name__}.{name}")) for name in names]
    return tuple(sorted(found, key=lambda dialect: (getattr(dialect, "ORDER", 50), dialect.NAME)))


DIALECTS: tuple[Dialect, ...] = find_dialects(__path__)


def is_known(record: dict[str, Any]) -> bool:
    """True if a dialect recognises the record."""
    return any(dialect.recognises(record) for dialect in DIALECTS)


def call_id_of(dialect: Dialect | None, record: dict[str, Any]) -> object:
    """What the record gives as its call's identity, unchecked, or None."""
    return record.get(getattr(dialect, "CALL_ID", None) or "request_id")


def body_member(dialect: Dialect) -> str | None:
    """The member whose text is worth reading as far as it goes."""
    return cast("str | None", getattr(dialect, "BODY", None))


def request_of(dialect: Dialect, record: dict[str, Any]) -> object:
    """What the model was asked, if the record says so."""
    return record.get(getattr(dialect, "REQUEST", ""))


def answer_of(dialect: Dialect, record: dict[str, Any]) -> object:
    """The text of the answer, if the record has it by itself."""
    return record.get(getattr(dialect, "ANSWER", ""))


def texts_of(dialect: Dialect) -> frozenset[str] | None:
    """The members whose texts the dialect reads, in lower case, or None if it does not say which they are."""
    texts = getattr(dialect, "TEXTS", None)
    return None if texts is None else frozenset(name.lower() for name in texts)


def paths_of(dialect: Dialect | None) -> frozenset[str]:
    """The members of whose texts the query is not read, in lower case."""
    return cast("frozenset[str]", getattr(dialect, "PATHS", frozenset()))


def secrets_of(dialect: Dialect | None) -> frozenset[str]:
    """The members that hold a secret though their name does not say so."""
    return cast("frozenset[str]", getattr(dialect, "SECRETS", frozenset()))


def half_kind(dialect: Dialect) -> HalfKind:
    """Which half of a call the dialect's records tell."""
    return cast("HalfKind", vars(dialect).get("HALF", "policy"))  # a module that lacks a name is slow to say so


ReadAtOnce = Callable[[bytes], UsageEvent | None]


def reader_at_once(first: Dialect) -> ReadAtOnce:
    """How `first`, which is asked before all others, reads an event that is one record and nothing else, without
    parsing it for them. None from it means that the event goes the way of all."""
    return cast("ReadAtOnce", vars(first).get("read_at_once", _not_at_once))


def _not_at_once(body: bytes) -> None:
    return None


def says_whose(dialect: Dialect, record: dict[str, Any]) -> bool:
    """True if a record that lost its end still says whose call it was."""
    return any(name in record for name in getattr(dialect, "LATE", ()))
