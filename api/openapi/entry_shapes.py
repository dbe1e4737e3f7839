"""What operators enter, in JSON: apps, models of deployments, prices."""

from datetime import datetime
from typing import Final, Literal

from pydantic import ConfigDict

from api.openapi.shapes import Answer, Month, Range
from models.registry import Alias, AppEntry
from prices.entry import PriceEntry, RateText
from prices.price import ASPECTS, KINDS

APPROXIMATIONS: Final = tuple(ASPECTS)
_ENTERED: Final = ConfigDict(json_schema_serialization_defaults_required=True)


class AppEntryAnswer(AppEntry):
    """What is entered of an app."""

    model_config = _ENTERED
    app: str


class ListedApp(AppEntryAnswer):
    """An app with the months in which it had calls; `etag` is that of its entry."""

    months: list[Month]
    etag: str | None


class AppsAnswer(Answer):
    """Apps with calls in these months, and those with an entry."""

    months: list[Month]
    apps: list[ListedApp]


class AliasAnswer(Alias):
    """The model that is entered for a deployment."""

    deployment: str


class ListedAlias(AliasAnswer):
    """With the `etag` of its entry."""

    etag: str | None


class ListedModel(Answer):
    """A null model did not say its name, and no alias does."""

    model: str | None
    deployments: list[str]


class ModelsAnswer(Answer):
    """Models with calls in these months, and the aliases."""

    months: list[Month]
    models: list[ListedModel]
    aliases: list[ListedAlias]


class AppliedPrice(Answer):
    """US dollars per million tokens of each kind, or per million seconds."""

    source: str
    scope: dict[str, str]
    valid_from: datetime | None
    valid_to: datetime | None
    per_million: dict[Literal[KINDS], RateText]  # type: ignore[valid-type]
    approximations: dict[Literal[APPROXIMATIONS], str]  # type: ignore[valid-type]


class PricedModel(ListedModel):
    """Its prices, in the order in which they go before each other."""

    prices: list[AppliedPrice]


class OwnPrice(PriceEntry):
    """A price of the operator's own, as it is since `edited_at`."""

    model_config = _ENTERED
    id: str
    version: int
    edited_at: datetime


class OwnPriceAnswer(OwnPrice):
    """With all its versions, the oldest first."""

    history: list[OwnPrice]


class PricesAnswer(Range):
    """Which price applies to which model."""

    currency: Literal["USD"]
    catalogue: str | None
    models: list[PricedModel]
    own: list[OwnPrice]


class Unpriced(Answer):
    """What was charged nothing for want of a price."""

    model: str | None
    deployment: str | None = None
    calls: int
    unpriced_tokens: int
    unpriced_audio_seconds: float


class MissingPricesAnswer(Range):
    """With `missing=1`."""

    currency: Literal["USD"]
    missing: list[Unpriced]
