"""`extensions.eventHubs` of host.json, and how to connect. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local.functions_host.settings import ConfigurationError, Settings, parse_time_span

STORAGE_SETTING = "AzureWebJobsStorage"
_DEVELOPMENT_STORAGE = (  # what UseDevelopmentStorage=true stands for; name and key are public
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
)


@dataclass(frozen=True)
class EventHubOptions:
    """The defaults are those of the real extension, except the last two.

    Those are 30 s and two minutes there. Here they are shorter, because they are also how long a person waits for a
    hub that comes up late, and for the partitions of a host that was killed.
    """

    max_batch_size: int = 100
    min_batch_size: int = 1
    max_wait_seconds: float = 60.0
    prefetch: int = 300
    batches_per_checkpoint: int = 1
    initial_position: str | datetime = "-1"
    load_balancing_seconds: float = 5.0
    ownership_expiration_seconds: float = 30.0


def parse_options(section: Mapping[str, Any]) -> EventHubOptions:
    """Raises ConfigurationError when a value cannot be used, as the real host fails to start."""
    default = EventHubOptions()

    def seconds(name: str, default_seconds: float) -> float:
        return parse_time_span(section[name]) if name in section else default_seconds

    try:
        options = EventHubOptions(
            max_batch_size=int(section.get("maxEventBatchSize", default.max_batch_size)),
            min_batch_size=int(section.get("minEventBatchSize", default.min_batch_size)),
            max_wait_seconds=seconds("maxWaitTime", default.max_wait_seconds),
            prefetch=int(section.get("prefetchCount", default.prefetch)),
            batches_per_checkpoint=int(section.get("batchCheckpointFrequency", default.batches_per_checkpoint)),
            initial_position=_initial_position(section.get("initialOffsetOptions", {})),
            load_balancing_seconds=seconds("loadBalancingUpdateInterval", default.load_balancing_seconds),
            ownership_expiration_seconds=seconds(
                "partitionOwnershipExpirationInterval", default.ownership_expiration_seconds
            ),
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"host.json: extensions.eventHubs: {error}") from error
    if not 1 <= options.min_batch_size <= options.max_batch_size or options.batches_per_checkpoint < 1:
        raise ConfigurationError(
            "host.json: extensions.eventHubs: needs 1 <= minEventBatchSize <= maxEventBatchSize "
            "and 1 <= batchCheckpointFrequency"
        )
    return options


@dataclass(frozen=True)
class Connection:
    """Either a connection string, or a namespace to be entered with DefaultAzureCredential; and the storage."""

    connection_string: str | None
    namespace: str | None
    storage: str


def find_connection(settings: Settings, prefix: str, function: str) -> Connection:
    """Reads the app settings of a trigger's `connection` and of the checkpoints' storage.

    Raises:
        ConfigurationError: one is missing.
    """
    connection_string = settings.get(prefix)
    namespace = settings.get(f"{prefix}__fullyQualifiedNamespace")
    if connection_string is None and namespace is None:
        raise ConfigurationError(
            f"function '{function}': connection '{prefix}' needs the app setting '{prefix}' or "
            f"'{prefix}__fullyQualifiedNamespace', and neither is in the environment or in local.settings.json"
        )
    storage = settings.get(STORAGE_SETTING)
    if storage is None:
        raise ConfigurationError(
            f"function '{function}': its checkpoints need the app setting '{STORAGE_SETTING}' (a connection string), "
            "which is neither in the environment nor in local.settings.json"
        )
    if storage.strip("; ").lower() == "usedevelopmentstorage=true":
        storage = _DEVELOPMENT_STORAGE
    return Connection(connection_string, namespace, storage)


def _initial_position(section: Mapping[str, Any]) -> str | datetime:
    """Where to start without a checkpoint, in the words of azure-eventhub."""
    match str(section.get("type", "fromStart")).lower():
        case "fromstart":
            return "-1"
        case "fromend":
            return "@latest"
        case "fromenqueuedtime":
            return datetime.fromisoformat(section.get("enqueuedTimeUtc", ""))
        case other:
            raise ValueError(f"unknown initialOffsetOptions.type '{other}'")
