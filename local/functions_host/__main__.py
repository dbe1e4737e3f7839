"""`python -m local.functions_host`: runs a function app until it is told to stop (SIGINT, SIGTERM)."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import local.functions_host
from local.functions_host.host import FunctionsHost
from local.functions_host.invoke import current_function
from local.functions_host.settings import ConfigurationError

DEFAULT_PORT = 7071


def main(arguments_given: list[str] | None = None) -> int:
    """Returns the exit code. Without arguments given, takes those of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local.functions_host",
        description=local.functions_host.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--app", type=Path, default=Path(), metavar="DIR", help="folder with function_app.py (.)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="of the HTTP server (%(default)s); 0: a free one"
    )
    arguments = parser.parse_args(arguments_given)
    _log_to_stderr()
    app_dir = arguments.app.resolve()
    if app_dir.is_dir():
        os.chdir(app_dir)  # where the real host runs the app
    try:
        asyncio.run(_serve(app_dir, arguments.port))
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(app_dir: Path, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    host = FunctionsHost(app_dir, port)
    await host.start()
    print("Functions:", *(f"  {line}" for line in host.describe()), "ready", sep="\n", flush=True)
    await stop.wait()
    await host.stop()
    # An app has no moment to close its clients in: like the real host, the end of the process closes them, silently.
    loop.set_exception_handler(lambda _loop, _context: None)


def _log_to_stderr() -> None:
    """Level, function and message of each record; little of the Azure SDKs, whose faults the host reports itself."""

    def add_function(record: logging.LogRecord) -> bool:
        record.function = current_function.get()
        return True

    handler = logging.StreamHandler()
    handler.addFilter(add_function)
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(function)s: %(message)s"
    )
    logging.getLogger("azure").setLevel(logging.WARNING)
    for reported_by_the_host in ("azure.eventhub.aio", "azure.eventhub.extensions"):
        logging.getLogger(reported_by_the_host).setLevel(logging.CRITICAL)


if __name__ == "__main__":
    code = main()
    if any(thread.name.startswith("function") for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(code)  # a function that did not end within the grace must not keep the process
    sys.exit(code)
