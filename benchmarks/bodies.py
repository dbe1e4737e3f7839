"""The recorded response bodies that the benchmarks read, and longer ones made of them."""

import json
from pathlib import Path
from typing import Final, NamedTuple

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
CHUNKS: Final = 300
"""Of a lengthened stream, as of an answer of some 300 tokens: the recorded ones were chosen for being short."""


class Body(NamedTuple):
    """`provider` and `operation` as samples/NOTES.md names them."""

    provider: str
    operation: str
    streaming: bool
    text: str


def recorded(*files: str | Path) -> list[Body]:
    """The bodies of answers that report a usage, of files in `samples/` or elsewhere."""
    records = [json.loads(line) for file in files for line in (SAMPLES / file).read_text("utf-8").splitlines()]
    return [
        Body(record["provider"], record["operation"], record["streaming"], record["response"]["body"])
        for record in records
        if record["expected"] and isinstance(record["response"]["body"], str)
    ]


def lengthened(stream: Body) -> Body:
    """A stream of server-sent events with one event of the answer's middle repeated."""
    events = stream.text.split("\n\n")
    middle = (len(events) - 3) // 2  # the last are the usage, [DONE], and nothing
    repeated = events[middle : middle + 1] * (CHUNKS - stream.text.count("data: {"))
    return stream._replace(text="\n\n".join(events[:middle] + repeated + events[middle:]))
