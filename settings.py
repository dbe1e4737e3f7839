"""The app's settings: the one place that reads the environment, and one error for all that is wrong with it.

docs/configuration.md describes each for operators; tests/test_settings.py keeps this, it and the sample the same.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal, TypeVar, get_args

from models.call import DIMENSIONS
from models.dead_letter import PAYLOADS, Payloads
from models.errors import SettingsError

HOST_SETTINGS: Final = (
    "AzureWebJobsStorage",
    "FUNCTIONS_WORKER_RUNTIME",
    "CONSUMER_GROUP",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
)
"""Read by the Functions host, its worker or the exporter of metrics, not by this module."""

Authentication = Literal["function_key", "app_service"]
AUTHENTICATIONS: Final[tuple[Authentication, ...]] = get_args(Authentication)
Word = TypeVar("Word", bound=str)

DEFAULT_DIMENSIONS: Final = "deployment,operation,product"
DEFAULT_PRICE_PROVIDERS: Final = "azure,aws,google,mistral,cohere,voyageai,perplexity"


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings. Either `tables_connection_string` or `tables_endpoint` (with an identity) is given.

    For sending to a hub: `hub_connection_string`, else `hub_namespace` (a host name, with an identity), or neither.
    `table_prefix` comes before the name of every table. `dimensions` are those that aggregate rows tell apart beyond
    app and model. Without `gateway_logs_hub` no logs of the gateway's own are expected. `app_service_authenticates` is
    what the platform says: whether every request has passed its sign-in.
    """

    tables_connection_string: str | None
    tables_endpoint: str | None
    tables_client_id: str | None
    hub_connection_string: str | None
    hub_namespace: str | None
    hub_client_id: str | None
    table_prefix: str
    usage_events_hub: str
    gateway_logs_hub: str | None
    join_deadline_seconds: int
    dimensions: tuple[str, ...]
    estimate_usage: bool
    dead_letter_payloads: Payloads
    call_retention_days: int
    commit_concurrency: int
    cache_rows: int
    query_concurrency: int
    query_max_rows: int
    query_max_entities: int
    query_max_days: int
    query_max_calls: int
    query_max_call_days: int
    query_max_requests: int
    query_max_seconds: int
    price_providers: tuple[str, ...]
    focus_provider_name: str
    application_insights: str | None
    metrics_by_app: bool
    app_partitions: Mapping[str, int]
    alert_webhook_allow_private: bool
    authentication: Authentication
    app_service_authenticates: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises SettingsError that lists every fault."""
        reader = _Reader(environment)
        connection_string, endpoint = reader.storage()
        hub_connection_string, hub_namespace = reader.hub()
        settings = cls(
            tables_connection_string=connection_string,
            tables_endpoint=endpoint,
            tables_client_id=reader.text("UsageStorage__clientId") or reader.text("AZURE_CLIENT_ID"),
            hub_connection_string=hub_connection_string,
            hub_namespace=hub_namespace,
            hub_client_id=reader.text("EventHubConnection__clientId") or reader.text("AZURE_CLIENT_ID"),
            table_prefix=reader.matching(
                "TABLE_PREFIX", r"[A-Za-z][A-Za-z0-9]{0,30}|", "a letter, then up to 30 letters or digits"
            ),
            usage_events_hub=reader.required("USAGE_EVENTS_HUB", "the name of the hub that receives usage events"),
            gateway_logs_hub=reader.text("GATEWAY_LOGS_HUB"),
            join_deadline_seconds=reader.number("JOIN_DEADLINE_SECONDS", 3600, 1, 7 * 86_400, "seconds"),
            dimensions=reader.dimensions("AGGREGATE_DIMENSIONS", DEFAULT_DIMENSIONS),
            estimate_usage=reader.estimate_usage(),
            dead_letter_payloads=reader.one_of("DEAD_LETTER_PAYLOADS", PAYLOADS, "redacted"),
            call_retention_days=reader.number("CALL_RETENTION_DAYS", 90, 1, 3650, "days"),
            commit_concurrency=reader.number("COMMIT_CONCURRENCY", 16, 1, 256, "transactions"),
            cache_rows=reader.number("CACHE_ROWS", 20_000, 100, 1_000_000, "rows"),
            query_concurrency=reader.number("QUERY_CONCURRENCY", 32, 1, 256, "requests"),
            query_max_rows=reader.number("QUERY_MAX_ROWS", 50_000, 100, 1_000_000, "rows"),
            query_max_entities=reader.number("QUERY_MAX_ENTITIES", 1_000_000, 1000, 100_000_000, "rows"),
            query_max_days=reader.number("QUERY_MAX_DAYS", 800, 1, 4000, "days"),
            query_max_calls=reader.number("QUERY_MAX_CALLS", 100_000, 100, 10_000_000, "rows"),
            query_max_call_days=reader.number("QUERY_MAX_CALL_DAYS", 32, 1, 400, "days"),
            query_max_requests=reader.number("QUERY_MAX_REQUESTS", 50_000, 100, 10_000_000, "ranges of rows"),
            query_max_seconds=reader.number("QUERY_MAX_SECONDS", 60, 1, 220, "seconds"),
            app_partitions=reader.app_partitions("APP_PARTITIONS"),
            price_providers=reader.names("PRICE_PROVIDERS", DEFAULT_PRICE_PROVIDERS),
            focus_provider_name=reader.text("FOCUS_PROVIDER_NAME") or "LLM gateway",
            application_insights=reader.text("APPLICATIONINSIGHTS_CONNECTION_STRING"),
            metrics_by_app=reader.matching("METRICS_BY_APP", "[01]|", "0 or 1") == "1",
            alert_webhook_allow_private=reader.matching("ALERT_WEBHOOK_ALLOW_PRIVATE", "[01]|", "0 or 1") == "1",
            authentication=reader.one_of("AUTHENTICATION", AUTHENTICATIONS, "function_key"),
            app_service_authenticates=app_service_authenticates(environment),
        )
        if reader.faults:
            raise SettingsError(reader.faults)
        return settings


def app_service_authenticates(environment: Mapping[str, str]) -> bool:
    """Whether App Service authentication is on. It then sets this variable, which is read-only (learn.microsoft.com,
    "Environment variables and app settings in Azure App Service"), and nobody outside can set its headers."""
    return environment.get("WEBSITE_AUTH_ENABLED", "").strip().lower() == "true"


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


class _Reader:
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

    def estimate_usage(self) -> bool:
        wanted = self.matching("ESTIMATE_USAGE", "[01]|", "0 or 1") == "1"
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
