"""docs/budgets.md: what it tells people to send is accepted, and what it tells them to paste is the example's."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from tests.api.asked import Reply, send
from tests.api.conftest import Configure
from tests.policies.policy_xml import EXAMPLES, FRAGMENTS

TEXT = Path(__file__).parents[2].joinpath("docs/budgets.md").read_text(encoding="utf-8")
LOCAL = "http://127.0.0.1:7071/api/"


async def pasted(command: str) -> Reply:
    """What a curl command would get."""
    words = shlex.split(command)[1:]
    url = next(word for word in words if word.startswith(LOCAL))
    options = dict(pairwise(words))
    path, query = urlsplit(url).path.removeprefix("/api/"), urlsplit(url).query
    name = path.removeprefix("budgets/")
    endpoint, route = ("budget_status", {}) if name == "status" else ("budget", {"id": name})
    body = options["-d"].encode() if "-d" in options else None
    return await send(endpoint, path, query, method=options.get("-X", "GET"), route=route, body=body)


async def test_its_commands_work_in_their_order(configure: Configure) -> None:
    await configure()
    found = re.findall(r"^    (curl .*(?:\n      .*)*)", TEXT, re.MULTILINE)
    replies = [await pasted(command) for command in found]
    assert [reply.status for reply in replies] == [201, 200, 200, 200]
    entered = replies[0].json
    assert (entered["limit"], entered["format"], entered["tz"]) == ("2500", "slack", "Europe/Berlin")
    assert replies[1].json["status"] is None
    assert f'"{replies[2].json["state"]}"' == '"no_budget"'


async def test_every_member_is_told(configure: Configure) -> None:
    await configure()
    entered = (await send("budget", "budgets/a", method="PUT", route={"id": "a"}, body={
        "period": "day", "unit": "tokens", "limit": 1})).json  # fmt: skip
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told == entered.keys() - {"id", "version", "edited_at", "warnings"}


def test_the_lines_for_the_gateway_are_those_of_the_example() -> None:
    lines = re.search(r'^    <include-fragment fragment-id="usage-budget-app" />\n(?:    .*\n)+', TEXT, re.MULTILINE)
    assert lines
    example = EXAMPLES["budget"].read_text(encoding="utf-8")
    assert all(line.strip() in example for line in lines[0].splitlines())


def test_every_named_value_that_the_fragments_read_is_made() -> None:
    fragments = [path.read_text(encoding="utf-8") for name, path in FRAGMENTS.items() if "budget" in name]
    read = {name for text in fragments for name in re.findall(r"\{\{([\w-]+)\}\}", text)}
    made = re.search(r"for pair in (.*); do", TEXT)
    assert made
    assert set(re.findall(r"([\w-]+)=", made[1])) == read
    assert "<authentication-managed-identity" in "".join(fragments)
