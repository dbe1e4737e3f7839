"""Imports run one way, so that the path of a call can be read in one direction."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT: dict[str, set[str]] = {
    "models": set(),
    "collectors": {"models"},
    "ledger": {"models"},
    "prices": {"models"},
    "queries": {"models", "ledger", "prices"},
    "settings_reader": {"models"},
    "settings": {"models", "settings_reader"},
    "hub_sender": set(),
    "hub_state": set(),
    "hub_reader": {"models", "collectors", "hub_state"},
    "memo": set(),
    "telemetry": {"models", "ledger"},
    "services": {"models", "ledger", "prices", "settings", "hub_sender", "hub_state", "hub_reader", "telemetry"},
    "backlog": {"models", "ledger", "services", "hub_state", "memo"},
    "pipeline": {"models", "collectors", "ledger", "services"},
    "redrive": {"models", "collectors", "ledger", "services"},
    "asker": {"queries", "services"},
    "budgets": {"models", "ledger", "prices", "queries", "services", "asker", "memo"},
    "alerts": {"models", "ledger", "queries", "services", "asker", "budgets"},
    "api": {
        *("models", "collectors", "ledger", "prices", "queries", "services", "redrive", "backlog", "memo", "asker"),
        "budgets",
        "alerts",
    },
    "commands": {
        *("models", "collectors", "ledger", "services", "pipeline", "redrive", "hub_reader", "hub_state", "backlog"),
    },
    "usage_cli": set(),
    "function_app": {"settings", "collectors", "pipeline", "services", "api", "backlog", "budgets", "alerts"},
}
"""What each package or module of the app may import of the others. `local`, `tests` and `benchmarks` may import all."""

ONLY_HERE = {
    "azure.functions": {"function_app.py"},
    "azure.data.tables.aio": {"ledger/store.py", "services.py"},
    "azure.eventhub": {"hub_sender.py", "hub_state.py", "hub_reader.py"},
    "azure.identity": {"services.py", "usage_cli/client.py"},
    "aiohttp": {"alerts/send.py"},
    "genai_prices": {"prices/catalogue.py"},
    "os": {"services.py", "function_app.py", "commands/__main__.py", "commands/backup.py", "usage_cli/__main__.py"},
}
"""What only these files of the app may import: bindings, tables and the environment (and fsync) each have one place."""


def _files(name: str) -> list[Path]:
    path = ROOT / name
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_part_imports_only_what_comes_before_it(name: str) -> None:
    for file in _files(name):
        parts = {module.split(".")[0] for module in _imports(file)}
        assert parts & (set(MAY_IMPORT) | {"local", "tests", "benchmarks"}) <= MAY_IMPORT[name] | {name}, file


@pytest.mark.parametrize("module", ONLY_HERE)
def test_what_touches_the_outside_is_in_one_place(module: str) -> None:
    users = {
        file.relative_to(ROOT).as_posix()
        for name in MAY_IMPORT
        for file in _files(name)
        if any(found == module or found.startswith(f"{module}.") for found in _imports(file))
    }
    assert users <= ONLY_HERE[module]


def test_no_module_is_too_long_to_read() -> None:
    lengths = {file: len(file.read_text().splitlines()) for name in MAY_IMPORT for file in _files(name)}
    assert {str(file) for file, lines in lengths.items() if lines > 300} == set()
