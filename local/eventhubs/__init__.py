"""A local Event Hubs endpoint, for development: the unmodified azure-eventhub SDK talks AMQP 1.0 to it.

    python -m local.eventhubs --port 5672 --data-dir DIR --hub usage-events:4:usage-collector

From Python: EventHubsEndpoint (server.py). connection.py says which way a frame takes through the modules.
"""

from .errors import EndpointError
from .hub import HubSpec
from .server import EventHubsEndpoint, connection_string, serve

__all__ = ["EndpointError", "EventHubsEndpoint", "HubSpec", "connection_string", "serve"]
