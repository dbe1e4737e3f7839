"""TCP ports of 127.0.0.1."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from local.processes import PartError


def check_free(ports: Mapping[str, int]) -> None:
    """Raises PartError naming each port that something else listens on. Keys are the settings that can move them."""
    taken = [f"{port} ({name})" for name, port in ports.items() if not _is_free(port)]
    if taken:
        what = "ports are" if len(taken) > 1 else "port is"
        raise PartError(f"{len(taken)} {what} in use: {', '.join(taken)}. Stop what uses it, or set another number")


def find_free(count: int) -> list[int]:
    """Different free ports. Another process can still take one before it is used."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
