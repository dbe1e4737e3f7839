"""`python -m local.stack` (what `make run` runs): the collector on one machine, with nothing from Azure.

Starts Azurite, the local Event Hubs endpoint and the functions host with the unmodified function_app.py, sends sample
traffic, reports the usage that became of it, and stays up until Ctrl-C. Environment variables change it: HTTP_PORT
(7071), AMQP_PORT (5672), TABLE_PORT (10002), BLOB_PORT (10000), DATA_DIR (.data), SAMPLE=0 for no sample traffic.
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType

from azure.core.exceptions import AzureError
from azure.eventhub.exceptions import EventHubError

from local.collected import Collector, Counted, hours_around
from local.parts import USAGE_HUB, Stack, running_stack
from local.processes import PartError
from local.progress import Display, complain, make_console
from local.report import print_agreement, print_next, print_usage
from local.sample.records import load_records
from local.sample.send import send_events
from local.sample.traffic import DAYS, Traffic, build_traffic
from local.sample.truth import Truth
from local.stack_settings import StackSettings

_PATIENCE_SECONDS = 60.0


def send_sample(stack: Stack, collector: Collector, display: Display) -> bool:
    """Sends new sample traffic, waits until it is counted, reports. Returns whether all of it agrees."""
    traffic = build_traffic(load_records(), seed=f"run-{uuid.uuid4()}", now=datetime.now(UTC))
    before = collector.counted()
    _send(stack, traffic, display)
    counted = _wait_until_counted(stack, collector, before, traffic.truth, display)
    print_usage(display.console, collector.usage("app,model"), collector.start)
    return print_agreement(display.console, traffic.truth, counted, before.totals.calls)


def _send(stack: Stack, traffic: Traffic, display: Display) -> None:
    with display.bar("Sample traffic", len(traffic.events)) as update:
        sent = 0
        for number in send_events(stack.hub, traffic.events):
            stack.check()
            sent += number
            update(sent)


def _wait_until_counted(stack: Stack, collector: Collector, before: Counted, truth: Truth, display: Display) -> Counted:
    """Until as many calls are counted, and records set aside, as were sent; or nothing happens any more."""
    calls = truth.totals.calls
    with display.bar("Counted", calls) as update:
        counted, last_change = collector.counted().since(before), time.monotonic()
        while time.monotonic() - last_change < _PATIENCE_SECONDS:
            update(counted.totals.calls)
            if counted.totals.calls >= calls and counted.dead_letters >= truth.malformed:
                break
            time.sleep(0.3)
            stack.check()
            now = collector.counted().since(before)
            if now != counted:
                counted, last_change = now, time.monotonic()
    time.sleep(0.5)  # time for one count too many, if a copy were counted
    return collector.counted().since(before)


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = make_console()
    try:
        return _run(StackSettings.from_env(os.environ), Display(console))
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 0
    except PartError as exc:
        complain(str(exc))
        return 1


def _run(settings: StackSettings, display: Display) -> int:
    agrees = True
    try:
        with running_stack(settings, display) as stack:
            start, end = hours_around(datetime.now(UTC), timedelta(days=DAYS))
            if settings.sample:
                collector = Collector(settings.base_url, stack.storage, start, end)
                with _faults_explained(stack):
                    agrees = send_sample(stack, collector, display)
            print_next(display.console, settings.base_url, stack.hub, USAGE_HUB)
            display.console.print(f"\n[dim]Data and logs are in {settings.data_dir}.[/]")
            display.console.print("Ctrl-C stops everything.")
            while True:
                stack.check()
                time.sleep(0.3)
    except KeyboardInterrupt:
        if agrees:
            raise
        return 1


@contextmanager
def _faults_explained(stack: Stack) -> Iterator[None]:
    """A client's error is one line, and that of the part it talked to, if that has died, a better one."""
    try:
        yield
    except (PartError, AzureError, EventHubError) as exc:
        time.sleep(0.5)  # until a dying process is dead
        stack.check()
        raise PartError(f"the sample traffic failed: {' '.join(str(exc).split())[:500]}") from exc


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parts are being stopped: a second Ctrl-C must not cut that short
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
