"""The app's settings: the one place that reads the environment, and one error for all that is wrong with it.

docs/configuration.md describes each for operators; tests/test_settings.py keeps this, it and the sample the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from models.alert import FORMATS, Format
from models.dead_letter import PAYLOADS, Payloads
from models.errors import SettingsError
from settings_reader import Reader

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

_HOST_NAME: Final = "WEBSITE_HOSTNAME"
"""Set by App Service."""
DEFAULT_DIMENSIONS: Final = "deployment,operation,product"
DEFAULT_PRICE_PROVIDERS: Final = "azure,aws,google,mistral,cohere,voyageai,perplexity"


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings. Either `tables_connection_string` or `tables_endpoint` (with an identity) is given.

    For sending to a hub: `hub_connection_string`, else `hub_namespace` (a host name, with an identity), or neither.
    `table_prefix` comes before the name of every table. `dimensions` are those that aggregate rows tell apart beyond
    app and model. Without `gateway_logs_hub` no logs of the gateway's own are expected. `app_service_authenticates` is
    what the platform says: whether every request has passed its sign-in. `alert_webhook` and `alert_webhook_keys` are
    secrets. `alert_source` says to receivers which collector an alert is of, a URI reference.
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
    alert_webhook: str | None
    alert_webhook_format: Format
    alert_webhook_keys: tuple[bytes, ...]
    alert_webhook_allow_private: bool
    alert_source: str
    alert_retention_days: int
    anomaly_alerts: bool
    anomaly_floor_tokens: int
    anomaly_cooldown_hours: int
    authentication: Authentication
    app_service_authenticates: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises SettingsError that lists every fault."""
        reader = Reader(environment)
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
            alert_webhook=reader.webhook("ALERT_WEBHOOK"),
            alert_webhook_format=reader.one_of("ALERT_WEBHOOK_FORMAT", FORMATS, "cloudevents"),
            alert_webhook_keys=reader.webhook_keys("ALERT_WEBHOOK_SECRET"),
            alert_webhook_allow_private=reader.switch("ALERT_WEBHOOK_ALLOW_PRIVATE", "0"),
            alert_source=f"https://{host}/api/alerts" if (host := reader.text(_HOST_NAME)) else "/api/alerts",
            # longer than a period of a budget: as long as an alert is there it is not raised again
            alert_retention_days=reader.number("ALERT_RETENTION_DAYS", 400, 62, 3650, "days"),
            anomaly_alerts=reader.switch("ANOMALY_ALERTS", "1"),
            anomaly_floor_tokens=reader.number("ANOMALY_FLOOR_TOKENS", 100_000, 1, 999_999_999, "tokens"),
            anomaly_cooldown_hours=reader.number("ANOMALY_COOLDOWN_HOURS", 24, 1, 744, "hours"),
            price_providers=reader.names("PRICE_PROVIDERS", DEFAULT_PRICE_PROVIDERS),
            focus_provider_name=reader.text("FOCUS_PROVIDER_NAME") or "LLM gateway",
            application_insights=reader.text("APPLICATIONINSIGHTS_CONNECTION_STRING"),
            metrics_by_app=reader.switch("METRICS_BY_APP", "0"),
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
