"""Every command that README and docs/ show is run here, or says above it why it cannot be.

A block of commands is run as a script against the local stack, which has counted some calls. Of `make` and pytest,
which are how this runs, only what they are asked for has to be there. Before a block that needs what is not here stands
`<!-- needs Azure -->`, `<!-- needs the network -->` or `<!-- needs make bench -->`.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from local.parts import ROOT, app_settings, running_stack
from local.ports import find_free
from local.progress import Display, make_console
from local.stack_settings import StackSettings
from tests.support.events import usage_event

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = r"make|curl|python3?|az|azd|pip|npm|npx|git|func|cp|gh|uv|terraform|\.venv\S*/bin/\S+"
MARKS = ("needs Azure", "needs the network", "needs make bench")


class Block(NamedTuple):
    page: str
    line: int
    mark: str | None
    script: str


def blocks(page: Path) -> list[Block]:
    """The indented paragraphs of a page that have a command at the start of a line; of those with prompts, the prompts.

    A mark holds for all paragraphs up to the next text.
    """
    found = []
    mark = None
    lines = [*page.read_text().splitlines(), ""]
    start = None
    for number, line in enumerate(lines):
        if line.startswith("    ") and line.strip():
            start = number if start is None else start
            continue
        if start is not None:
            taken = [each.strip() if each.strip().startswith("$ ") else each for each in lines[start:number]]
            prompts = [each.removeprefix("$ ") for each in taken if each.startswith("$ ")]
            script = "\n".join(prompts or taken)
            if re.search(rf"^ *(?:[A-Z_]+=\S+ +)*(?:{COMMANDS})(?!\S)", script, re.MULTILINE):
                found.append(Block(page.name, start + 1, mark, script))
            start = None
        if line.strip():
            marked = re.fullmatch(r" *<!-- (needs .*) -->", line)
            mark = marked[1] if marked else None
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
HERE = [block for block in BLOCKS if block.mark is None]


def test_a_mark_is_one_that_is_known_and_azure_is_never_asked_from_here() -> None:
    assert {block.mark for block in BLOCKS} == {None, *MARKS}
    for block in BLOCKS:
        asks_azure = bool(re.search(r"\baz[d]? |azurewebsites|management\.azure|<[a-z ]+>", block.script))
        fetches = bool(re.search(r"\b(?:pip|npm) (?:install|ci)\b", block.script))
        benches = ".venv-bench/bin" in block.script
        wanted = {"needs Azure": asks_azure, "needs the network": fetches, "needs make bench": benches}
        assert {block.mark} - {None} == {mark for mark, needed in wanted.items() if needed}, block


def test_commands_are_found_in_the_pages(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n    make run\n\n    an answer\n\n<!-- needs Azure -->\n    az login\n\n    az logout\n\nmore\n\n"
        "    $ curl x \\\n    answer\n"
    )
    found = [(block.line, block.mark, block.script.strip()) for block in blocks(page)]
    assert found == [
        (3, None, "make run"),
        (8, "needs Azure", "az login"),
        (10, "needs Azure", "az logout"),
        (14, None, "curl x \\"),
    ]
    assert len(HERE) > 15


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str], str]]:
    """A folder that looks like this one, the environment of a terminal in it, and the address of the stack."""
    http, amqp, table, blob = find_free(4)
    settings = StackSettings(http, amqp, table, blob, tmp_path_factory.mktemp("stack"), sample=False)
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ROOT.iterdir():
        (folder / entry.name).symlink_to(entry)
    with running_stack(settings, Display(make_console())) as stack:
        _count(settings.base_url, "support-chat", "my-app")
        values = app_settings(stack.storage, stack.hub)
        (folder / "local.settings.json").unlink(missing_ok=True)
        (folder / "local.settings.json").write_text(json.dumps({"Values": values}))
        (folder / "events.jsonl").write_text(json.dumps(usage_event(timestamp=datetime.now(UTC).isoformat())) + "\n")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        yield folder, {**os.environ, **values, "PATH": path, "USAGE_URL": settings.base_url}, settings.base_url


def _count(base_url: str, *apps: str) -> None:
    """Until a call of each of these apps is counted."""
    events = [
        usage_event(app_id=app, user_id="ann@example.com", timestamp=datetime.now(UTC).isoformat()) for app in apps
    ]
    with urlopen(Request(f"{base_url}/api/events", json.dumps(events).encode())) as answer:
        assert json.load(answer)["accepted"] == len(apps)
    deadline = time.monotonic() + 60
    while True:
        with urlopen(f"{base_url}/api/apps") as answer:
            if set(apps) <= {entry["app"] for entry in json.load(answer)["apps"]}:
                return
        assert time.monotonic() < deadline, "the calls were not counted"
        time.sleep(0.2)


PRELUDE = """set -eu
curl() { command curl --fail --silent --show-error --max-time 60 "$@"; }
make() { grep --quiet "^$1:" Makefile || { echo "no target $1"; return 1; }; }
"""


@pytest.mark.parametrize("block", HERE, ids=lambda block: f"{block.page}:{block.line}")
def test_the_commands_of_a_page_work(block: Block, environment: tuple[Path, dict[str, str], str]) -> None:
    folder, env, base_url = environment
    script = block.script.replace("http://127.0.0.1:7071", base_url)
    script = script.replace(".venv/bin/pytest", "test -e")
    done = subprocess.run(
        ["bash", "-c", PRELUDE + script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
