"""docs/operations.md names exactly the metrics that the app has, its queries and rules included."""

import re
from pathlib import Path

import pytest

from api.metrics import SERIES
from models.dead_letter import REASONS
from models.usage import MISSING_REASONS
from telemetry.instruments import APP, METRICS
from telemetry.record import OUTCOMES

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/operations.md").read_text()
MARKED = " ★"


def section(title: str) -> str:
    """A section of any depth, with those inside it."""
    start = re.search(rf"^(#+) {title}$", TEXT, re.MULTILINE)
    assert start, title
    end = re.search(rf"^#{{1,{len(start[1])}}} ", TEXT[start.end() :], re.MULTILINE)
    return TEXT[start.end() :][: end.start() if end else None]


def rows(title: str) -> list[list[str]]:
    """The rows of the first table of a section, without its head."""
    table = re.search(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table[0].splitlines()[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_each_metric_is_there_with_its_unit_and_its_attributes() -> None:
    documented = {}
    for name, unit, attributes, _ in rows("Metrics"):
        by_app = (APP,) if name.endswith(MARKED) else ()
        documented[names(name)[0]] = (names(unit)[0], (*names(attributes), *by_app))
    assert documented == {metric.name: (metric.unit, metric.attributes) for metric in METRICS}


def test_each_series_for_prometheus_is_there_with_its_labels() -> None:
    documented = {names(name)[0]: tuple(names(labels)) for name, labels, _ in rows("For Prometheus")}
    assert documented == {series.name: series.labels for series in SERIES}


def test_everything_that_looks_like_one_of_our_names_is_one() -> None:
    attributes = {name for metric in METRICS for name in metric.attributes}
    ours = {metric.name for metric in METRICS} | attributes
    assert set(re.findall(r"usage_collector\.[\w.]*\w", TEXT)) <= ours
    assert set(re.findall(r"usage_collector_\w+", TEXT)) <= {series.name for series in SERIES}


@pytest.mark.parametrize("query", blocks("kusto"))
def test_a_query_asks_for_metrics_that_are_there_by_attributes_that_they_have(query: str) -> None:
    asked = [metric for metric in METRICS if f'"{metric.name}"' in query]
    assert asked or query.startswith("traces")
    attributes = {name for metric in asked for name in metric.attributes}
    assert set(re.findall(r'customDimensions\["([^"]+)"\]', query)) <= attributes
    assert set(re.findall(r'"(usage_collector[^"]+)"', query)) <= attributes | {metric.name for metric in asked}


def test_every_alert_for_prometheus_names_its_series() -> None:
    rules = next(block for block in blocks("yaml") if block.startswith("groups:"))
    assert rules.count("- alert:") == rules.count("expr:") > 0
    for rule in rules.split("- alert:")[1:]:
        assert [series.name for series in SERIES if re.search(rf"\b{series.name}\b", rule)], rule


def test_the_runbook_knows_every_reason() -> None:
    assert {name for reason, *_ in rows("Dead letters rise") for name in names(reason)} == set(REASONS)
    assert {name for reason, _ in rows("Coverage falls") for name in names(reason)} == set(MISSING_REASONS)
    processed = next(row for row in rows("Metrics") if names(row[0]) == ["usage_collector.records.processed"])
    assert set(OUTCOMES) <= set(names(processed[3]))


def test_every_section_that_is_linked_is_there() -> None:
    titles = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= anchors
    for page in re.findall(r"\]\((?!#|http)([^)#]+)", TEXT):
        assert (ROOT / "docs" / page).exists(), page
