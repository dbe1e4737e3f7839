"""The whole stack as real processes while they are killed, stopped and cut off: a short run of `make soak`."""

import signal
import subprocess
import sys
from pathlib import Path

from local.parts import ROOT

TIMEOUT_SECONDS = 300
SEED = 4


def test_killed_hosts_lost_partitions_and_a_restarted_storage_change_no_total(tmp_path: Path) -> None:
    """In a process of its own: threads, loops and broken connections end with it, and its parts when it is told to."""
    with (tmp_path / "output").open("w+") as output:
        command = [sys.executable, "-m", "tests.faults.soak", "--minutes", "0", "--kills", "5", "--rate", "10"]
        command += ["--orphans", "0"]  # these would wait for the timer's minute
        soak = subprocess.Popen(
            [*command, "--seed", str(SEED), "--folder", str(tmp_path / "data")],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = soak.wait(TIMEOUT_SECONDS)
        finally:
            if soak.poll() is None:
                soak.send_signal(signal.SIGTERM)
                soak.wait(60)
        output.seek(0)
        told = output.read()
    print(told)
    assert code == 0, told
    assert "'kill_host': 5" in told
    assert "'lose_azurite': 1" in told
    assert "exact: " in told
