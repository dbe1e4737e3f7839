"""The policy files, read as API Management reads them: XML whose texts and attributes may be C# expressions."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

POLICIES = Path(__file__).parents[2] / "policies"
FRAGMENTS = {path.stem: path for path in sorted((POLICIES / "fragments").rglob("*.xml"))}
EXAMPLES = {path.stem: path for path in sorted((POLICIES / "examples").glob("*.xml"))}
FILES = [*FRAGMENTS.values(), *EXAMPLES.values()]
SECTIONS = ("inbound", "backend", "outbound", "on-error")

_EXPRESSION = re.compile(r"@\((?P<single>.*)\)|@\{(?P<multi>.*)\}", re.DOTALL)


class Expression(NamedTuple):
    """`place` is the file's name with the element and attribute; `code` the statements, a `return` among them."""

    place: str
    code: str


def root(path: Path) -> ET.Element:
    return ET.fromstring(path.read_text(encoding="utf-8"))


INCLUDE = '<include-fragment fragment-id="usage-include" />'


def root_with_include(path: Path) -> ET.Element:
    """The document with the line that is optional, as an operator turns it on; without such a line, as it is."""
    return ET.fromstring(path.read_text(encoding="utf-8").replace(f"<!-- {INCLUDE} -->", INCLUDE))


def expression(text: str) -> str | None:
    """The statements of `@{...}`, or of `@(...)` as a return statement; None for text that is no expression."""
    found = _EXPRESSION.fullmatch(text.strip())
    if found is None:
        return None
    return found["multi"] if found["multi"] is not None else f"return {found['single']};"


def expressions(path: Path) -> Iterator[Expression]:
    for element in root(path).iter():
        for name, value in [("text", element.text or ""), *element.items()]:
            code = expression(value)
            if code is not None:
                yield Expression(f"{path.name}: {element.tag} {name}", code)
