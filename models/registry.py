"""What operators enter by hand: who an app is, and which model a deployment runs."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]


class AppEntry(BaseModel):
    """Who an app is to people. `cost_center` is who is charged for it: sums by it follow what is entered now."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    display_name: Name | None = None
    owner: Name | None = None
    cost_center: Name | None = None


class Alias(BaseModel):
    """The model that a deployment runs, for calls whose answer did not name one; null takes the entry back."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    model: Name | None
