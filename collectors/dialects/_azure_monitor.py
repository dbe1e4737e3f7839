"""A record of Azure Monitor's, as it comes from a diagnostic setting or from Log Analytics' data export.

Its common members stand beside `properties`, in camelCase; an export has columns in PascalCase, side by side. So
members are looked up in both places whatever their case. Sources: learn.microsoft.com, "Azure resource logs common
schema", "Monitor API Management" (a record of GatewayLogs) and the tables ApiManagementGatewayLogs and
ApiManagementGatewayLlmLog. No record of the LLM log is published: its spelling is inferred from the table and from what
its users read (docs/dialects.md).
"""

import re
from collections.abc import Iterable
from typing import Final

from collectors.dialects import _members as members

Record = members.Record

NO_ID: Final = "00000000-0000-0000-0000-000000000000"
MEANINGLESS: Final = frozenset({NO_ID})


def category(record: Record) -> str:
    """What the record is a log of, in lower case; empty if it does not say so."""
    stated = _lower(record)
    for name in ("category", "type"):
        named = stated.get(name)
        if isinstance(named, str) and named:
            return named.lower()
    return ""


def is_metric(record: Record) -> bool:
    """By what the schema of metrics requires."""
    return _lower(record).keys() >= {"metricname", "resourceid", "timegrain"}


def is_log(record: Record) -> bool:
    """By what the common schema of logs requires, or an export in its place."""
    names = _lower(record).keys()
    stands = not names.isdisjoint({"time", "timegenerated"}) and not names.isdisjoint({"resourceid", "_resourceid"})
    return stands and bool(category(record))


def flat(record: Record, names: Iterable[str], texts: Iterable[str] = ()) -> Record:
    """The members of these names, wherever and in whatever case they stand: of `properties` those that say something,
    else those beside it. Of `texts` one that is no text is as if it were not there: the call is worth more."""
    found = _lower(record)
    for name, value in _lower(members.document(found.get("properties"))).items():
        if name not in found or value not in (None, "", NO_ID):
            found[name] = value
    told = {name: found[name.lower()] for name in names if name.lower() in found}
    return {name: value for name, value in told.items() if name not in texts or isinstance(value, str)}


def _lower(record: Record) -> Record:
    return {name.lower(): value for name, value in record.items()}


def time_member(told: Record) -> str:
    """The member that says when the gateway received the request: `TimeGenerated` in an export, else `time`."""
    return "timeGenerated" if told.get("timeGenerated") else "time"


_DIGITS: Final = re.compile(r"\d{1,9}", re.ASCII)


def whole_number(told: Record, name: str, most: int) -> int | None:
    """A number that is not counted, also as text: what is none up to `most` is as if it were not there."""
    value = told.get(name)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    return value if type(value) is int and 0 <= value <= most else None
