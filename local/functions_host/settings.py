"""What the host is told: host.json, local.settings.json and environment variables, read the way `func start` does."""

import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"%([^%]+)%")
_OVERRIDE = "AzureFunctionsJobHost__"
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?")


class ConfigurationError(Exception):
    """The app or its settings cannot be run; the message is one line for the person at the terminal."""


@dataclass(frozen=True)
class Settings:
    """The content of host.json and the app settings of one function app."""

    app_dir: Path
    host_json: dict[str, Any]
    environ: MutableMapping[str, str]

    def extension(self, name: str) -> dict[str, Any]:
        """The section `extensions.<name>` of host.json, empty when absent."""
        section: dict[str, Any] = self.host_json.get("extensions", {}).get(name, {})
        return section

    def get(self, name: str) -> str | None:
        return self.environ.get(name) or None

    def resolve(self, text: str, *, function: str, attribute: str) -> str:
        """`text` with each `%NAME%` replaced by the app setting NAME.

        Raises:
            ConfigurationError: an app setting is missing or empty.
        """

        def value_of(reference: re.Match[str]) -> str:
            value = self.get(reference[1])
            if value is None:
                raise ConfigurationError(
                    f"function '{function}': {attribute} '{text}' needs the app setting '{reference[1]}', "
                    "which is neither in the environment nor in local.settings.json"
                )
            return value

        return _REFERENCE.sub(value_of, text)


def load_settings(app_dir: Path, environ: MutableMapping[str, str]) -> Settings:
    """Reads both files (each may be absent) and adds the local settings to `environ`, where existing names win. App
    settings that override host.json are taken into it."""
    local = _read_json(app_dir / "local.settings.json")
    if local.get("IsEncrypted"):
        raise ConfigurationError("local.settings.json is encrypted; run `func settings decrypt` first")
    for name, value in local.get("Values", {}).items():
        environ.setdefault(name, value if isinstance(value, str) else json.dumps(value))
    host_json = _read_json(app_dir / "host.json")
    _override(host_json, environ)
    return Settings(app_dir, host_json, environ)


def _override(host_json: dict[str, Any], environ: Mapping[str, str]) -> None:
    """An app setting AzureFunctionsJobHost__path__to__setting goes before that setting of host.json
    (learn.microsoft.com, "host.json reference", "Override host.json values")."""
    for name, value in environ.items():
        if name.startswith(_OVERRIDE):
            *path, last = name.removeprefix(_OVERRIDE).split("__")
            section = host_json
            for part in path:
                section = section.setdefault(part, {})
            section[last] = value


def parse_time_span(text: str) -> float:
    """Seconds of a .NET TimeSpan: `hh:mm`, `hh:mm:ss`, `d.hh:mm:ss` and fractions of a second.

    Raises:
        ValueError: `text` is none of these.
    """
    match = _TIME_SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a time span (hh:mm:ss)")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ConfigurationError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path.name} must hold a JSON object")
    return content
