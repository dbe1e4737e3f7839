"""The policy files as text: what API Management would refuse, and what must never be in them."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.identity import NOBODY
from collectors.operations import ASKS_NO_MODEL
from tests.policies.policy_xml import EXAMPLES, FILES, FRAGMENTS, Expression, expression, expressions, root
from tests.policies.schema import ELEMENTS, EVERYWHERE, not_allowed

EXPRESSIONS = [found for path in FILES for found in expressions(path)]
MAX_FRAGMENT_BYTES = 32 * 1024  # learn.microsoft.com/azure/api-management/policy-fragments


def by_name(path: Path) -> str:
    return path.stem


def by_place(found: Expression) -> str:
    return found.place


# --- XML ----------------------------------------------------------------------------------------------------------


def test_there_is_a_fragment_and_an_example_for_every_mode() -> None:
    assert EXAMPLES.keys() == {"mode-a", "mode-b", "mode-c", "budget"}
    assert {"usage-json", "usage-gateway-log", "usage-buffered", "usage-include"} < FRAGMENTS.keys()
    assert len(EXPRESSIONS) > 10


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_only_elements_and_attributes_of_the_reference(path: Path) -> None:
    document = root(path)
    assert document.tag == ("fragment" if path.stem in FRAGMENTS else "policies")
    for element in document.iter():
        known = ELEMENTS[element.tag]
        assert known.required <= element.attrib.keys() <= known.required | known.optional, element.tag
        assert {child.tag for child in element} <= known.children, element.tag
        assert known.text or not (element.text or "").strip(), f"text in {element.tag}"
        assert not (element.tail or "").strip(), f"text after {element.tag}"


def _policies(element: ET.Element) -> Iterator[ET.Element]:
    """All policies in an element, those of included fragments too."""
    for policy in element.iter():
        yield policy
        if policy.tag == "include-fragment":
            yield from root(FRAGMENTS[policy.attrib["fragment-id"]]).iter()


@pytest.mark.parametrize("path", EXAMPLES.values(), ids=by_name)
def test_every_policy_stands_in_a_section_that_allows_it(path: Path) -> None:
    sections = list(root(path))
    assert [section.tag for section in sections] == ["inbound", "backend", "outbound", "on-error"]
    for section in sections:
        for policy in _policies(section):
            assert section.tag in ELEMENTS[policy.tag].sections or policy.tag in EVERYWHERE, policy.tag


@pytest.mark.parametrize("mode", ["mode-a", "mode-b"])
def test_streams_stay_live_where_the_mode_says_so(mode: str) -> None:
    forward = root(EXAMPLES[mode]).find("backend/forward-request")
    assert forward is not None and forward.attrib["buffer-response"] == "false"


@pytest.mark.parametrize("path", FRAGMENTS.values(), ids=by_name)
def test_fragment_fits_the_limit(path: Path) -> None:
    assert path.stat().st_size < MAX_FRAGMENT_BYTES


# --- the two formats: xml (as it is) and rawxml (what the portal takes) ----------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_raw_form_needs_one_replacement_only(path: Path) -> None:
    """docs/capture.md: to paste a file into the portal, replace every `&lt;`."""
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"&\w*;", text)) <= {"&lt;"}
    assert all("{{" not in found.code and "}}" not in found.code for found in expressions(path)), "named values"


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_expressions_end_where_their_braces_close(path: Path) -> None:
    """Counted in the raw form without any knowledge of C#: also in strings and comments all braces are in pairs."""
    raw = re.sub(r"<!--.*?-->", "", path.read_text(encoding="utf-8"), flags=re.DOTALL).replace("&lt;", "<")
    found = []
    for start in (match.start() for match in re.finditer(r"@[({]", raw)):
        opening, closing = ("(", ")") if raw[start + 1] == "(" else ("{", "}")
        depth, end = 0, start + 1
        while not (depth == 1 and raw[end] == closing):
            depth += (raw[end] == opening) - (raw[end] == closing)
            end += 1
        found.append(expression(raw[start : end + 1]))
    assert [" ".join((code or "").split()) for code in found] == [
        " ".join(each.code.split()) for each in _in_file_order(path)
    ]


def _in_file_order(path: Path) -> list[Expression]:
    """Attributes come before texts in a file."""
    return [
        Expression(path.name, code)
        for element in root(path).iter()
        for value in [*element.attrib.values(), element.text or ""]
        if (code := expression(value)) is not None
    ]


# --- C# -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", EXPRESSIONS, ids=by_place)
def test_only_documented_types_and_members(found: Expression) -> None:
    assert list(not_allowed(found.code)) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return context.Subscription.Key;", ["Key"]),
        ("return context.LastError?.Message;", ["Message"]),
        ("return new System.Net.WebClient();", ["System", "Net", "WebClient"]),
        ("var x = Environment.MachineName; return x;", ["Environment", "MachineName"]),
        ("dynamic x = 1; return x;", ["dynamic", "x", "x"]),
        ('return "context.Subscription.Key"; /* Message */', []),
    ],
)
def test_the_allow_list_finds_what_is_not_on_it(code: str, words: list[str]) -> None:
    assert list(not_allowed(code)) == words


@pytest.mark.parametrize("found", EXPRESSIONS, ids=by_place)
def test_no_keys_tokens_or_messages_are_read(found: Expression) -> None:
    forbidden = r"\b(Key|PrimaryKey|SecondaryKey|Message|Email|Certificate|QueryString|Authorization|AsJwt|AsBasic)\b"
    assert re.search(forbidden, found.code) is None


def test_policies_and_collector_have_one_list_of_who_is_nobody() -> None:
    (stated,) = [text for found in EXPRESSIONS for text in re.findall(r"nobody = new\[\] \{([^}]*)\}", found.code)]
    assert set(re.findall(r'"([^"]*)"', stated)) == NOBODY | {""}


def test_policies_and_collector_have_one_list_of_what_asks_no_model() -> None:
    (stated,) = [text for found in EXPRESSIONS for text in re.findall(r"asksNoModel =([^;]*);", found.code)]
    assert "".join(re.findall(r'"([^"]*)"', stated)) == ASKS_NO_MODEL


@pytest.mark.parametrize("found", EXPRESSIONS, ids=by_place)
def test_attribute_normalisation_does_not_change_the_code(found: Expression) -> None:
    """XML turns line ends in attributes into spaces, so a // comment would swallow the rest of the expression."""
    assert "//" not in re.sub(r'"(?:\\.|[^"\\])*"', "", found.code)
    assert "'" not in found.code
