"""A price of the operator's own, as the API takes and shows it and as the tables keep it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, ValidationError

from models.call import DIMENSIONS
from models.entered import expected_object, first_fault, not_as_expected
from models.event import parse_rfc3339
from prices.price import KINDS, PARTS, Price, decimal_text

SCOPES: Final = ("app", *DIMENSIONS)
MAX_RATE: Final = Decimal(10**9)
MAX_PLACES: Final = 12
_DECIMAL: Final = re.compile(rf"[0-9]{{1,10}}(\.[0-9]{{1,{MAX_PLACES}}})?")

_EXPECTED: Final = {
    "model": "the name of a model, of at most 256 characters, in which one * may stand for any text",
    "scope": f"an object with any of {', '.join(SCOPES)} and the value of each as text",
    "valid_from": "a full hour of UTC in RFC 3339, such as 2026-11-01T00:00:00Z, or null for always",
    "valid_to": "a full hour of UTC in RFC 3339 after valid_from, such as 2026-12-01T00:00:00Z, or null for no end",
    "currency": "USD",
    "per_million": f"an object with at least one of {', '.join(KINDS)}, and with a part of "
    f"{' or '.join(PARTS)} that whole too",
    "source": "where the price is from, in at most 500 characters",
}
_EXPECTED_RATES: Final = dict.fromkeys(
    (f"per_million.{kind}" for kind in KINDS),
    f'a decimal as text from 0 to {MAX_RATE} with at most {MAX_PLACES} places, such as "2.50": US dollars per million',
)


def _full_hour(value: object) -> object:
    if not isinstance(value, str):
        return value
    time = parse_rfc3339(value)
    if time != time.replace(minute=0, second=0, microsecond=0) or not 2000 <= time.year <= 2100:
        raise ValueError("no full hour of our time")
    return time


def _rate(value: object) -> Decimal:
    # A JSON number with a point has been through binary: what was written may not be what came.
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text) or Decimal(text) > MAX_RATE:
        raise ValueError("no rate")
    return Decimal(text)


def _utc(time: datetime | None) -> str | None:
    return None if time is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


TimeText = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Hour = Annotated[
    datetime | None,
    BeforeValidator(_full_hour),
    PlainSerializer(_utc, return_type=TimeText | None),
]
RateText = Annotated[str, StringConstraints(pattern=f"^{_DECIMAL.pattern}$")]
Rate = Annotated[
    Decimal,
    BeforeValidator(_rate, json_schema_input_type=RateText | Annotated[int, Field(ge=0, le=int(MAX_RATE))]),
    PlainSerializer(decimal_text, return_type=RateText),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]


class PriceEntry(BaseModel):
    """The body of `PUT /api/prices/{id}`: docs/prices.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: Name
    scope: dict[Literal[SCOPES], Name] = {}  # type: ignore[valid-type]
    valid_from: Hour = None
    valid_to: Hour = None
    currency: Literal["USD"] = "USD"
    per_million: dict[Literal[KINDS], Rate]  # type: ignore[valid-type]
    source: Annotated[str, StringConstraints(max_length=500)] = ""

    def matches(self, model: str | None) -> bool:
        """Whether `model` is meant, whatever its case. Only `*` alone means a model without a name."""
        if model is None:
            return self.model == "*"
        begin, star, end = self.model.lower().partition("*")
        name = model.lower()
        if not star:
            return name == begin
        return len(name) >= len(begin) + len(end) and name.startswith(begin) and name.endswith(end)

    def price(self, name: str) -> Price:
        """As it is applied; `name` is the id under which it is kept."""
        source = f"prices/{name}" + (f": {self.source}" if self.source else "")
        return Price(source, dict(self.per_million), self.valid_from, self.valid_to)


def stored_entry(document: Mapping[str, Any]) -> PriceEntry:
    """What was checked when it was entered. It may have ended before it began, so that it never applies."""
    return PriceEntry.model_validate(document)


def read_entry(body: object) -> PriceEntry:
    """Raises QueryError that names the member, what is expected and what came."""
    if not isinstance(body, Mapping):
        raise expected_object(_EXPECTED, body)
    try:
        entry = PriceEntry.model_validate(body)
    except ValidationError as error:
        raise first_fault(error, _EXPECTED | _EXPECTED_RATES) from None
    _refuse(entry.model.count("*") > 1, "model", "one with several *")
    _refuse(not entry.per_million, "per_million", "an empty object")
    for whole, parts in PARTS.items():
        part = next((part for part in parts if part in entry.per_million), None)
        _refuse(part is not None and whole not in entry.per_million, "per_million", f"{part} without {whole}")
    reversed_range = entry.valid_from and entry.valid_to and entry.valid_to <= entry.valid_from
    _refuse(bool(reversed_range), "valid_to", "one that is not after it")
    return entry


def _refuse(wrong: bool, field: str, got: str) -> None:
    if wrong:
        raise not_as_expected(field, _EXPECTED[field], got)
