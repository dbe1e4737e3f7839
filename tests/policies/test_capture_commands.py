"""The lines of docs/capture.md, run as they stand, with an `az` that only notes what it is asked."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from local.parts import CONSUMER_GROUP, HUBS
from tests.policies.policy_xml import EXAMPLES, FRAGMENTS

ROOT = Path(__file__).parents[2]
AZ = """#!/bin/sh
jq -cn --args '$ARGS.positional' -- "$@" >> "$CALLS"
for word in "$@"; do case $word in @*) cat "${word#@}" >> "$BODIES";; esac; done
case "$*" in *" show "*) echo /an-id;; esac
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[list[str]], list[dict[str, object]]]:
    """The words of each call of az, and the bodies that were put."""
    folder = tmp_path_factory.mktemp("az")
    (folder / "az").write_text(AZ)
    (folder / "az").chmod(0o755)
    blocks = re.findall(r"^## Turn it on$(.*?)^## ", (ROOT / "docs/capture.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = [line[4:] for line in blocks[0].splitlines() if line.startswith("    ")]
    script = "\n".join(["set -eu", *lines]).replace("<tenant>", "tenant").replace("<audience>", "audience")
    calls, bodies = folder / "calls", folder / "bodies"
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(calls), "BODIES": str(bodies), "TMPDIR": str(folder)}
    before = set(ROOT.iterdir())
    subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, check=True, timeout=60)
    assert set(ROOT.iterdir()) <= before, "the lines leave something in the checkout"
    put = subprocess.run(["jq", "-cs", ".", str(bodies)], capture_output=True, check=True).stdout
    return [json.loads(line) for line in calls.read_text().splitlines()], json.loads(put)


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_each_hub_is_made_with_the_group_that_the_app_reads_with(asked: tuple[list[list[str]], object]) -> None:
    calls, _ = asked
    hubs = {option(call, "-n") for call in calls if call[:3] == ["eventhubs", "eventhub", "create"]}
    groups = [call for call in calls if call[:4] == ["eventhubs", "eventhub", "consumer-group", "create"]]
    assert hubs == set(HUBS)
    assert {(option(call, "--eventhub-name"), option(call, "-n")) for call in groups} == {
        (hub, CONSUMER_GROUP) for hub in HUBS
    }


def test_what_is_put_is_what_the_files_say(asked: tuple[list[list[str]], list[dict[str, dict[str, object]]]]) -> None:
    calls, bodies = asked
    urls = [option(call, "--url") for call in calls if call[0] == "rest"]
    assert len(urls) == len(bodies)
    assert all(url.startswith("https://management.azure.com/an-id/") for url in urls)
    put = {url.partition("/an-id/")[2].partition("?")[0]: each for url, each in zip(urls, bodies, strict=True)}
    for name, path in FRAGMENTS.items():
        if path.parent.name != "fragments":  # budgets have lines of their own (docs/budgets.md)
            continue
        assert put[f"policyFragments/{name}"]["properties"] == {"format": "xml", "value": path.read_text()}
    assert put["apis/my-api/policies/policy"]["properties"]["value"] == EXAMPLES["mode-b"].read_text()
    logger = set(re.findall(r'logger-id="([^"]*)"', FRAGMENTS["usage-send"].read_text()))
    assert {f"loggers/{name}" for name in logger} <= put.keys()


def test_the_gateways_logs_go_to_the_hub_that_the_app_reads(asked: tuple[list[list[str]], object]) -> None:
    calls, _ = asked
    [setting] = [call for call in calls if call[:3] == ["monitor", "diagnostic-settings", "create"]]
    assert option(setting, "--event-hub") in HUBS
    assert json.loads(option(setting, "--logs")) == [{"category": "GatewayLlmLogs", "enabled": True}]
