"""python -m local.eventhubs, as `make run` starts it."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

ROOT = Path(__file__).parents[3]


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "local.eventhubs", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ready(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    match = re.search(r"Endpoint=sb://127\.0\.0\.1:\d+;.*UseDevelopmentEmulator=true$", process.stdout.readline())
    assert match
    return match[0]


async def test_events_survive_a_killed_process(tmp_path: Path, read: Callable[..., Awaitable[list[EventData]]]) -> None:
    arguments = ("--port", "0", "--data-dir", str(tmp_path), "--hub", "usage-events:1:usage-collector")
    process = start(*arguments)
    client = EventHubProducerClient.from_connection_string(ready(process), eventhub_name="usage-events")
    async with client:
        await client.send_batch([EventData("one"), EventData("two")])
        process.kill()
        process.communicate()
    log = tmp_path / "usage-events" / "partition-0.log"
    with log.open("ab") as file:
        file.write(b"\x00\x00\x01\x00torn")  # what a write cut short leaves behind
    process = start(*arguments)
    events = await read(ready(process), 2)
    assert [event.body_as_str() for event in events] == ["one", "two"]
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert output == ""
    assert re.fullmatch(r".*partition-0\.log: cut off a torn last record \(8 bytes after event 1\)\n", errors)


def test_a_signal_cuts_the_connections_and_it_serves_on(tmp_path: Path) -> None:
    process = start("--port", "0", "--data-dir", str(tmp_path), "--hub", "hub")
    port = int(ready(process).split(":")[2].split(";")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"AMQP\x00\x01\x00\x00")
        assert client.recv(8) == b"AMQP\x00\x01\x00\x00"
        process.send_signal(signal.SIGUSR1)
        with contextlib.suppress(ConnectionError):
            while client.recv(1024):
                pass
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = start("--port", "0", "--data-dir", str(tmp_path), "--hub", "hub")
    ready(process)
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_failures_to_start_are_one_line(tmp_path: Path) -> None:
    first = start("--port", "0", "--data-dir", str(tmp_path / "one"), "--hub", "hub:2")
    port = ready(first).split(":")[2].split(";")[0]
    failures = [
        (("--port", port, "--data-dir", str(tmp_path / "two"), "--hub", "hub"), f"port {port} on 127.0.0.1 is in use"),
        (("--port", "0", "--data-dir", str(tmp_path / "one"), "--hub", "hub"), "in use by another Event Hubs endpoint"),
    ]
    processes = [(start(*arguments), message) for arguments, message in failures]
    for process, message in processes:
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output, errors.count("\n")) == (1, "", 1)
        assert message in errors
    first.terminate()
    first.communicate(timeout=10)
    fewer = start("--port", "0", "--data-dir", str(tmp_path / "one"), "--hub", "hub:1")
    assert "it cannot be served with 1" in fewer.communicate(timeout=10)[1]
    assert fewer.returncode == 1


def test_help_says_what_it_is_for() -> None:
    output, _ = start("--help").communicate(timeout=10)
    assert "for development" in output
    assert "Not for production" in output
