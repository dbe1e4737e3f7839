"""A record of Azure Monitor's, as it comes from a diagnostic setting or from Log Analytics' data export.

Its common members stand beside `properties`, in camelCase; an export has columns in PascalCase, side by side. So
members are looked up in both places whatever their case. Sources: learn.microsoft.com, "Azure resource logs common
schema" and the tables ApiManagementGatewayLogs and ApiManagementGatewayLlmLog. No verbatim sample of the LLM log's
export is published: its spelling is inferred from the table and from what its users read (docs/dialects.md).
"""

from collections.abc import Iterable
from typing import Any, Final

from collectors.dialects import _members as members

Record = members.Record

MEANINGLESS: Final = frozenset({"", "00000000-0000-0000-0000-000000000000"})


def category(record: Record) -> str:
    """What the record is a log of, in lower case; empty if it does not say so."""
    named = next((record[name] for name in ("category", "Category", "Type", "type") if name in record), None)
    return named.lower() if isinstance(named, str) else ""


def flat(record: Record, names: Iterable[str]) -> Record:
    """The members of these names, those of `properties` first, wherever and in whatever case they stand."""
    found: Record = {}
    for place in (record, members.document(_lower(record).get("properties"))):
        found.update((name, value) for name, value in _lower(place).items() if value is not None)
    return {name: found[name.lower()] for name in names if name.lower() in found}


def _lower(record: Record) -> Record:
    return {name.lower(): value for name, value in record.items()}


def time_member(told: Record) -> str:
    """The member that says when the gateway received the request: `TimeGenerated` in an export, else `time`."""
    return "timeGenerated" if "timeGenerated" in told else "time"


def whole_number(told: Record, name: str) -> int | None:
    """A number that is not counted: what is none is as if it were not there."""
    value: Any = told.get(name)
    return int(value) if isinstance(value, int | str) and str(value).isascii() and str(value).isdigit() else None
