"""A budget, as the API takes and shows it and as the table keeps it."""

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, ValidationError

from ledger.versions import Document
from models.alert import Format
from models.entered import expected_object, first_fault, not_as_expected
from models.errors import QueryError
from models.keys import MAX_ESCAPED_LENGTH, escape_key
from models.webhook import MAX_URL_LENGTH, fault_of_webhook
from prices.price import decimal_text
from queries.buckets import zone_named

PeriodName = Literal["day", "month"]
Unit = Literal["tokens", "USD"]
MAX_THRESHOLDS: Final = 10
CONTROLS: Final = ("Cc", "Cs")
"""Categories of characters that no name has: those that control, and halves of one."""
MAX_LIMIT: Final = Decimal(10**15)
_DECIMAL: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,6})?")

_EXPECTED: Final = {
    "app": "the name of an app, of at most 256 characters and no control characters, or null for no single one",
    "cost_center": "that of a cost centre, of at most 256 characters and no control characters, or null; not with app",
    "model": "the name of a model, of at most 256 characters and no control characters, or null for all",
    "period": "day or month",
    "tz": "an IANA time zone such as Europe/Berlin",
    "unit": "tokens or USD",
    "limit": "a number above 0: of tokens a whole one, of USD with at most 6 places, written as text if it has any",
    "thresholds": f"1 to {MAX_THRESHOLDS} whole numbers from 1 to 1000, percent of the limit, each once",
    "webhook": f"an https URL of at most {MAX_URL_LENGTH} characters without user and password, or null",
    "format": "cloudevents, teams or slack",
}


def _limit(value: object) -> Decimal:
    # A JSON number with a point has been through binary: what was written may not be what came.
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text) or not 0 < Decimal(text) <= MAX_LIMIT:
        raise ValueError("no limit")
    return Decimal(text)


LimitText = Annotated[str, StringConstraints(pattern=f"^{_DECIMAL.pattern}$")]
Limit = Annotated[
    Decimal,
    BeforeValidator(_limit, json_schema_input_type=LimitText | Annotated[int, Field(ge=1, le=int(MAX_LIMIT))]),
    PlainSerializer(decimal_text, return_type=LimitText),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
Threshold = Annotated[int, Field(ge=1, le=1000)]
Thresholds = Annotated[tuple[Threshold, ...], Field(strict=False, min_length=1, max_length=MAX_THRESHOLDS)]


class BudgetEntry(BaseModel):
    """The body of `PUT /api/budgets/{id}`: docs/budgets.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    app: Name | None = None
    cost_center: Name | None = None
    model: Name | None = None
    period: PeriodName
    tz: Annotated[str, StringConstraints(max_length=64)] = "UTC"
    unit: Unit
    limit: Limit
    thresholds: Thresholds = (50, 80, 100)
    webhook: Annotated[str, StringConstraints(max_length=MAX_URL_LENGTH)] | None = None
    format: Format = "cloudevents"

    @property
    def zone(self) -> ZoneInfo:
        """Where its days and months begin."""
        return zone_named(self.tz)

    @property
    def covers_everything(self) -> bool:
        """Whether it is of no single app or cost centre."""
        return self.app is None and self.cost_center is None


def stored_budget(document: Document) -> BudgetEntry | None:
    """What was checked when it was entered; None for one that was deleted."""
    return BudgetEntry.model_validate(document) if document else None


DELETED: Final[Document] = {}
"""The document of a version that says that there is no budget any more: the numbers of versions go on."""


def read_budget(body: object, allow_private: bool) -> BudgetEntry:
    """Raises QueryError that names the member, what is expected and what came."""
    if not isinstance(body, Mapping):
        raise expected_object(_EXPECTED, body)
    try:
        entry = BudgetEntry.model_validate(body)
    except ValidationError as error:
        raise first_fault(error, _EXPECTED) from None
    _refuse(entry.app is not None and entry.cost_center is not None, "cost_center", "one beside an app")
    too_long = entry.app is not None and len(escape_key(entry.app)) > MAX_ESCAPED_LENGTH
    _refuse(too_long, "app", "a longer one than any app can have")
    for field in ("app", "cost_center", "model"):
        name = getattr(entry, field) or ""
        has_control = any(unicodedata.category(character) in CONTROLS for character in name)
        _refuse(has_control, field, "one with control characters")
    _refuse(len(set(entry.thresholds)) != len(entry.thresholds), "thresholds", "one of them twice")
    _refuse(entry.unit == "tokens" and entry.limit != entry.limit.to_integral_value(), "limit", "a part of a token")
    _refuse(entry.tz == "Factory", "tz", "Factory, which stands for no zone")
    try:
        is_name = entry.zone.key == entry.tz  # in a query string a space would stand for a plus
    except QueryError:
        is_name = False
    _refuse(not is_name, "tz", "another name")
    fault = None if entry.webhook is None else fault_of_webhook(entry.webhook, allow_private=allow_private)
    if fault is not None:
        raise not_as_expected("webhook", fault, "another text")
    return entry.model_copy(update={"thresholds": tuple(sorted(entry.thresholds))})


def _refuse(wrong: bool, field: str, got: str) -> None:
    if wrong:
        raise not_as_expected(field, _EXPECTED[field], got)
