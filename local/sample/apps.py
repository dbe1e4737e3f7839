"""The cast of the sample traffic: who calls, what they call, and how the gateway knows them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class App:
    """One caller. `name` is what the collector must resolve it to; `identity` the fields of its events that say so.

    `deployments` are relative frequencies, as is `share` among the apps.
    """

    name: str
    share: int
    deployments: Mapping[str, int]
    identity: Mapping[str, str]
    region: str


APPS = (
    App(
        "support-chat",
        38,
        {"gpt-4o-mini": 8, "gpt-4o": 3, "gpt-4.1-mini": 1},
        {
            "app_id": "support-chat",
            "subscription_id": "customer-care",
            "subscription_name": "Customer care",
            "product_id": "gold",
        },
        "westeurope",
    ),
    App(
        "document-search",
        24,
        {"text-embedding-3-small": 5, "text-embedding-3-large": 1, "gpt-4.1-mini": 4},
        {
            "app_id": "document-search",
            "subscription_id": "knowledge",
            "subscription_name": "Knowledge base",
            "product_id": "silver",
        },
        "swedencentral",
    ),
    App(
        "code-review-bot",
        14,
        {"claude-3-5-sonnet": 5, "claude-sonnet-4-6": 3, "claude-3-5-haiku": 2},
        {
            "app_id": "code-review-bot",
            "subscription_id": "engineering",
            "subscription_name": "Engineering",
            "product_id": "gold",
        },
        "eastus2",
    ),
    App(  # named, as most are, by the id of its Entra registration
        "5f0c7a3e-92d4-4b1e-8a67-d3e1f9b20c48",
        12,
        {"gpt-5-nano": 4, "gpt-5-mini": 1, "gpt-4o": 2, "claude-3-7-sonnet": 1},
        {"app_id": "5f0c7a3e-92d4-4b1e-8a67-d3e1f9b20c48", "product_id": "silver"},
        "westeurope",
    ),
    App(  # calls with a subscription key and no token
        "team-forecasting",
        9,
        {"gpt-35-turbo": 3, "gpt-3.5-turbo": 3, "davinci": 1},
        {"subscription_id": "team-forecasting", "subscription_name": "Forecasting", "product_id": "silver"},
        "swedencentral",
    ),
    App("unattributed", 3, {"gpt-4-32k": 2, "gpt-4": 1}, {}, "westeurope"),
)
