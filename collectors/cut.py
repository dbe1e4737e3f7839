"""A JSON document that lost its end, such as a message truncated at 200 KB on its way.

`mend` closes what is open and marks it, so that the document can be parsed and nothing cut can be taken for whole:
each container that was open has MARK as a member or as its last item, and a string, number or word that the end cut is
an object with MARK only. A string leaves its text there, since a response's body is worth reading as far as it goes.
"""

import re
from typing import Any, Final

from collectors.reading import loads

MARK: Final = "\0cut"

_TOKEN = re.compile(
    rb'(?P<string>"[^"\\]*(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*)*")'
    rb'|(?P<open_string>"[^"\\]*(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*)*)(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z'
    rb"|(?P<sign>[{}\[\],:])"
    rb'|(?P<scalar>[^\s{}\[\],:"]+)',
    re.DOTALL,
)
_CLOSING = {b"{": b"}", b"[": b"]"}
_OPEN = {b"{": b'"\\u0000cut":null}', b"[": b'"\\u0000cut"]'}
_CUT_VALUE = b'{"\\u0000cut":null}'


def mend(text: bytes) -> bytes | None:
    """`text` with marks and closed, or None if it is not the start of one object or array that goes on.

    The result need not be JSON: what is wrong before the end of `text` is still there for the parser to refuse.
    """
    text = _without_part_of_a_letter(text)
    stack: list[bytes] = []
    recent: list[re.Match[bytes]] = []
    for token in _TOKEN.finditer(text):
        if recent and not stack:
            return None
        sign = token["sign"]
        if sign in _CLOSING:
            stack.append(sign)
        elif sign in (b"}", b"]"):
            opened = stack.pop() if stack else None
            if opened is None or _CLOSING[opened] != sign:
                return None
        recent = [*recent[-2:], token]
    return _closed(text, stack, recent) if stack else None


def _closed(text: bytes, stack: list[bytes], recent: list[re.Match[bytes]]) -> bytes:
    last, before = recent[-1], recent[-2]["sign"] if len(recent) > 1 else None
    is_value = before == b":" or stack[-1] == b"["
    string, scalar = last["open_string"], last["scalar"]
    if string is not None and is_value:
        text = text[: last.start()] + b'{"\\u0000cut":' + string + b'"}'
    elif scalar is not None and last.end() == len(text) and is_value:
        text = text[: last.start()] + _CUT_VALUE
    elif last["sign"] == b":":
        text += _CUT_VALUE
    elif string is not None or (last["string"] is not None and not is_value):  # a name without its value
        text = text[: last.start()].rstrip()
    text = text.rstrip().removesuffix(b",")
    ends = [b"," + _OPEN[container] for container in reversed(stack)]
    if text.endswith((b"{", b"[")):
        ends[0] = _OPEN[stack[-1]]
    return text + b"".join(ends)


def _without_part_of_a_letter(text: bytes) -> bytes:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return text[: error.start]
    return text


def is_cut(value: object) -> bool:
    """True for a value of a mended document that its end cut."""
    return (isinstance(value, dict) and MARK in value) or (isinstance(value, list) and value[-1:] == [MARK])


def loads_rest(data: bytes) -> Any:
    """The JSON value, or what is whole of one that lost its end: MARK is in the containers that were open, and what the
    end cut within them is left out. None if it is neither."""
    value = loads(data)
    if value is None and (mended := mend(data)):
        value = _whole_of(loads(mended))
    return value


def _whole_of(value: Any) -> Any:
    if not is_cut(value):
        return value
    if isinstance(value, list):
        return [_whole_of(item) for item in value if not _is_cut_off(item)]
    return {name: _whole_of(item) for name, item in value.items() if not _is_cut_off(item)}


def _is_cut_off(item: object) -> bool:
    return isinstance(item, dict) and item.keys() == {MARK}


def cut_member(record: dict[str, Any]) -> str | None:
    """The member of a cut record that its end cut, if it cut one."""
    return next((name for name, value in record.items() if name != MARK and is_cut(value)), None)


def remains(record: dict[str, Any], body: str | None) -> dict[str, Any]:
    """What is whole of a record that was cut: the member which the end cut is null.

    Only text in the member `body` stays as far as it goes, also where that is an HTTP response with its own `body`.
    """
    rest = {name: None if is_cut(value) else value for name, value in record.items() if name != MARK}
    kept = record.get(body) if body else None
    if body and isinstance(kept, dict) and MARK in kept:
        if isinstance(kept[MARK], str):
            rest[body] = kept[MARK]
        elif "body" in kept:
            rest[body] = remains(kept, "body")
    return rest
