"""The command line: python -m local.eventhubs --data-dir DIR --hub usage-events:4:usage-collector"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from .errors import EndpointError
from .hub import HubSpec
from .server import connection_string, serve

_DESCRIPTION = """\
A local Event Hubs endpoint for development: the azure-eventhub SDK talks AMQP to it as it does to the service.
It listens on 127.0.0.1 only, without TLS, and takes any key. Not for production: one process, no retention, no fsync.
SIGUSR1 cuts all connections, as a network failure does.
"""


def _hub(text: str) -> HubSpec:
    try:
        return HubSpec.parse(text)
    except EndpointError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.eventhubs",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=5672, help="port to listen on (default 5672; 0: any free one)")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder in which events are kept")
    parser.add_argument(
        "--hub",
        type=_hub,
        action="append",
        required=True,
        metavar="NAME[:PARTITIONS[:GROUP,...]]",
        help="a hub to serve, with its consumer groups besides $Default; may be given several times",
    )
    return parser


async def _serve_until_signalled(arguments: argparse.Namespace) -> None:
    def ready(port: int) -> None:
        print(f"Local Event Hubs endpoint ready: {connection_string(port)}", flush=True)

    drop_on = getattr(signal, "SIGUSR1", None)  # not on Windows
    serving = asyncio.ensure_future(
        serve(arguments.data_dir, arguments.hub, arguments.port, ready=ready, drop_on=drop_on)
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl+C ends the program all the same
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def main() -> int:
    arguments = _parser().parse_args()
    try:
        asyncio.run(_serve_until_signalled(arguments))
    except EndpointError as error:
        print(f"local.eventhubs: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
