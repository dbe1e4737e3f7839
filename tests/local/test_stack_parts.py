"""The pieces of the local stack that need no running services: settings, ports, child processes, the report."""

import io
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.collected import Counted, hours_around
from local.ports import check_free, find_free
from local.processes import Part, PartError
from local.report import print_agreement, print_usage
from local.sample.truth import Counts, Truth
from local.stack_settings import StackSettings


def test_settings_have_the_documented_defaults() -> None:
    settings = StackSettings.from_env({})
    assert settings.ports == {"HTTP_PORT": 7071, "AMQP_PORT": 5672, "TABLE_PORT": 10002, "BLOB_PORT": 10000}
    assert settings.data_dir == Path.cwd() / ".data"
    assert settings.sample


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HTTP_PORT", "http", "HTTP_PORT should be a port number from 1 to 65535, not 'http'"),
        ("AMQP_PORT", "65536", "AMQP_PORT should be a port number from 1 to 65535, not '65536'"),
        ("TABLE_PORT", "0", "TABLE_PORT should be a port number from 1 to 65535, not '0'"),
        ("SAMPLE", "no", "SAMPLE should be 0 or 1, not 'no'"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(PartError) as caught:
        StackSettings.from_env({name: value})
    assert str(caught.value) == message


def test_every_taken_port_is_named_with_its_setting() -> None:
    free, _ = find_free(2)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first, second = one.getsockname()[1], two.getsockname()[1]
        with pytest.raises(PartError, match=rf"^2 ports are in use: {first} \(A\), {second} \(C\)\. "):
            check_free({"A": first, "B": free, "C": second})
    check_free({"B": free})


def test_a_part_that_ends_before_it_is_ready_says_its_last_words(tmp_path: Path) -> None:
    part = Part("The part", [sys.executable, "-c", "print('working'); exit('no disk left')"], tmp_path / "log")
    part.start()
    with pytest.raises(PartError, match=r"^The part stopped with exit code 1: no disk left \(its log: \S+log\)$"):
        part.wait_for("^ready$", 30)
    part.stop()


def test_a_part_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    part = Part("The part", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    part.start()
    with pytest.raises(PartError, match=r"^The part was not ready after 0 s; its log: "):
        part.wait_for("^ready$", 0.2)
    part.stop()


def test_a_part_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); "
    part = Part("The part", [sys.executable, "-c", stubborn + "time.sleep(60)"], tmp_path / "log")
    part.start()
    part.wait_for("^ready$", 30)
    part.stop(grace_seconds=0.2)
    assert part.pid is None


def test_a_part_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    part = Part("The part", [str(tmp_path / "missing")], tmp_path / "log")
    with pytest.raises(PartError, match=r"^The part could not be started: .*No such file"):
        part.start()


def test_the_range_is_whole_hours_around_the_traffic() -> None:
    now = datetime(2026, 11, 20, 13, 59, 59, tzinfo=UTC)
    start, end = hours_around(now, timedelta(days=3))
    assert (start, end) == (datetime(2026, 11, 17, 13, tzinfo=UTC), datetime(2026, 11, 20, 15, tzinfo=UTC))


def test_only_what_this_run_added_is_compared() -> None:
    before = Counted({"a": Counts(calls=5), "b": Counts(calls=1)}, dead_letters=2)
    after = Counted({"a": Counts(calls=7), "b": Counts(calls=1)}, dead_letters=3)
    assert after.since(before) == Counted({"a": Counts(calls=2)}, dead_letters=1)


def test_the_report_groups_models_by_app_and_puts_the_greatest_first() -> None:
    rows = [row("small", "m1", 10), row("large", "m2", 20), row("large", "m[3]", 30), row("small", None, 0, reported=0)]
    text = shown(lambda console: print_usage(console, {"rows": rows, "totals": row("", "", 60)}, datetime.now(UTC)))
    names = ("large", "m[3]", "m2", "small", "m1", "no model named", "all apps")
    assert [text.index(f"{name} ") for name in names] == sorted(text.index(f"{name} ") for name in names)
    assert "0 %" in text
    assert "100 %" in text


def test_a_disagreement_is_loud_and_an_agreement_says_what_was_there_before() -> None:
    truth = Truth({"a": Counts(calls=2, total_tokens=9)}, 1, 1, joined=1, logs=2, repeated_logs=1)
    right, wrong = Counted(truth.apps, 1), Counted({"a": Counts(calls=3, total_tokens=9)}, 0)
    good = shown(lambda console: print_agreement(console, truth, right, calls_before=1_180))
    assert "4 events sent: 2 calls counted, 1 sent twice and counted once, 1 malformed set aside" in good
    assert "1 of the calls are live streams whose usage came in the gateway's own log: 2 messages, 1 of them" in good
    assert "(1,180 calls in the table were there before this run)" in good
    bad = shown(lambda console: print_agreement(console, truth, wrong, calls_before=0))
    assert "DISAGREEMENT" in bad
    assert "a: calls should be 2 and is 3" in bad
    assert "1 malformed events were sent, 0 were set aside" in bad
    assert "agree" not in bad


def row(app: str, model: str | None, tokens: int, reported: int = 1) -> dict[str, Any]:
    return {**vars(Counts(calls=1, usage_reported=reported, total_tokens=tokens)), "app": app, "model": model}


def shown(printer: Any) -> str:
    console = Console(file=io.StringIO(), width=118, no_color=True)
    printer(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
