"""collectors.dialects: a module in the folder is a dialect; docs/bring-your-own-gateway.md is right."""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import collectors.dialects
from collectors.dialects import DIALECTS, find_dialects
from tests.collectors.dialects.fixtures import cases
from tests.collectors.reading import collected

DOCS = Path(__file__).resolve().parents[3] / "docs"
FOLDER = Path(collectors.dialects.__path__[0])


def test_each_module_of_the_folder_is_a_dialect() -> None:
    modules = {file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_")}
    assert {dialect.__name__.rpartition(".")[2] for dialect in DIALECTS} == modules  # type: ignore[attr-defined]
    for dialect in DIALECTS:
        assert list(inspect.signature(dialect.recognises).parameters) == ["record"]
        assert list(inspect.signature(dialect.read).parameters) == ["record", "delivery"]


def test_names_and_identities_are_said() -> None:
    assert len({dialect.NAME for dialect in DIALECTS}) == len(DIALECTS)
    for dialect in DIALECTS:
        body = getattr(dialect, "BODY", None)
        assert body is None or body in dialect.LATE  # type: ignore[attr-defined]


def test_dialects_are_tried_in_their_order() -> None:
    names = [dialect.NAME for dialect in DIALECTS]
    assert names[:3] == ["usage-event", "gateway-llm-log", "gateway-log"]
    assert names[-2:] == ["azure-monitor", "exchange"]
    assert names[3:-2] == sorted(names[3:-2])


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [[]], {"a": {}}])
def test_recognisers_never_raise(value: object) -> None:
    for record in [case.record for case in cases()] + [{}]:
        for name in {*record, "type", "response", "request"}:
            for dialect in DIALECTS:
                assert dialect.recognises(record | {name: value}) in (True, False)


def test_no_dialect_knows_a_dialect_but_by_the_order() -> None:
    """Adding one touches nothing else: none imports another, and nobody names one."""
    names = {file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_")}
    for file in FOLDER.parent.rglob("*.py"):
        imported = set(re.findall(r"(?:import|from) collectors\.dialects\.(\w+)", file.read_text()))
        imported |= set(re.findall(r"from collectors\.dialects import (\w+)", file.read_text()))
        assert not imported & names, file


def test_docs_name_every_dialect_and_those_that_cannot_tell_a_call_sent_twice() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` (\|.*)$", (DOCS / "dialects.md").read_text(), re.MULTILINE))
    assert set(rows) == {dialect.NAME for dialect in DIALECTS}
    for dialect in DIALECTS:
        if getattr(dialect, "CALL_ID", None) is None and dialect.NAME not in ("multiapp-logging", "azure-monitor"):
            assert "**a call sent twice**" in rows[dialect.NAME], dialect.NAME


def test_the_dialect_of_the_docs_does_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "bring-your-own-gateway.md").read_text()
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    first, fixtures = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    (tmp_path / "acme.py").write_text(module)
    monkeypatch.setattr(collectors.dialects, "__path__", [str(FOLDER), str(tmp_path)])
    try:
        found = find_dialects([str(FOLDER), str(tmp_path)])
        monkeypatch.setattr("collectors.collect.DIALECTS", found)
        assert {dialect.NAME for dialect in found} == {dialect.NAME for dialect in DIALECTS} | {"acme"}
        example: dict[str, Any] = fixtures["call"]
        for record in (first, example["record"]):
            (call,) = collected(record).calls
            usage = {name: count for name, count in call.usage._asdict().items() if count is not None}
            shown = call._asdict() | {"usage": usage, "timestamp": call.timestamp.isoformat()}
            assert {name: shown[name] for name in example["call"]} == example["call"]
            assert "MARK" not in repr(call)
        letter = collected(fixtures["bad count"]["record"]).dead_letters[0]._asdict()
        expected = fixtures["bad count"]["dead_letter"]
        assert {name: letter[name] for name in expected} == expected
        cut = collected(json.dumps(example["record"])[:-4].encode()).calls[0]
        assert cut.usage.total_tokens == 150
    finally:
        sys.modules.pop("collectors.dialects.acme", None)
