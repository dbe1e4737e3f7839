"""What several commands read of their arguments."""

import argparse
from datetime import datetime

from models.event import parse_rfc3339


def time_of(option: str, text: str | None) -> datetime | None:
    """The time that an option names, None if it was not given. Raises ValueError that names the option."""
    try:
        return None if text is None else parse_rfc3339(text)
    except ValueError as error:
        raise ValueError(f"{option} is {text!r}: expected an RFC 3339 time, such as 2026-11-20T13:00:00Z") from error


def range_of(arguments: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    """What --from and --to say. Raises ValueError if nothing can lie between."""
    start, end = time_of("--from", arguments.start), time_of("--to", arguments.end)
    if start is not None and end is not None and start >= end:
        raise ValueError(f"--from is {arguments.start}: expected a time before --to, which is {arguments.end}")
    return start, end
