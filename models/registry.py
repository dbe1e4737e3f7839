"""What operators enter by hand: who an app is, and which model a deployment runs."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

MAX_READERS: Final = 100
_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def _guid(text: str) -> str:
    """Names and addresses can be given to somebody else, so they grant nothing."""
    if not _GUID.fullmatch(text):
        raise PydanticCustomError("id", "expected ids of users, groups or applications in Entra ID, which are GUIDs")
    return text.lower()


Name = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
Id = Annotated[str, AfterValidator(_guid)]


class AppEntry(BaseModel):
    """Who an app is to people. `cost_center` is who is charged for it: sums by it follow what is entered now.
    `readers` may see the app's numbers beside itself: users and groups by their object ids, applications by their
    object or client ids."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    display_name: Name | None = None
    owner: Name | None = None
    cost_center: Name | None = None
    readers: Annotated[tuple[Id, ...], Field(max_length=MAX_READERS)] = ()

    def columns(self) -> dict[str, str | None]:
        """As a table keeps it."""
        return {**self.model_dump(exclude={"readers"}), "readers": " ".join(dict.fromkeys(self.readers)) or None}

    @classmethod
    def shown(cls, columns: Mapping[str, str]) -> dict[str, Any]:
        """Every member, of what a table keeps."""
        return {**{name: columns.get(name) for name in cls.model_fields}, "readers": readers_of(columns)}


def readers_of(columns: Mapping[str, str]) -> list[str]:
    """Who may see an app, of the columns of its entry."""
    return columns.get("readers", "").split()


class Alias(BaseModel):
    """The model that a deployment runs, for calls whose answer did not name one; null takes the entry back."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    model: Name | None

    def columns(self) -> dict[str, str | None]:
        """As a table keeps it."""
        return {"model": self.model}

    @classmethod
    def shown(cls, columns: Mapping[str, str]) -> dict[str, Any]:
        """Every member, of what a table keeps."""
        return {"model": columns.get("model")}
