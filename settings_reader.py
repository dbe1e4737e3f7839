"""Reads settings of the environment by name, one kind of value at a time, and collects what is wrong with them."""

import base64
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TypeVar

from models.call import DIMENSIONS
from models.webhook import fault_of_webhook

Word = TypeVar("Word", bound=str)


def _is_connection_string(text: str) -> bool:
    """True for what azure-data-tables takes: the emulator's short form, or pairs with an account and its key."""
    if text.rstrip(";").lower() == "usedevelopmentstorage=true":
        return True
    values = _pairs(text)
    try:
        key = base64.b64decode(values.get("accountkey", ""), validate=True)
    except ValueError:
        return False
    return all(values.values()) and "accountname" in values and bool(key)


def _is_hub_connection_string(text: str) -> bool:
    """True for what azure-eventhub takes: an endpoint, with a key and its name or with a signature."""
    values = _pairs(text)
    with_key = "sharedaccesskeyname" in values and "sharedaccesskey" in values
    return (
        re.match(r"sb://[^/]", values.get("endpoint", "")) is not None
        and all(values.values())
        and with_key != ("sharedaccesssignature" in values)
    )


def _pairs(connection_string: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in connection_string.rstrip(";").split(";")]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _webhook_key(text: str) -> bytes | None:
    """The bytes of a secret as Standard Webhooks writes it, None of any other text."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        return None
    return key if text.startswith("whsec_") and 24 <= len(key) <= 64 else None


class Reader:
    """Reads settings by name and collects what is wrong with them. An empty value counts as none."""

    def __init__(self, environment: Mapping[str, str]):
        self._environment = environment
        self.faults: list[str] = []

    def text(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def required(self, name: str, meaning: str) -> str:
        value = self.text(name)
        if value is None:
            self.faults.append(f"{name} is not set: expected {meaning}")
        return value or ""

    def matching(self, name: str, pattern: str, expected: str) -> str:
        value = self.text(name) or ""
        if not re.fullmatch(pattern, value, re.ASCII):
            self.faults.append(f"{name} is {value!r}: expected {expected}")
        return value

    def storage(self) -> tuple[str | None, str | None]:
        connection_string = self.text("UsageStorage")
        endpoint = self.text("UsageStorage__tableServiceUri")
        if connection_string and endpoint:
            self.faults.append("UsageStorage and UsageStorage__tableServiceUri are both set: expected one of them")
        elif connection_string and not _is_connection_string(connection_string):
            self.faults.append(  # the value is a secret, so it is not repeated
                "UsageStorage is not a storage connection string: expected UseDevelopmentStorage=true or one with "
                "AccountName=…;AccountKey=…; for an identity set UsageStorage__tableServiceUri instead"
            )
        elif endpoint and not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9-]*)?", endpoint):
            self.faults.append(
                f"UsageStorage__tableServiceUri is {endpoint!r}: expected https://<account>.table.core.windows.net"
            )
        elif not connection_string and not endpoint:
            self.faults.append(
                "UsageStorage__tableServiceUri is not set: expected https://<account>.table.core.windows.net "
                "(or UsageStorage with a connection string)"
            )
        return connection_string, endpoint

    def hub(self) -> tuple[str | None, str | None]:
        """The same settings with which the Functions host reads the hubs; a connection string goes before a namespace,
        as with the host. None is no fault here, since only sending needs one."""
        connection_string = self.text("EventHubConnection")
        namespace = self.text("EventHubConnection__fullyQualifiedNamespace")
        if connection_string and not _is_hub_connection_string(connection_string):
            self.faults.append(  # the value is a secret, so it is not repeated
                "EventHubConnection is not a connection string of Event Hubs: expected "
                "Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…; "
                "for an identity set EventHubConnection__fullyQualifiedNamespace instead"
            )
        if namespace and not re.fullmatch(r"[A-Za-z0-9.-]+", namespace):
            self.faults.append(
                f"EventHubConnection__fullyQualifiedNamespace is {namespace!r}: "
                "expected <namespace>.servicebus.windows.net"
            )
        return connection_string, namespace

    def switch(self, name: str, default: str) -> bool:
        return (self.matching(name, "[01]|", "0 or 1") or default) == "1"

    def webhook(self, name: str) -> str | None:
        url = self.text(name)
        if url and (fault := fault_of_webhook(url, allow_private=self.text("ALERT_WEBHOOK_ALLOW_PRIVATE") == "1")):
            self.faults.append(f"{name} is no webhook: expected {fault}")  # it is a secret, so it is not repeated
        return url

    def webhook_keys(self, name: str) -> tuple[bytes, ...]:
        """A comma list, so that a new one can be told beside an old one."""
        keys = [_webhook_key(part) for part in self.names(name, "")]
        if any(key is None for key in keys):  # as above
            self.faults.append(f"{name} is no secret of a webhook: expected whsec_ and base64 of 24 to 64 random bytes")
        return tuple(key for key in keys if key)

    def estimate_usage(self) -> bool:
        wanted = self.switch("ESTIMATE_USAGE", "0")
        if wanted and find_spec("bpe_openai") is None:
            self.faults.append("ESTIMATE_USAGE is 1: expected bpe-openai of requirements.txt to be installed")
        return wanted

    def one_of(self, name: str, choices: Sequence[Word], default: Word) -> Word:
        value = self.text(name) or default
        for choice in choices:
            if value == choice:
                return choice
        self.faults.append(f"{name} is {value!r}: expected one of {', '.join(choices)}")
        return default

    def number(self, name: str, default: int, least: int, most: int, unit: str) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not least <= int(value) <= most:
            self.faults.append(f"{name} is {value!r}: expected a whole number of {unit} from {least} to {most}")
            return default
        return int(value)

    def dimensions(self, name: str, default: str) -> tuple[str, ...]:
        names = self.names(name, default)
        for part in names:
            if part not in DIMENSIONS:
                self.faults.append(f"{name} names {part!r}: expected a comma list of {', '.join(DIMENSIONS)}")
        if len(set(names)) != len(names):
            self.faults.append(f"{name} names a dimension twice: expected each at most once")
        return names

    def app_partitions(self, name: str) -> dict[str, int]:
        """A comma list of `app=number`."""
        found: dict[str, int] = {}
        for part in self.names(name, ""):
            app, _, number = part.rpartition("=")
            if not app.strip() or not re.fullmatch(r"\d{1,2}", number.strip(), re.ASCII) or not 1 <= int(number) <= 64:
                self.faults.append(f"{name} has {part!r}: expected a comma list of app=number, a number from 1 to 64")
                continue
            found[app.strip()] = int(number)
        return found

    def names(self, name: str, default: str) -> tuple[str, ...]:
        """A comma list; given and empty it names none."""
        text = self._environment.get(name)
        return tuple(part.strip() for part in (default if text is None else text).split(",") if part.strip())
