"""`python -m commands <command>`: reads the same settings as the function app, from the environment or from a file."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import services
from commands import discard, export, forget, import_tables, migrate, redrive, replay, verify
from hub_state import HubUnavailable
from ledger.store import StoreError
from models.errors import SettingsError, StoreUnavailable


class Command(Protocol):
    """What a module of this folder offers. `run` returns the exit status."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    async def run(self, arguments: argparse.Namespace, found: services.Services) -> int: ...


COMMANDS: Mapping[str, Command] = {
    "verify": verify,
    "redrive": redrive,
    "replay": replay,
    "discard": discard,
    "export": export,
    "import": import_tables,
    "forget": forget,
    "migrate": migrate,
}


def main(words: list[str]) -> int:
    """Run the command that `words` name. 0: all is well, 1: the command found a fault, 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m commands", description="Tools for whoever runs the collector.")
    parser.add_argument("--settings", type=Path, help="a file like local.settings.json; default: the environment")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.HELP, description=command.HELP))
    arguments = parser.parse_args(words)
    try:
        return asyncio.run(_run(COMMANDS[arguments.command], arguments))
    except (SettingsError, StoreError, StoreUnavailable, HubUnavailable, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(command: Command, arguments: argparse.Namespace) -> int:
    environment = dict(os.environ)
    if arguments.settings:
        environment |= _values(arguments.settings)
    found = services.build(environment)
    try:
        return await command.run(arguments, found)
    finally:
        await found.close()


def _values(path: Path) -> dict[str, str]:
    """The settings in a file like local.settings.json; editors on Windows begin it with a byte order mark."""
    try:
        stated = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"--settings {path} is no JSON in UTF-8: {error}") from error
    values = stated.get("Values") if isinstance(stated, dict) else None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f'--settings {path}: expected an object with "Values", whose members are strings')
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
