"""What a program prints into a page is what it prints now."""

import json
import re
from pathlib import Path

from benchmarks import costs
from local import configuration
from settings import HOST_SETTINGS, Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"


def shown(page: str, command: str) -> str:
    return (DOCS / page).read_text("utf-8").split(f"<!-- {command} -->\n")[1].split("<!-- end -->")[0]


def test_the_settings_at_a_glance_are_those_of_the_code() -> None:
    command = "python -m local.configuration"
    assert shown("configuration.md", command) == configuration.report(), f"copy what `{command}` prints"


def test_every_setting_is_there_at_a_glance() -> None:
    sample = json.loads((DOCS.parent / "local.settings.sample.json").read_text())["Values"]
    assert {name for name, _, _ in configuration.rows()} == set(sample) - set(HOST_SETTINGS) | {"AZURE_CLIENT_ID"}


def test_a_default_at_a_glance_is_the_default() -> None:
    """Given as they stand there, the defaults change nothing."""
    needed = {"UsageStorage": "UseDevelopmentStorage=true", "USAGE_EVENTS_HUB": "usage-events"}
    given = {name: default.strip("`") for name, default, _ in configuration.rows() if default != "–"}
    assert len(given) > 15
    assert Settings.from_environment(needed | given) == Settings.from_environment(needed)


def test_the_costs_are_those_of_the_simulation() -> None:
    command = "python -m benchmarks.costs"
    assert shown("costs.md", command) == costs.report(), f"copy what `{command}` prints"


def test_the_costs_in_short_are_those_of_the_tables() -> None:
    page = (DOCS / "costs.md").read_text()
    together = [re.findall(r"\*\*([\d,]+)\*\*", line) for line in page.splitlines() if "together" in line]
    for title, as_it_is, waiting in (("modes A, C, D", *together[:2]), ("mode B", *together[2:])):
        cells = [f"${low} to ${high}" for low, high in zip(waiting[1:], as_it_is[1:], strict=True)]
        assert f"| {title} | {' | '.join(cells)} |" in page
