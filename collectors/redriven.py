"""What a dead letter that is sent again says of itself, as application properties of its event, there and back.

Properties and not members of the body, since the body is the sender's, and a policy may put a client's words into it.
"""

from collections.abc import Mapping
from typing import Any, Final

from models.dead_letter import letter_id, parse_letter_id
from models.event import parse_rfc3339
from models.origin import Redriven

ID: Final = "dead_letter_id"
ATTEMPT: Final = "dead_letter_attempt"
CONTENT: Final = "dead_letter_content"
CALL_ID: Final = "dead_letter_call_id"
SENT: Final = "dead_letter_sent"

MAX_CALL_ID_LENGTH: Final = 256


def properties_of(redriven: Redriven) -> dict[str, str]:
    """The application properties of the event."""
    properties = {
        ID: letter_id(redriven.origin, redriven.position),
        ATTEMPT: str(redriven.attempt),
        CONTENT: "kept" if redriven.whole else "removed",
    }
    if redriven.call_id is not None:
        properties[CALL_ID] = redriven.call_id
    if redriven.sent is not None:
        properties[SENT] = redriven.sent.isoformat()
    return properties


def redriven_of(properties: Mapping[str, Any]) -> Redriven | None:
    """What `properties_of` made these of, None if it did not. The hub carries whatever a sender sends, so nothing here
    is taken on trust."""
    letter, attempt, call_id, sent = (properties.get(name) for name in (ID, ATTEMPT, CALL_ID, SENT))
    if not isinstance(letter, str) or not isinstance(attempt, str) or not attempt.isascii() or len(attempt) > 6:
        return None
    try:
        origin, position = parse_letter_id(letter)
        return Redriven(
            origin=origin,
            position=position,
            attempt=int(attempt),
            call_id=call_id if isinstance(call_id, str) and len(call_id) <= MAX_CALL_ID_LENGTH else None,
            sent=None if sent is None else parse_rfc3339(sent),
            whole=properties.get(CONTENT) == "kept",
        )
    except ValueError:
        return None
