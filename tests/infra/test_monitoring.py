"""Alerts, workbook and dashboard ask for metrics that are there, in queries that their own parsers accept."""

import json
import re
from datetime import timedelta
from pathlib import Path

import promql_parser
import pytest
import yaml

from api.metrics import SERIES
from telemetry.instruments import METRICS
from tests.infra.bicep import INFRA, MAIN, ROOT, properties, text, variable, walk
from tests.infra.queries import fenced, grafana_expressions, kusto_faults, workbook_queries
from tests.ledger.test_traffic import ENOUGH

MONITORING = INFRA / "app/monitoring.bicep"
ALERTS = {path.stem: path.read_text() for path in sorted((INFRA / "alerts").glob("*.kql"))}
OPERATIONS = ROOT / "docs/operations.md"
QUERIES = ALERTS | workbook_queries()
KUSTO = [*QUERIES.values(), *fenced(OPERATIONS, "kusto")]
RULES = yaml.safe_load(next(block for block in fenced(OPERATIONS, "yaml") if block.startswith("groups:")))
PROMQL = [expression for expression, _ in grafana_expressions()] + [
    rule["expr"] for group in RULES["groups"] for rule in group["rules"]
]


def test_every_query_is_one_to_microsofts_parser() -> None:
    broken = ["customMetrics | where nam == 'x'", "customMetrics | summarize sum(value by name"]
    *faults, unknown_column, no_query = kusto_faults([*KUSTO, *broken])
    assert [(query, found) for query, found in zip(KUSTO, faults, strict=True) if found] == []
    assert "'nam'" in unknown_column[0]
    assert no_query


@pytest.mark.parametrize("query", QUERIES.values(), ids=list(QUERIES))
def test_a_query_asks_for_metrics_that_are_there_by_attributes_that_they_have(query: str) -> None:
    asked = [metric for metric in METRICS if f'"{metric.name}"' in query]
    attributes = {name for metric in asked for name in metric.attributes}
    assert asked
    assert set(re.findall(r'customDimensions\["([^"]+)"\]', query)) <= attributes
    assert set(re.findall(r'"(usage_collector[^"]+)"', query)) <= attributes | {metric.name for metric in asked}


def test_the_alerts_are_those_of_the_docs() -> None:
    page = OPERATIONS.read_text()
    section = page[page.index("### Alerts (KQL)") : page.index("## For Prometheus")]
    assert sorted(ALERTS.values()) == sorted(re.findall(r"```kusto\n(.*?)```", section, re.DOTALL))


def test_each_alert_is_a_rule_that_looks_back_as_far_as_its_query() -> None:
    rules = [properties(node) for node in walk(variable(MONITORING, "rules")) if node.type == "object"]
    assert {text(rule["name"]).strip("'") for rule in rules} == set(ALERTS)
    for rule in rules:
        name = text(rule["name"]).strip("'")
        assert f"'../alerts/{name}.kql'" in text(rule["query"])
        looks_back = max(_duration(*found) for found in re.findall(r"ago\((\d+)([mh])\)", ALERTS[name]))
        number, unit = re.findall(r"'PT?(\d+)([MHD])'", text(rule["window"]))[0]
        assert looks_back <= _duration(number, unit.lower()) <= timedelta(days=2), "the most that a rule looks back"


def test_a_call_waits_too_long_ten_minutes_after_the_deadline_that_is_set() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]["JOIN_DEADLINE_SECONDS"]
    assert re.findall(r"> (\d{3,})", ALERTS["calls-wait-too-long"]) == [str(int(sample) + 600)]
    assert ALERTS["calls-wait-too-long"].count(str(int(sample) + 600)) == 1
    put_in = f"calls-wait-too-long.kql'), '{int(sample) + 600}', string(joinDeadlineSeconds + 600))"
    assert put_in in MONITORING.read_text()
    given = f"contains(appSettings, 'JOIN_DEADLINE_SECONDS') ? int(appSettings.JOIN_DEADLINE_SECONDS) : {sample}"
    assert f"joinDeadlineSeconds: {given}\n" in MAIN.read_text()


def test_the_costs_name_as_many_rules_as_there_are() -> None:
    assert re.findall(r"alerts \((\w+) rules", (ROOT / "docs/costs.md").read_text()) == [str(len(ALERTS))]


def _duration(number: str, unit: str) -> timedelta:
    return int(number) * {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[unit]


def test_what_stops_is_told_hub_by_hub() -> None:
    """One hub that still works must not hide another, nor may points that are not there keep a rule silent."""
    for name in ("counting-is-behind", "a-partition-is-not-counted"):
        assert "by hub, partition" in ALERTS[name]
    assert ALERTS["a-part-does-not-answer"].count("by part\n") == ALERTS["nothing-is-sent"].count("by hub\n") == 1
    behind = ALERTS["a-partition-is-not-counted"]
    assert "ever_counted == 0" in behind, "the lag's duration is not there where nothing was ever counted"


def test_what_is_silent_too_long_is_the_same_to_both_and_ends_when_an_event_comes() -> None:
    """The number goes on from one month and one hour to the next, so that neither rule ends for itself."""
    (rule,) = [rule for group in RULES["groups"] for rule in group["rules"] if "NothingIsSent" in rule["alert"]]
    assert rule["expr"] == f"min_over_time(usage_collector_overdue_events[15m]) >= {ENOUGH}"
    assert ALERTS["nothing-is-sent"].endswith(f"summarize overdue = min(value) by hub\n| where overdue >= {ENOUGH}\n")


def test_however_often_anybody_looked_a_rule_tells_that_the_tables_do_not_answer() -> None:
    """From no look to one a minute: a part that never answered is told, or that too little is known."""
    (least,) = re.findall(r"points >= (\d+) and answered == 0", ALERTS["a-part-does-not-answer"])
    (too_few,) = re.findall(r"looks < (\d+)", ALERTS["nobody-looks"])
    assert least == too_few
    assert int(least) < 10, "a point a minute, and the last of them are still on their way"
    for name in ("a-part-does-not-answer", "nobody-looks"):
        assert '"usage_collector.up"' in ALERTS[name], "is recorded whatever answers"
    assert '== "tables"' in ALERTS["nobody-looks"], "else each part of a look is a look"


@pytest.mark.parametrize("expression", PROMQL)
def test_an_expression_for_prometheus_parses_and_asks_for_series_that_are_there(expression: str) -> None:
    promql_parser.parse(expression)
    series = {each.name: each for each in SERIES}
    asked = set(re.findall(r"usage_collector_\w+", expression))
    assert asked
    assert asked <= set(series)
    labels = {label for name in asked for label in series[name].labels}
    used = re.findall(r"(?:by|without) \(([^)]*)\)", expression)
    assert {label.strip() for each in used for label in each.split(",")} <= labels
    assert set(re.findall(r"\{(\w+)=", expression)) <= labels
    assert not re.search(r"\b(rate|irate|increase)\(", expression), "the month's sums are gauges"


def test_a_panel_shows_labels_that_its_series_have() -> None:
    series = {each.name: each for each in SERIES}
    for expression, legend in grafana_expressions():
        (name,) = set(re.findall(r"usage_collector_\w+", expression))
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= set(series[name].labels), expression


@pytest.mark.parametrize("name", ["workbook.json", "grafana-dashboard.json"])
def test_a_dashboard_names_no_resource_of_ours(name: str) -> None:
    content = (INFRA / name).read_text()
    json.loads(content)
    assert not re.search(r"/subscriptions/|azurewebsites|[0-9a-f]{8}-[0-9a-f]{4}-", content)


def test_no_other_page_names_a_metric_that_is_not_there() -> None:
    ours = {metric.name for metric in METRICS} | {name for metric in METRICS for name in metric.attributes}
    series = {each.name for each in SERIES}
    pages = [*Path(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    for page in pages:
        content = page.read_text()
        assert set(re.findall(r"\busage_collector\.[\w.]*\w", content)) <= ours, page
        assert set(re.findall(r"\busage_collector_\w+", content)) <= series, page
