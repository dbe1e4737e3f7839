"""blazekids4/apim-multiapp-logging: recognised to be refused.

It sends the request of each call twice, once in place of the response, with nothing that tells the two apart or pairs
them, and it has no usage: counting them would invent calls. Its `subscriptionId` is the caller's key; nothing is read.
"""

from typing import Any, Final

from collectors.identity import Delivery
from models.dead_letter import MISSING_FIELD
from models.errors import BadRecord
from models.event import UsageEvent

NAME: Final = "multiapp-logging"
SECRETS: Final = frozenset({"subscriptionId"})


def recognises(record: dict[str, Any]) -> bool:
    """By the hyphenated names that it takes from its headers."""
    return "reqURL" in record and not record.keys().isdisjoint(
        {"Application-Name", "Application-Number", "Business-Unit", "timeStamp"}
    )


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """Always raises BadRecord."""
    raise BadRecord(MISSING_FIELD, "usage", "usage, or a response to read it from", "a request only, sent twice a call")
