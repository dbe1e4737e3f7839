"""Where the metrics go: Application Insights, where the app has its connection string.

Metrics only. The Functions host exports the worker's logs already, so that azure-monitor-opentelemetry's
configure_azure_monitor, which attaches a log handler to the root logger, would bring each line twice; and it would make
spans of every request to the tables.
"""

import logging

log = logging.getLogger("usage_collector.telemetry")


def start(connection_string: str) -> None:
    """Export this process's metrics every minute. Never raises: counting goes on without.

    Does nothing where metrics are exported already: with PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY the worker has
    seen to it before it loads the app. Takes some 0.5 s, nearly all of it for imports.
    """
    try:
        from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter
        from opentelemetry.metrics import get_meter_provider, set_meter_provider
        from opentelemetry.resource.detector.azure.functions import AzureFunctionsResourceDetector
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource

        if isinstance(get_meter_provider(), MeterProvider):
            return
        reader = PeriodicExportingMetricReader(AzureMonitorMetricExporter(connection_string=connection_string))
        resource = Resource.create().merge(AzureFunctionsResourceDetector().detect())
        set_meter_provider(MeterProvider([reader], resource))
    except Exception as fault:  # noqa: BLE001
        log.error("metrics are not exported to Application Insights: %s: %s", type(fault).__name__, fault)
