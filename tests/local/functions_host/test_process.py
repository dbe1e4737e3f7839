"""The program itself: `python -m local.functions_host`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.eventhub import EventData, EventHubProducerClient

from local.eventhubs import EventHubsEndpoint
from local.functions_host.__main__ import main

from .conftest import HUB, AppFolder

ROOT = Path(__file__).resolve().parents[3]
HTTP_AND_TIMER = """
    @app.route(route="hello")
    def hello(req: func.HttpRequest) -> str:
        import os
        logging.info("said hello")
        logging.getLogger("azure.core").info("noise")
        return os.environ["GREETING"]

    @app.timer_trigger(arg_name="timer", schedule="%WHEN%")
    def tick(timer: func.TimerRequest) -> None: ...
"""


def command(app: AppFolder) -> list[str]:
    return [sys.executable, "-m", "local.functions_host", "--app", str(app.path), "--port", "0"]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
        return text


def send(event_hubs: EventHubsEndpoint, body: str) -> None:
    with EventHubProducerClient.from_connection_string(event_hubs.connection_string(HUB)) as producer:
        producer.send_batch([EventData(body)], partition_id="0")


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def running(app: AppFolder, **environ: str) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """The process, and the lines it printed until it was ready."""
    process = subprocess.Popen(
        command(app),
        cwd=ROOT,
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.strip())
                if lines[-1] == "ready":
                    break
            yield process, lines
        finally:
            process.kill()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_runs_until_a_signal(app: AppFolder, signal_number: signal.Signals) -> None:
    app.write(HTTP_AND_TIMER)
    values = {"GREETING": "hello", "WHEN": "01:00:00"}
    (app.path / "local.settings.json").write_text(json.dumps({"Values": values}))
    with running(app) as (process, lines):
        url = lines[1].rpartition(" ")[2]
        assert lines == ["Functions:", f"hello: [ALL] {url}", "tick: timerTrigger 01:00:00", "ready"]
        assert get(url) == "hello"
        process.send_signal(signal_number)
        assert process.wait(10) == 0
        assert process.stderr is not None
        log = process.stderr.read()
    assert "INFO hello: said hello" in log
    assert "noise" not in log


def test_sigterm_while_a_thread_does_not_end_and_the_hub_is_away(app: AppFolder) -> None:
    """The grace is given, then the process ends all the same, with exit code 0."""
    app.write("""
        import time

        @app.timer_trigger(arg_name="timer", schedule="01:00:00", run_on_startup=True)
        def endless(timer: func.TimerRequest) -> None:
            logging.info("begun")
            time.sleep(600)

        @app.event_hub_message_trigger(arg_name="events", event_hub_name="h", connection="HUBS",
                                       cardinality=func.Cardinality.MANY)
        def collect(events: typing.List[func.EventHubEvent]) -> None: ...
    """)
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/a;"
    hub = "Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true"
    with running(app, HUBS=hub, AzureWebJobsStorage=nowhere) as (process, lines):
        assert lines[1:] == ["endless: timerTrigger 01:00:00", "collect: eventHubTrigger h", "ready"]
        assert process.stderr is not None
        while "begun" not in process.stderr.readline():
            pass
        process.terminate()
        assert process.wait(10) == 0


def test_a_hub_that_comes_late_and_lost_connections(
    app: AppFolder, hub_settings: dict[str, str], event_hubs: EventHubsEndpoint
) -> None:
    """HTTP answers while there is no hub, one log line tells of the fault, and the events come in the end.

    In a process of its own, because azure-eventhub does not close sockets that were cut.
    """
    app.write(
        """
        got = []

        @app.event_hub_message_trigger(arg_name="events", event_hub_name="%HUB%", connection="HUBS",
                                       cardinality=func.Cardinality.MANY)
        def collect(events: typing.List[func.EventHubEvent]) -> None:
            got.extend(event.get_body().decode() for event in events)

        @app.route(route="got")
        def tell(req: func.HttpRequest) -> str:
            return " ".join(got)
        """,
        extensions={"eventHubs": {"loadBalancingUpdateInterval": "00:00:01"}},
    )
    event_hubs.stop()
    with running(app, **hub_settings) as (process, lines):
        url = lines[2].rpartition(" ")[2]
        assert get(url) == ""
        assert process.stderr is not None
        while "load balancing: " not in process.stderr.readline():
            pass
        event_hubs.start()
        send(event_hubs, "first")
        wait_until(lambda: get(url) == "first")
        event_hubs.drop_connections()
        send(event_hubs, "second")
        wait_until(lambda: get(url) == "first second")
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (HTTP_AND_TIMER, "error: function 'tick': schedule '%WHEN%' needs the app setting 'WHEN'"),
        ("import no_such_module", "Traceback"),
    ],
)
def test_what_cannot_run_ends_with_1(app: AppFolder, source: str, message: str) -> None:
    app.write(source)
    ended = subprocess.run(command(app), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert message == "Traceback" or len(ended.stderr.splitlines()) == 1


def test_help_says_what_it_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "local development tool" in text
    assert "function keys" in text
