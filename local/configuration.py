"""`python -m local.configuration`: what each app setting takes, and its default, for docs/configuration.md.

It reads settings with the code's own reader and writes down what is asked of it.
"""

from typing import Any, Final

import settings
from settings import HOST_SETTINGS, Settings

_ADDRESSES: Final = {
    "UsageStorage": "a connection string",
    "UsageStorage__tableServiceUri": "`https://<account>.table.core.windows.net`",
    "EventHubConnection": "a connection string",
    "EventHubConnection__fullyQualifiedNamespace": "`<namespace>.servicebus.windows.net`",
}
"""Checked by rules of their own."""


class _Recorder(settings._Reader):
    """A reader that remembers with which bounds each setting was read."""

    asked: dict[str, tuple[str, tuple[Any, ...]]]

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found

        def remembered(*setting_and_bounds: Any) -> Any:
            if setting_and_bounds:
                setting, *bounds = setting_and_bounds
                self.__dict__.setdefault("asked", {}).setdefault(setting, (name, tuple(bounds)))
            return found(*setting_and_bounds)

        return remembered


def rows() -> list[tuple[str, str, str]]:
    """Name, default and what it takes, in the order in which the code reads them."""
    recorders: list[_Recorder] = []

    def recorder(environment: dict[str, str]) -> _Recorder:
        recorders.append(_Recorder(environment))
        return recorders[0]

    original = settings._Reader
    settings._Reader = recorder  # type: ignore[assignment, misc]
    try:
        Settings.from_environment({"UsageStorage": "UseDevelopmentStorage=true", "USAGE_EVENTS_HUB": "usage-events"})
    finally:
        settings._Reader = original  # type: ignore[misc]
    asked = recorders[0].asked
    return [(name, *_described(name, kind, bounds)) for name, (kind, bounds) in asked.items()]


def _described(name: str, kind: str, bounds: tuple[Any, ...]) -> tuple[str, str]:
    if name in _ADDRESSES:
        return "–", _ADDRESSES[name]
    match kind, bounds:
        case "number", (default, least, most, unit):
            return f"`{default}`", f"{unit}, {least} to {most}"
        case "one_of", (choices, default):
            return f"`{default}`", ", ".join(f"`{choice}`" for choice in choices)
        case "matching", (_, expected):
            return ("`0`" if expected == "0 or 1" else "–"), expected
        case "names" | "dimensions", (default,):
            return (f"`{default}`" if default else "–"), "a comma list"
        case "required", (meaning,):
            return "–", f"{meaning}; it has to be there"
        case "app_partitions", ():
            return "–", "a comma list of app=number, 1 to 64 each"
    return "–", "text"


def report() -> str:
    """In Markdown; in the end what the platform reads."""
    lines = ["| setting | default | takes |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {takes} |" for name, default, takes in rows()]
    lines += [f"| `{name}` | – | read by the Functions host and its worker |" for name in HOST_SETTINGS]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(report(), end="")
