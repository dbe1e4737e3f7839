"""requirements.txt and requirements-dev.txt are what `make lock` makes of the .in files: whole, exact, with hashes."""

import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {"requirements.txt": "requirements.in", "requirements-dev.txt": "requirements-dev.in"}
PYTHONS = [
    {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0", "sys_platform": platform}
    for minor in (11, 12, 13)
    for platform in ("linux", "darwin", "win32")
]


class Locked(NamedTuple):
    requirement: Requirement
    version: str
    hashes: list[str]


def locked(name: str) -> dict[str, list[Locked]]:
    """By canonical name; more than one where Pythons or platforms differ."""
    found: dict[str, list[Locked]] = {}
    lines = re.sub(r" *\\\n *", " ", (ROOT / name).read_text()).splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            text, *hashes = line.split(" --hash=")
            requirement = Requirement(text)
            (exact,) = requirement.specifier
            assert exact.operator == "==", line
            each = Locked(requirement, exact.version, hashes)
            found.setdefault(canonicalize_name(requirement.name), []).append(each)
    return found


def wanted(path: Path) -> list[Requirement]:
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            found += wanted(path.parent / line.removeprefix("-r ").strip())
        elif line and not line.startswith("#"):
            found.append(Requirement(line.split(" #")[0]))
    return found


def applies(requirement: Requirement, python: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(python)


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_exact_and_has_hashes(name: str) -> None:
    for entries in locked(name).values():
        for entry in entries:
            assert entry.hashes, entry.requirement
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in entry.hashes), entry.requirement
    assert "://" not in (ROOT / name).read_text(), "nothing comes from a place of its own"


@pytest.mark.parametrize("python", PYTHONS, ids=lambda each: f"{each['python_version']}-{each['sys_platform']}")
@pytest.mark.parametrize("name", LOCKS)
def test_each_python_gets_what_is_asked_for(name: str, python: dict[str, str]) -> None:
    """Run `make lock` after a change of an .in file."""
    entries = locked(name)
    for requirement in wanted(ROOT / LOCKS[name]):
        if applies(requirement, python):
            (entry,) = [
                each for each in entries[canonicalize_name(requirement.name)] if applies(each.requirement, python)
            ]
            assert requirement.specifier.contains(entry.version, prereleases=True), requirement


def test_the_tests_run_with_what_is_deployed() -> None:
    deployed, dev = locked("requirements.txt"), locked("requirements-dev.txt")
    for name, entries in deployed.items():
        assert {(e.version, *e.hashes) for e in entries} == {(e.version, *e.hashes) for e in dev[name]}, name


def test_nothing_is_missing_that_a_locked_package_needs() -> None:
    """What this Python has installed says what it needs; pip would refuse a package without a hash."""
    entries = locked("requirements-dev.txt")
    missing = set()
    for name in entries:
        try:
            needs = requires(name) or []
        except PackageNotFoundError:  # for another Python or platform
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                missing |= {f"{name} needs {need.name}"} if canonicalize_name(need.name) not in entries else set()
    assert missing == set()


def test_what_is_installed_here_is_what_is_locked() -> None:
    here = {}
    for name, entries in locked("requirements-dev.txt").items():
        for entry in entries:
            if entry.requirement.marker is None or entry.requirement.marker.evaluate():
                here[name] = entry.version
    assert {name: version(name) for name in here} == here
