"""The parts of the local stack as child processes.

Each part runs in a session of its own (Ctrl-C in the terminal reaches only us, and we stop the parts in order),
reads nothing, and writes to a log file, so that no child keeps a pipe of ours open.
"""

import atexit
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_POLL_SECONDS = 0.05


class PartError(RuntimeError):
    """A part could not start or has stopped. The message is one line, written for the person at the terminal."""


class Part:
    """One child process: `start`, `wait_for` its sign of life in the log, `stop`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._cwd = cwd
        self._env = dict(env) if env is not None else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts the process with an empty log: the log tells of one run."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log_path.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._cwd,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as exc:
            raise PartError(f"{self.name} could not be started: {exc}") from exc
        atexit.register(self.stop)  # for whoever leaves without stopping it

    def wait_for(self, pattern: str, timeout_seconds: float) -> re.Match[str]:
        """The first match of `pattern` in the log. Raises PartError when the part stops or stays silent."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            stopped = self.exit_code is not None  # asked before the log is read: a last line is not missed
            if found := re.search(pattern, self.log_text(), re.MULTILINE):
                return found
            if stopped:
                self.check()
            if time.monotonic() > deadline:
                raise PartError(f"{self.name} was not ready after {timeout_seconds:.0f} s; its log: {self.log_path}")
            time.sleep(_POLL_SECONDS)

    @property
    def exit_code(self) -> int | None:
        """None while the process runs, and before it was started."""
        return self._process.poll() if self._process is not None else None

    def check(self) -> None:
        """Raises PartError if the part has stopped by itself."""
        if (code := self.exit_code) is None:
            return
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"stopped with exit code {code}"
        lines = [line.strip() for line in self.log_text().splitlines() if line.strip()]
        last_line = f": {lines[-1][:300]}" if lines else ""
        raise PartError(f"{self.name} {how}{last_line} (its log: {self.log_path})")

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Asks the process to end, and kills its whole group when it does not. Harmless when it has ended."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log_text(self) -> str:
        try:
            return self.log_path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
