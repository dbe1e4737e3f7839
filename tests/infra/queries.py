"""Every query and rule on our metrics that docs/ and infra/ hold, and Microsoft's parser for those in KQL."""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARSER = ROOT / ".kusto"


def fenced(page: Path, language: str) -> list[str]:
    """The blocks of a page in this language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def workbook_queries() -> dict[str, str]:
    """By title, with a grain where the workbook has its own."""
    workbook = json.loads((ROOT / "infra/workbook.json").read_text())
    asked = [item["content"] for item in workbook["items"] if item["type"] == 3]
    return {content["title"]: content["query"].replace("{range:grain}", "5m") for content in asked}


def grafana_expressions() -> list[tuple[str, str]]:
    """Each with its legend."""
    dashboard: dict[str, Any] = json.loads((ROOT / "infra/grafana-dashboard.json").read_text())
    return [(target["expr"], target["legendFormat"]) for panel in dashboard["panels"] for target in panel["targets"]]


def kusto_faults(queries: Sequence[str]) -> list[list[str]]:
    """What Microsoft's parser finds wrong with each query. Fails the test if it is not installed."""
    if not (PARSER / ".installed").exists():
        pytest.fail(f"Microsoft's parser of the Kusto query language is not in {PARSER}: run `make .kusto/.installed`")
    done = subprocess.run(
        ["node", str(Path(__file__).parent / "kusto/check.js")],
        input=json.dumps({"folder": str(PARSER), "queries": list(queries)}),
        capture_output=True,
        text=True,
        check=True,
    )
    faults: list[list[str]] = json.loads(done.stdout)
    return faults
