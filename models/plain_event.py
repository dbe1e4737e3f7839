"""A usage event that has the contract's members and no others, each as it should be, read in one step.

Nearly all events are so, and msgspec reads and checks them in a third of the time that parsing and pydantic take. What
it refuses is judged by models.event, and what it takes is what models.event would make of it (tests/faults/decoders.py,
check_one_step); but where nobody looks, the parser there takes no more than 200 levels and 4,300 digits, and msgspec
more.
"""

from typing import Any, Final, cast, get_type_hints

import msgspec
from pydantic import BaseModel

from models.event import EventError, UsageEvent, parse_rfc3339


def _struct_of(model: type[BaseModel], **others: Any) -> type[msgspec.Struct]:
    """The same members under the same conditions; `others` replace the types that msgspec does not know."""
    hints = get_type_hints(model, include_extras=True) | others
    fields = model.model_fields
    members = [
        (name, hints[name]) if field.is_required() else (name, hints[name], field.default)
        for name, field in fields.items()
    ]
    names = {name: field.alias for name, field in fields.items() if field.alias}
    return msgspec.defstruct(model.__name__, members, rename=names, forbid_unknown_fields=True)


_Event: Final = _struct_of(UsageEvent, timestamp=str, error=_struct_of(EventError) | None)
_decode: Final = msgspec.json.Decoder(_Event).decode


def plain_usage_event(body: bytes) -> UsageEvent | None:
    """The event as models.event.read_usage_event would give it, or None if it is not so plain."""
    try:
        event: Any = _decode(body)
        event.timestamp = parse_rfc3339(event.timestamp)
    except (ValueError, RecursionError):
        return None
    # Without white space around it, which read_usage_event takes away.
    return cast("UsageEvent", event) if event.request_id.strip() == event.request_id else None
