"""Where the metrics go. Each test in a process of its own, since OpenTelemetry's provider is set once a process."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.azurite import Azurite

ROOT = Path(__file__).resolve().parents[2]

ONE_BATCH = """
import asyncio, logging, sys
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(name)s %(message)s")
sys.path.insert(0, {root!r})
{before}
import services
from pipeline import ingest
from tests.support.events import NOON, raw_event, usage_event

async def main():
    found = services.get()
    await ingest([raw_event(usage_event())], found, now=lambda: NOON)
    await found.close()

asyncio.run(main())
import opentelemetry.metrics
print("provider", type(opentelemetry.metrics.get_meter_provider()).__name__)
print("handlers", [type(handler).__name__ for handler in logging.getLogger().handlers])
print("loaded", "azure.monitor.opentelemetry" in sys.modules)
"""


@contextmanager
def application_insights() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An endpoint that takes telemetry as Application Insights does; its connection string, and what it has taken."""
    taken: list[dict[str, Any]] = []

    class Ingestion(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            items = json.loads(body)
            taken.extend(items)
            answer = json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ingestion)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"InstrumentationKey={uuid4()};IngestionEndpoint=http://127.0.0.1:{server.server_port}/", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def one_batch(azurite: Azurite, connection_string: str, before: str = "", **settings: str) -> str:
    """Count a call in a process that ends in order; what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        "NO_PROXY": "127.0.0.1",
        "UsageStorage": azurite.connection_string,
        "USAGE_EVENTS_HUB": "usage-events",
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": connection_string,
        # What the exporter tells Microsoft about itself stays out of the tests.
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    }
    script = ONE_BATCH.format(root=str(ROOT), before=before)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"counted": 1' in done.stdout
    return done.stdout


def test_with_a_connection_string_metrics_are_sent_and_no_logs_and_no_traces(azurite: Azurite) -> None:
    with application_insights() as (connection_string, taken):
        platform = {"WEBSITE_SITE_NAME": "collector", "FUNCTIONS_WORKER_RUNTIME": "python"}
        printed = one_batch(azurite, connection_string, **platform)
    assert "provider MeterProvider" in printed
    assert "handlers ['StreamHandler']" in printed
    assert {item["data"]["baseType"] for item in taken} == {"MetricData"}
    metrics = {
        (point["name"], point["value"], item["tags"]["ai.cloud.role"])
        for item in taken
        for point in item["data"]["baseData"]["metrics"]
    }
    wanted = {("usage_collector.events", 1, "collector"), ("usage_collector.calls.counted", 1, "collector")}
    assert wanted <= metrics


def test_without_a_connection_string_nothing_is_loaded(azurite: Azurite) -> None:
    printed = one_batch(azurite, "")
    assert "loaded False" in printed
    assert "provider _ProxyMeterProvider" in printed


def test_where_the_worker_exports_the_app_does_not(azurite: Azurite) -> None:
    """As the worker does with PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY, before it loads the app: one of us sends."""
    worker = """
from azure.monitor.opentelemetry import configure_azure_monitor
configure_azure_monitor(enable_live_metrics=False)
"""
    with application_insights() as (connection_string, taken):
        one_batch(azurite, connection_string, worker)
    points = [point for item in taken for point in item["data"]["baseData"].get("metrics", ())]
    assert [point["value"] for point in points if point["name"] == "usage_collector.calls.counted"] == [1]


def test_an_exporter_that_cannot_be_loaded_is_logged_and_stops_nothing(azurite: Azurite) -> None:
    missing = "sys.modules['azure.monitor.opentelemetry.exporter'] = None"
    printed = one_batch(azurite, "InstrumentationKey=x", missing)
    assert "usage_collector.telemetry metrics are not exported to Application Insights: ModuleNotFoundError" in printed


def test_a_wrong_connection_string_is_logged_and_stops_nothing(azurite: Azurite) -> None:
    printed = one_batch(azurite, "InstrumentationKey=c2VjcmV0")
    assert "usage_collector.telemetry metrics are not exported to Application Insights: ValueError" in printed
    assert "c2VjcmV0" not in printed
