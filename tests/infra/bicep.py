"""Bicep files as far as they can be read without its compiler: parsed by tree-sitter, names looked up.

What it does not know: types, API versions, what a module of the registry takes. `bicep build` does; see test_bicep.py.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
MAIN = INFRA / "main.bicep"
FILES = tuple(sorted(INFRA.rglob("*.bicep")))

_PARSER = Parser(Language(tree_sitter_bicep.language()))


class Declared(NamedTuple):
    """A resource or module: its symbol, the text of its type or source, and what it is made of."""

    symbol: str
    type: str
    node: Node


@cache
def parsed(path: Path) -> Node:
    return _PARSER.parse(path.read_bytes()).root_node


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def text(node: Node | None) -> str:
    assert node is not None
    assert node.text is not None
    return node.text.decode()


def faults(node: Node) -> list[str]:
    """Where the parser could make nothing of the text."""
    return [f"{n.start_point.row + 1}: {text(n)[:60]}" for n in walk(node) if n.is_error or n.is_missing]


def declared(path: Path, kind: str) -> list[Declared]:
    """`kind` is "resource" or "module"; resources inside others are among them."""
    found = []
    for node in walk(parsed(path)):
        if node.type == f"{kind}_declaration":
            symbol, what = node.named_children[:2]
            found.append(Declared(text(symbol), text(what).strip("'"), node))
    return found


def names_of(path: Path, kind: str) -> set[str]:
    """The names of what is declared at the top: "parameter", "variable", "output", "resource" or "module"."""
    return {text(node.named_children[0]) for node in _top(path) if node.type == f"{kind}_declaration"}


def required_parameters(path: Path) -> set[str]:
    """Parameters without a default."""
    declarations = [node for node in _top(path) if node.type == "parameter_declaration"]
    return {text(node.named_children[0]) for node in declarations if len(node.named_children) == 2}


def variable(path: Path, name: str) -> Node:
    return next(
        node.named_children[1]
        for node in _top(path)
        if node.type == "variable_declaration" and text(node.named_children[0]) == name
    )


def properties(node: Node) -> dict[str, Node]:
    """An object's properties, of which those that are resources are left out."""
    pairs = [child.named_children for child in node.named_children if child.type == "object_property"]
    return {text(pair[0]).strip("'"): pair[1] for pair in pairs if len(pair) == 2}


def body(declaration: Declared) -> Node:
    """The object of a resource or a module, also inside a condition or a loop."""
    return next(node for node in walk(declaration.node) if node.type == "object")


def string(node: Node) -> str:
    """A literal string's value."""
    assert node.type == "string", text(node)
    return text(node).strip("'")


def strings(path: Path) -> list[str]:
    return [string(node) for node in walk(parsed(path)) if node.type == "string"]


def unknown_names(path: Path) -> set[str]:
    """Names that are used as values and that nothing declares."""
    loops = {
        text(name)
        for node in walk(parsed(path))
        if node.type == "for_statement"
        for name in walk(node.named_children[0])
        if name.type in ("identifier", "loop_variable", "loop_enumerator")
    }
    nested = {resource.symbol for resource in declared(path, "resource")}
    known = loops | nested | {name for kind in ("parameter", "variable", "module") for name in names_of(path, kind)}
    return {text(node) for node in walk(parsed(path)) if node.type == "identifier" and _is_value(node)} - known


def _top(path: Path) -> list[Node]:
    return parsed(path).named_children


def _is_value(node: Node) -> bool:
    """Not the key of a property, not what is declared, not a member or a function."""
    parent = node.parent
    assert parent is not None
    if parent.type == "object_property":
        return parent.named_children[0] != node
    if parent.type == "call_expression":
        return parent.child_by_field_name("function") != node
    if parent.type in ("member_expression", "resource_expression"):
        return parent.named_children[0] == node
    return not parent.type.endswith("_declaration") or parent.named_children[0] != node
