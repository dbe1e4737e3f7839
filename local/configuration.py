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
"""What these take is said by rules of their own."""
_BY_THEMSELVES: Final[dict[str, tuple[str, tuple[Any, ...]]]] = {
    **dict.fromkeys(_ADDRESSES, ("text", ())),
    "ESTIMATE_USAGE": ("switch", ("0",)),
}
_READER: Final = next(name for name in ("Reader", "_Reader") if hasattr(settings, name))


class _Recorder:
    """Stands before a reader and remembers with which bounds each setting is read."""

    def __init__(self, reader: Any, asked: dict[str, tuple[str, tuple[Any, ...]]]) -> None:
        self._reader = reader
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._reader, name)

        def remembered(*setting_and_bounds: Any) -> Any:
            if setting_and_bounds:
                self._asked.setdefault(setting_and_bounds[0], (name, setting_and_bounds[1:]))
            return found(*setting_and_bounds)

        return remembered if callable(found) else found


def rows() -> list[tuple[str, str, str]]:
    """Name, default and what it takes, in the order in which the code reads them."""
    asked: dict[str, tuple[str, tuple[Any, ...]]] = {}
    original: Any = getattr(settings, _READER)
    setattr(settings, _READER, lambda environment: _Recorder(original(environment), asked))
    try:
        Settings.from_environment({"UsageStorage": "UseDevelopmentStorage=true", "USAGE_EVENTS_HUB": "usage-events"})
    finally:
        setattr(settings, _READER, original)
    return [
        (name, *_described(name, kind, bounds))
        for name, (kind, bounds) in (_BY_THEMSELVES | asked).items()
        if not name.startswith("WEBSITE_")  # the platform's
    ]


def _described(name: str, kind: str, bounds: tuple[Any, ...]) -> tuple[str, str]:
    if name in _ADDRESSES:
        return "–", _ADDRESSES[name]
    match kind, bounds:
        case "number", (default, least, most, unit):
            return f"`{default}`", f"{unit}, {least} to {most}"
        case "one_of", (choices, default):
            return f"`{default}`", ", ".join(f"`{choice}`" for choice in choices)
        case "switch", (default,):
            return f"`{default}`", "0 or 1"
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
