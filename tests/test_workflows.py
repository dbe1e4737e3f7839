"""The workflows: every action by its commit, no secret, no right beyond what a job needs, only targets that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_say_their_version(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, comment in used:
        if action.startswith("./"):
            assert (ROOT / action).is_file()
            continue
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_an_action_has_one_commit() -> None:
    used = re.findall(r"uses: (\S+)@(\S+)", "\n".join(path.read_text() for path in WORKFLOWS))
    assert len(dict(used)) == len(set(used))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_nothing_is_secret_and_only_deploying_gets_a_token(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    for name, job in jobs(path).items():
        signs_in = any("azure/login@" in step.get("uses", "") for step in job.get("steps", []))
        assert ("id-token" in job.get("permissions", {})) == signs_in, name
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", "").replace("${{ matrix.", ""), "a value could be run as a command"


def test_the_targets_are_those_of_the_makefile_and_the_pythons_those_of_the_lock() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    check = ROOT / ".github/workflows/check.yml"
    asked = set(re.findall(r"run: make (\w+)", check.read_text()))
    assert asked == {"test", "package"}
    assert asked <= targets
    assert jobs(check)["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    mono = re.search(r"^MONO := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert mono
    assert mono[1] in check.read_text()


def test_dependabot_looks_at_every_kind_of_dependency() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"pip", "npm", "github-actions"}
