"""The policies' own C#, compiled by mono and run against a `context` of ours (Context.cs), in one process for all."""

import base64
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

from tests.policies.policy_xml import EXAMPLES, FRAGMENTS, SECTIONS, expression, root, root_with_include

INSTALL = "apt-get install -y --no-install-recommends mono-mcs mono-runtime libnewtonsoft-json5.0-cil"
NEWTONSOFT = Path("/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll")


Entity = Mapping[str, str | None]
"""A member of the context with its own members, by the names they have there."""


class NoMono(Exception):
    """Mono or its Newtonsoft.Json is not installed; the message says how to install them."""


@dataclass
class Exchange:
    """One call through the gateway. The defaults are an answered chat call of a known subscription. `answered` is what
    send-request gets, None for no answer in time."""

    policy: str = "mode-a"
    method: str = "POST"
    path: str | None = "/openai/deployments/chat/chat/completions"
    rewritten: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    request_headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    request_body: str | None = '{"messages":[]}'
    response: dict[str, Any] | None = None
    claims: dict[str, str] | None = None
    error: Entity | None = None
    subscription: Entity | None = field(default_factory=lambda: {"Id": "sub-1", "Name": "Team one"})
    product: Entity | None = field(default_factory=lambda: {"Id": "gold"})
    user: Entity | None = field(default_factory=lambda: {"Id": "user-1"})
    api: Entity | None = field(default_factory=lambda: {"Id": "openai"})
    operation: Entity | None = field(default_factory=lambda: {"Id": "ChatCompletions_Create"})
    deployment: Entity | None = field(
        default_factory=lambda: {"GatewayId": "managed", "ServiceName": "apim-west", "Region": "West Europe"}
    )
    ip: str | None = "10.0.0.7"
    request_id: str = "0f8fad5b-d9cb-469f-a165-70867728950e"
    timestamp_ticks: int = 639_159_984_001_230_000  # 2026-06-02T12:00:00.1230000, in .NET's 100 ns since year 1
    timestamp_kind: str = "Utc"
    elapsed_ms: float = 812.34
    variables: dict[str, str | int | bool | None] = field(default_factory=dict)
    throws: list[str] = field(default_factory=list)
    unreadable: bool = False
    named_values: dict[str, str] = field(default_factory=dict)
    cache: dict[str, str] = field(default_factory=dict)
    answered: dict[str, Any] | None = None


def answer(
    body: str | None,
    *,
    content_type: str | None = "application/json",
    status: int = 200,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    stated = {} if content_type is None else {"Content-Type": content_type}
    return {"status": status, "headers": stated | dict(headers), "body": body}


class Message(NamedTuple):
    """One event as the gateway hands it to the hub."""

    logger: str
    key: str
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


class Outcome(NamedTuple):
    """What one call left behind. `fault` is an exception that would have failed the client's call. `requests` are those
    of send-request, `stored` values and seconds by their keys in the cache, `returned` is what return-response gave."""

    fault: str | None
    sent: list[Message]
    body_set: bool
    request_body: str | None
    response_reads: int
    lost: bool
    headers: list[str]
    requests: list[dict[str, Any]]
    stored: dict[str, list[Any]]
    returned: dict[str, Any] | None

    @property
    def event(self) -> dict[str, Any]:
        """The event of a call that sent one."""
        assert self.fault is None, self.fault
        assert len(self.sent) == 1, self.sent
        return self.sent[0].event


class Gateway:
    """A context manager; `run` sends one call through a policy and waits for its outcome."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if not (shutil.which("mcs") and shutil.which("mono") and NEWTONSOFT.exists()):
            raise NoMono(f"mono is missing, which compiles and runs the policies; install it: {INSTALL}")
        shutil.copy(NEWTONSOFT, self._folder)
        (self._folder / "Policies.cs").write_text(_program(), encoding="utf-8")
        context = Path(__file__).with_name("Context.cs")
        compiled = subprocess.run(
            ["mcs", "-langversion:7", "-warn:0", f"-r:{NEWTONSOFT.name}", "-out:gateway.exe", "Policies.cs", context],
            cwd=self._folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert compiled.returncode == 0, compiled.stdout + compiled.stderr
        self._process = subprocess.Popen(
            ["mono", "gateway.exe"],
            cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii",
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate(timeout=10)

    def run(self, exchange: Exchange) -> Outcome:
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(vars(exchange)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the policies ended the gateway's process"
        outcome = json.loads(line)
        outcome["sent"] = [
            Message(one["logger"], one["key"], base64.b64decode(one["message"])) for one in outcome["sent"]
        ]
        return Outcome(**outcome)


# --- the policies as a C# program ---------------------------------------------------------------------------------


def _program() -> str:
    """One method per expression, and one per fragment and section that runs them in the order of their elements.

    The namespaces are those whose types expressions name without a prefix in Microsoft's own examples.
    """
    methods: list[str] = []
    bodies = {f"Fragment {name}": _statements(root(path), methods) for name, path in FRAGMENTS.items()}
    sections = []
    documents = {name: root(path) for name, path in EXAMPLES.items()}
    documents |= {f"{name}+include": root_with_include(path) for name, path in EXAMPLES.items()}
    for name, document in documents.items():
        for section in SECTIONS:
            element = document.find(section)
            assert element is not None, f"{name} has no section {section}"
            statements = " ".join(_statements(element, methods))
            sections.append(f'["{name}/{section}"] = gateway => {{ {statements} }},')
    fragments = [
        f"static void {_identifier(name)}(Gateway gateway) {{ {' '.join(body)} }}" for name, body in bodies.items()
    ]
    return "\n".join(
        [
            "using System; using System.Collections.Generic; using System.Linq; using System.Text;",
            "using System.Text.RegularExpressions; using Newtonsoft.Json.Linq;",
            "public static class Policies {",
            *methods,
            *fragments,
            "public static Dictionary<string, Action<Gateway>> Sections = new Dictionary<string, Action<Gateway>> {",
            *sections,
            "};",
            "}",
        ]
    )


def _statements(parent: ET.Element, methods: list[str]) -> Iterator[str]:
    return (statement for element in parent for statement in _statement(element, methods))


def _statement(element: ET.Element, methods: list[str]) -> Iterator[str]:
    match element.tag:
        case "set-variable":
            text = element.attrib["value"]
            value = f"gateway.Named({_value(text)})" if expression(text) is None else _run(text, "object", methods)
            yield f"gateway.SetVariable({_value(element.attrib['name'])}, {value});"
        case "set-body":
            yield f"gateway.SetBody({_run(element.text or '', 'string', methods)});"
        case "log-to-eventhub":
            key = _run(element.attrib["partition-key"], "string", methods)
            message = _run(element.text or "", "string", methods)
            yield f"gateway.Log({_value(element.attrib['logger-id'])}, {key}, {message});"
        case "choose":
            for when in element:
                otherwise = "" if when is element[0] else "else "
                condition = f"if ({_run(when.attrib['condition'], 'bool', methods)})" if when.tag == "when" else ""
                yield f"{otherwise}{condition} {{ {' '.join(_statements(when, methods))} }}"
        case "include-fragment":
            yield f"{_identifier('Fragment ' + element.attrib['fragment-id'])}(gateway);"
        case "validate-azure-ad-token":
            yield f"gateway.ValidateToken({_value(element.attrib['output-token-variable-name'])});"
        case "cache-lookup-value":
            key = _run(element.attrib["key"], "string", methods)
            name, otherwise = _value(element.attrib["variable-name"]), _value(element.attrib["default-value"])
            yield f"gateway.LookUp({key}, {name}, {otherwise});"
        case "cache-store-value":
            key, value = (_run(element.attrib[name], "string", methods) for name in ("key", "value"))
            yield f"gateway.Store({key}, {value}, {int(element.attrib['duration'])});"
        case "send-request":
            assert (element.attrib["mode"], element.attrib["ignore-error"]) == ("new", "true")
            parts = {child.tag: child for child in element}
            assert set(parts) == {"set-url", "set-method", "authentication-managed-identity"}
            identity = parts["authentication-managed-identity"].attrib
            assert identity["ignore-error"] == "true"
            values = [
                _run(parts["set-url"].text or "", "string", methods),
                _value(parts["set-method"].text or ""),
                f"gateway.Named({_value(identity['resource'])})",
                str(int(element.attrib["timeout"])),
                _value(element.attrib["response-variable-name"]),
            ]
            yield f"gateway.Send({', '.join(values)});"
        case "return-response":
            status, *headers, body = element
            assert [each.tag for each in (status, *headers, body)] == [
                *("set-status", *["set-header"] * len(headers)),
                "set-body",
            ]
            for header in headers:
                assert header.attrib["exists-action"] == "override"
                text = header[0].text or ""
                value = _value(text) if expression(text) is None else _run(text, "string", methods)
                yield f"gateway.ReturnHeader({_value(header.attrib['name'])}, {value});"
            yield f"gateway.Return({int(status.attrib['code'])}, {_run(body.text or '', 'string', methods)});"
        case "set-header":
            assert element.attrib["exists-action"] == "delete"
            yield f"gateway.DeleteHeader({_value(element.attrib['name'])});"
        case "base" | "forward-request":
            pass
        case other:
            raise AssertionError(f"the tests cannot run <{other}>")


def _run(text: str, returns: str, methods: list[str]) -> str:
    """A call of the method that holds this expression."""
    code = expression(text)
    assert code is not None, f"not an expression: {text}"
    name = f"Expression{len(methods)}"
    methods.append(f"static {returns} {name}(Context context) {{ {code}\n}}")
    return f"{name}(gateway.Context)"


def _value(text: str) -> str:
    assert expression(text) is None, f"no expression is allowed here: {text}"
    return json.dumps(text)


def _identifier(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")
