"""An OpenAPI document as one page of HTML: no script, nothing from elsewhere, every text escaped. Pure."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlencode

Json = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --link: #0550ae }
@media (prefers-color-scheme: dark) { :root { --link: #79b8ff } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
h1, h2, h3 { line-height: 1.25 }
section { border-top: 1px solid var(--line); margin-top: 2rem }
code, pre { font: .9em/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .75rem; overflow-x: auto }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: start; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line) }
th { font-weight: 600 }
td:first-child { white-space: nowrap }
a { color: var(--link) }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
.skip { position: absolute; left: -99rem }
.skip:focus { position: static }
nav ul { columns: 22rem; padding-left: 1.2rem }
"""
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style, and nothing else."""


def as_page(document: Json) -> str:
    """The document as HTML."""
    title = escape(document["info"]["title"])
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = document["components"]["schemas"]
    links = _list(f'<a href="#{_id(each)}">{_name(method, path)}</a>' for method, path, each in operations)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}: API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>\n'
        f'<a class="skip" href="#operations">Skip to the first operation</a><header><h1>{title}: API</h1>'
        f"{_text(document['info']['description'])}"
        "<p>The examples take the app's address from <code>$URL</code> and a key from <code>$KEY</code>. "
        'For tools: <a href="openapi.json">openapi.json</a>.</p></header>\n'
        f'<nav aria-label="Operations">{links}</nav>\n<main id="operations">\n'
        + "".join(_section(method, path, each) for method, path, each in operations)
        + "<section><h2>Shapes</h2>"
        + "".join(_shape(name, schema) for name, schema in shapes.items())
        + "</section>\n</main></body></html>\n"
    )


def _section(method: str, path: str, operation: Json) -> str:
    parts = [
        f'<section id="{_id(operation)}"><h2>{_name(method, path)}</h2>',
        f"<p><strong>{escape(operation['summary'])}</strong></p>",
        _text(operation["description"]) if operation["description"] != operation["summary"] else "",
    ]
    if operation["parameters"]:
        rows = [_parameter(each) for each in operation["parameters"]]
        parts.append("<h3>Parameters</h3>" + _table(("Name", "What it can be", "What it does"), rows))
    if "requestBody" in operation:
        media = operation["requestBody"]["content"]["application/json"]
        parts.append(f"<h3>Body</h3><p>JSON: {_kind(media['schema'])}</p>")
    parts.append("<h3>Answers</h3>" + _table(("Status", "Body", "When"), map(_answer, operation["responses"].items())))
    parts.append(f"<h3>Example</h3><pre>{escape(_curl(method, path, operation))}</pre></section>\n")
    return "".join(parts)


def _parameter(parameter: Json) -> tuple[str, str, str]:
    schema = parameter["schema"]
    needed = " (required)" if parameter.get("required") else ""
    default = schema.get("default")
    text = ", ".join(default) if isinstance(default, list) else default
    where = {"header": " A header.", "path": " In the path."}.get(parameter["in"], "")
    told = parameter.get("description", "") + where + (f" Default: `{text}`." if text is not None else "")
    repeated = "" if schema.get("type") != "array" else " (a comma list)" if "explode" in parameter else " (repeatable)"
    kind = _kind(schema["items"] if repeated else schema) + repeated
    return f"<code>{escape(parameter['name'])}</code>{needed}", kind, _inline(told.strip())


def _answer(answer: tuple[str, Json]) -> tuple[str, str, str]:
    status, response = answer
    bodies = [
        _kind(media["schema"]) if name == "application/json" else f"<code>{escape(name)}</code>"
        for name, media in response["content"].items()
    ]
    headers = "".join(
        f" The header `{name}`: {header['description']}" for name, header in response.get("headers", {}).items()
    )
    return escape(status), "<br>".join(bodies), _inline(response["description"] + headers)


def _shape(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(member)}</code>" + ("" if member in required else " (optional)"),
            _kind(each),
            _inline(each.get("description", "")),
        )
        for member, each in schema.get("properties", {}).items()
    ]
    table = _table(("Member", "What it can be", ""), rows) if rows else f"<p>{_kind(schema)}</p>"
    return f'<h3 id="shape-{escape(name)}">{escape(name)}</h3>{_text(schema.get("description", ""))}{table}'


def _kind(schema: Json) -> str:
    """A schema in words, with links to shapes."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#shape-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"array of {_kind(schema['items'])}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        names = schema.get("propertyNames", {}).get("enum")
        keys = f" (by {', '.join(names)})" if names else ""
        return f"object of {_kind(schema['additionalProperties'])}{escape(keys)}"
    kind: str = "time" if schema.get("format") == "date-time" else schema.get("type", "anything")
    bounds = [
        f"{word} {schema[name]}"
        for name, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "of at most"))
        if name in schema
    ]
    return escape(" ".join([kind, *bounds]) + (" characters" if "maxLength" in schema else ""))


def _curl(method: str, path: str, operation: Json) -> str:
    query = []
    for parameter in operation["parameters"]:
        value = parameter.get("example")
        if value is not None and parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(str(value), safe=""))
        elif value is not None:
            query.append((parameter["name"], ",".join(value) if isinstance(value, list) else value))
    url = f'"$URL{path}' + (f"?{urlencode(query, safe=':,')}" if query else "") + '"'
    words = ["curl -s", *([f"-X {method}"] if method != "GET" else []), url, '-H "x-functions-key: $KEY"']
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["example"]
        words.append(f"-d '{json.dumps(body)}'")
    return " ".join(words)


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Of cells that are HTML; it scrolls where it is too wide."""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{each}</li>' for each in items)}</ul>"


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(each)}</p>" for each in text.strip().split("\n\n") if each)


def _inline(text: str) -> str:
    """What stands between backticks is code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def _name(method: str, path: str) -> str:
    return f"{escape(method)} <code>{escape(path)}</code>"


def _id(operation: Json) -> str:
    return escape(operation["operationId"])
