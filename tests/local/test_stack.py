"""`make run` as a whole: real processes, real protocols, the unmodified function app."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.parts import ROOT
from local.ports import check_free, find_free

READY = "Ctrl-C stops everything."
SENT = "1,204 events sent: 1,180 calls counted, 18 sent twice and counted once, 6 malformed set aside"
JOINED = r"\d\d+ of the calls are live streams whose usage came in the gateway's own log: \d\d+ messages, 6 of them"
AGREES = "all totals of all apps agree exactly with what was sent"
PARTS = ("Azurite", "The Event Hubs endpoint", "The functions host")
READY_SECONDS = 120.0


class Running:
    """`python -m local.stack`, its output in a file as a script would have it."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local.stack"],
                cwd=ROOT,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def errors(self) -> str:
        return self._err.read_text("utf-8")

    def wait_until_ready(self) -> str:
        deadline = time.monotonic() + READY_SECONDS
        while READY not in self.output:
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.output + self.errors
            time.sleep(0.1)
        return self.output

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def started(folder: Path, env: dict[str, str]) -> Iterator[Running]:
    folder.mkdir()
    running = Running(folder, env)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop(signal.SIGTERM)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    names = ("HTTP_PORT", "AMQP_PORT", "TABLE_PORT", "BLOB_PORT")
    ports = {name: str(port) for name, port in zip(names, find_free(len(names)), strict=True)}
    return {**ports, "DATA_DIR": str(tmp_path / "data"), "SAMPLE": "1"}


def assert_nothing_runs(env: dict[str, str]) -> None:
    """All ports are free again, and no process has the data folder among its arguments (Azurite hides its own)."""
    check_free({name: int(port) for name, port in env.items() if name.endswith("_PORT")})
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert env["DATA_DIR"] not in processes


def test_a_first_run_reports_what_was_sent_and_a_second_keeps_it(tmp_path: Path, env: dict[str, str]) -> None:
    with started(tmp_path / "first", env) as stack:
        report = stack.wait_until_ready()
        assert SENT in report
        assert re.search(JOINED, report)
        assert AGREES in report
        assert "before this run" not in report
        assert "\x1b" not in report, "no colours where there is no terminal"
        assert stack.stop(signal.SIGINT) == 0
        assert stack.errors == ""
    assert_nothing_runs(env)

    with started(tmp_path / "second", env) as stack:
        report = stack.wait_until_ready()
        assert SENT in report
        assert re.search(JOINED, report)
        assert AGREES in report
        assert re.search(r"\(1,1\d\d calls in the table were there before this run\)", report)
        assert stack.stop(signal.SIGTERM) == 0
    assert_nothing_runs(env)


def test_what_the_report_says_to_try_next_works_when_pasted(tmp_path: Path, env: dict[str, str]) -> None:
    with started(tmp_path / "run", env | {"SAMPLE": "0"}) as stack:
        report = stack.wait_until_ready()
        snippet = re.search(r"^\S*python\S* - <<'END'\n.*?^END$", report, re.MULTILINE | re.DOTALL)
        curls = re.findall(r"^curl '(\S+)'$", report, re.MULTILINE)
        assert snippet is not None
        assert len(curls) == 2

        subprocess.run(["sh", "-c", snippet[0]], cwd=ROOT, check=True, timeout=60)

        deadline = time.monotonic() + 30
        while not (rows := asked(curls[1])["rows"]) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert [(row["calls"], row["total_tokens"]) for row in rows] == [(1, 42)]
        hourly = asked(curls[0])
        assert hourly["granularity"] == "hour"
        assert [(row["app"], row["model"]) for row in hourly["rows"]] == [("my-app", "gpt-4o-2024-08-06")]


@pytest.mark.parametrize(("place", "part"), list(enumerate(PARTS)))
def test_a_part_that_dies_ends_the_stack_with_one_line(
    tmp_path: Path, env: dict[str, str], place: int, part: str
) -> None:
    with started(tmp_path / "run", env | {"SAMPLE": "0"}) as stack:
        stack.wait_until_ready()
        os.kill(children(stack.process.pid)[place], signal.SIGKILL)
        assert stack.process.wait(30) == 1
        assert re.fullmatch(rf"error: {part} was ended by SIGKILL.*\(its log: \S+\.log\)\n", stack.errors)
    assert_nothing_runs(env)


def test_ports_in_use_are_one_line_and_nothing_is_started(tmp_path: Path, env: dict[str, str]) -> None:
    with (
        socket.create_server(("127.0.0.1", int(env["AMQP_PORT"]))),
        started(tmp_path / "run", env) as stack,
    ):
        assert stack.process.wait(30) == 1
    assert stack.errors == (
        f"error: 1 port is in use: {env['AMQP_PORT']} (AMQP_PORT). Stop what uses it, or set another number\n"
    )
    assert stack.output == ""
    assert not Path(env["DATA_DIR"]).exists()


def test_a_data_dir_that_cannot_be_used_is_one_line(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    with started(tmp_path / "run", env) as stack:
        assert stack.process.wait(30) == 1
    assert re.fullmatch(r"error: DATA_DIR cannot be used: .*\n", stack.errors)


def test_a_part_that_dies_under_the_traffic_is_named(tmp_path: Path, env: dict[str, str]) -> None:
    with started(tmp_path / "run", env) as stack:
        deadline = time.monotonic() + READY_SECONDS
        while "HTTP on port" not in stack.output and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(children(stack.process.pid)[0], signal.SIGKILL)
        assert stack.process.wait(60) == 1
        assert stack.errors.startswith("error: Azurite was ended by SIGKILL")
        assert stack.errors.count("\n") == 1
    assert_nothing_runs(env)


def test_a_second_stack_on_the_same_data_is_refused(tmp_path: Path, env: dict[str, str]) -> None:
    with started(tmp_path / "run", env | {"SAMPLE": "0"}) as stack:
        stack.wait_until_ready()
        others = dict(zip([name for name in env if name.endswith("_PORT")], map(str, find_free(4)), strict=True))
        with started(tmp_path / "other", env | others) as other:
            assert other.process.wait(30) == 1
        assert other.errors.startswith(f"error: the data in {env['DATA_DIR']} is in use by another local stack")
        assert stack.process.poll() is None


def children(parent: int) -> list[int]:
    """In the order they were started."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [map(int, line.split()) for line in listing.splitlines()[1:]]
    return sorted(pid for pid, its_parent in pairs if its_parent == parent)


def asked(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer
