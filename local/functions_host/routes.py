"""HTTP routes and queries, matched and read as the Azure Functions host does. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)(?::(\w+))?(\?)?\}")
_CONSTRAINTS = {
    "int": r"[+-]?\d+",
    "long": r"[+-]?\d+",
    "bool": r"true|false",
    "alpha": r"[a-z]+",
    "guid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
_LITERAL, _MIXED, _CONSTRAINED, _FREE, _REST = range(5)


@dataclass(frozen=True)
class Route:
    """A compiled template. Of several routes that match a path, the one with the lowest `rank` is meant."""

    pattern: re.Pattern[str]
    names: tuple[str, ...]
    rank: tuple[int, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters in `path` (as it is in the URL, still percent-encoded), or None. Absent ones are left out."""
        found = self.pattern.fullmatch(_decode_path(path))
        if found is None:
            return None
        return {name: value for name, value in zip(self.names, found.groups(), strict=True) if value}


def compile_route(template: str) -> Route:
    """A template of literals, `{name}`, `{name:int}` (and other simple constraints), `{name?}` and `{*rest}`.

    Raises:
        ValueError: the template uses something else.
    """
    pattern, rank, names = "", [], []
    for segment in filter(None, template.split("/")):
        parts, position = "", 0
        kind = _LITERAL
        for parameter in _PARAMETER.finditer(segment):
            stars, name, constraint, _ = parameter.groups()
            if constraint and constraint.lower() not in _CONSTRAINTS:
                raise ValueError(f"route '{template}': unknown constraint '{constraint}'")
            value = ".*" if stars else _CONSTRAINTS[constraint.lower()] if constraint else "[^/]+"
            parts += re.escape(segment[position : parameter.start()]) + f"({value})"
            position = parameter.end()
            names.append(name)
            kind = _REST if stars else _CONSTRAINED if constraint else _FREE
            if parameter.group() != segment:
                kind = _MIXED
        tail = segment[position:]
        if "{" in tail or "}" in tail:
            raise ValueError(f"route '{template}': cannot read '{segment}'")
        optional = kind == _REST or segment.endswith("?}")
        pattern += f"(?:/{parts}{re.escape(tail)})" + ("?" if optional else "")
        rank.append(kind)
    return Route(re.compile(pattern, re.IGNORECASE), tuple(names), tuple(rank))


def query_parameters(query_string: str) -> dict[str, str]:
    """The `params` of a request: repeated names joined by commas, empty values dropped, names case-insensitive."""
    names: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query_string):  # drops empty values
        values.setdefault(names.setdefault(name.lower(), name), []).append(value)
    return {name: ",".join(found) for name, found in values.items()}


def joined_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Lower-cased names; the values of a repeated header joined by commas."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def _decode_path(path: str) -> str:
    """Decoded once, except an encoded slash, which must not split a segment."""
    kept = re.sub("%2f", "%252F", path, flags=re.IGNORECASE)
    return "/" + unquote(kept).strip("/") if path.strip("/") else ""
