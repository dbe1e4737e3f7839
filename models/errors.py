"""Every error of this project, sorted by what the one who catches it does.

CollectorError
├── BadRecord          this record can never be counted: set it aside as a dead letter, go on with the next
├── StoreUnavailable   the tables did not answer: raise, so that the trigger's retry policy repeats the batch
│   └── TablesOfAnotherVersion   this app does not understand the tables: the same, until another one is deployed
├── SettingsError      the app is configured wrongly: nothing works until an operator mends it
└── QueryError         the question cannot be answered as asked: a 4xx answer that says why
"""

from collections.abc import Sequence


class CollectorError(Exception):
    """Base of all errors that this project raises on purpose."""


class BadRecord(CollectorError):
    """A record that cannot be understood; becomes a dead letter.

    `reason` is one of the codes in models.dead_letter; `field` is the dotted name of the culprit or None;
    `expected` and `got` complete the sentence "expected …, got …" and never hold text of the record.
    """

    def __init__(self, reason: str, field: str | None = None, expected: str | None = None, got: str | None = None):
        self.reason, self.field, self.expected, self.got = reason, field, expected, got
        super().__init__(
            f"{reason}"
            + (f": field {field}" if field else "")
            + (f": expected {expected}" if expected else "")
            + (f", got {got}" if got else "")
        )


class StoreUnavailable(CollectorError):
    """Table Storage kept failing in a way that passes (busy, unreachable, unknown outcome): try the batch again."""


class TablesOfAnotherVersion(StoreUnavailable):
    """The tables have rows of a schema version that this app does not know. The message says which."""


class SettingsError(CollectorError):
    """Lists every fault of the settings at once, one line each, naming the setting and what it should look like."""

    def __init__(self, faults: Sequence[str]):
        self.faults = tuple(faults)
        super().__init__("The settings have faults:\n" + "\n".join(f"  - {fault}" for fault in self.faults))


class QueryError(CollectorError):
    """A question that cannot be answered; becomes `{"error": {"code", "message", "parameter"}}`."""

    def __init__(self, code: str, message: str, parameter: str | None = None, status: int = 400):
        self.code, self.message, self.parameter, self.status = code, message, parameter, status
        super().__init__(message)
