"""What Azure documents that it takes, and what it costs: the inputs of simulate.py.

Prices are US dollars, list, of 2025 and 2026 and of several regions. They differ by region and change. Microsoft's
price pages, named here, could not be read where this was written: each stands as others quote it (docs/scale.md).
"""

from collections.abc import Mapping
from typing import Any, Final

# https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas, Standard tier
TU_EVENTS: Final = 1000
TU_BYTES: Final = 1_000_000
NAMESPACE_TUS: Final = 40
HUB_PARTITIONS: Final = 32

HUB_PARTITION_BYTES: Final = 1_000_000
"""https://learn.microsoft.com/azure/event-hubs/event-hubs-scalability recommends that as the most."""

# https://learn.microsoft.com/azure/storage/tables/scalability-targets, a second, of 1 KiB each
TABLE_PARTITION_ENTITIES: Final = 2000
ACCOUNT_ENTITIES: Final = 20_000

# https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan
APP_INSTANCES: Final = 1000
REGION_CORES: Final = 250
"""By default, of all Flex Consumption apps of a subscription."""
INSTANCE_GB: Final = 2
"""With one core."""

# https://azure.microsoft.com/pricing/details/event-hubs/
TU_HOUR: Final = 0.03
MILLION_EVENTS: Final = 0.028

# https://azure.microsoft.com/pricing/details/storage/tables/, local redundancy
TABLE_REQUEST: Final = 0.000_36 / 10_000
TABLE_GB: Final = 0.045

# https://azure.microsoft.com/pricing/details/storage/blobs/, "all other operations": the metadata of a blob is set
CHECKPOINT: Final = 0.0044 / 10_000

# https://azure.microsoft.com/pricing/details/functions/, Flex Consumption, on demand
GB_SECOND: Final = 0.000_026
MILLION_EXECUTIONS: Final = 0.40


def billed_bytes(entity: Mapping[str, Any]) -> int:
    """Of a row of texts and numbers (blogs.msdn.microsoft.com/avkashchauhan, 2011-11-30, on the size of an entity)."""
    columns = dict(entity)
    size = 4 + 2 * len(columns.pop("PartitionKey") + columns.pop("RowKey"))
    for name, value in columns.items():
        size += 8 + 2 * len(name) + (4 + 2 * len(value) if isinstance(value, str) else 8)
    return size
