"""What of a record may be kept when it is set aside: its structure, without content and never with a secret.

What stays is what is known to be harmless: numbers, truth values and nulls; times and GUIDs; identifiers under the
names that are read. Any other text becomes `…(41 characters)`, and whatever stands under a name for content or for a
secret goes as a whole. Texts that are documents themselves (a response's JSON, server-sent events) are documents here.
With `content` everything stays but the secrets, which are then looked for inside texts as well.
"""

import re
from typing import Any, Final

from pydantic_core import to_json

from collectors.cut import MARK, is_cut, mend
from collectors.reading import loads
from collectors.record_names import CONTENT, IDENTIFIERS, SAYS_NAME, SAYS_VALUE
from collectors.secrets import REMOVED, is_secret_name, is_secret_value, without_secrets

MAX_DOCUMENT_DEPTH: Final = 2
"""A response's body is a text in a record; that of a request inside one logged by Azure Monitor is one level deeper."""

_WORD = re.compile(r"[A-Za-z0-9._:{}()/@%~+-]{1,128}", re.ASCII)
_SHORT_TEXT = re.compile(r"[\w .,:;()/@&+'-]{1,64}")
_MAY_BE_WORDS = re.compile(r"name|region|location|product")
"""Of what people give names to, such as `operationName`: "Creates a completion". Other identities are one word."""
_URL = re.compile(
    r"([a-z]{2,10}://)(?:[^/?#@\s]*@)?([a-z0-9][a-z0-9.:-]*(?:/[\w.:/%@()~,;+-]*)?)(?:\?\S*)?",
    re.ASCII | re.IGNORECASE,
)
_GUID = re.compile(r"[{(]?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}[)}]?", re.ASCII | re.IGNORECASE)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ][\d:.]{5,20}(?:Z|[+-]\d\d:\d\d)?"
    r"|[\d/]{8,10}[ \u00a0\u202f][\d:]{7,8}(?:[ \u00a0\u202f][AP]M)?",
    re.ASCII | re.IGNORECASE,
)
_COUNT = re.compile(r"\d{1,13}", re.ASCII)
_COUNT_NAME = re.compile(r"token|count", re.IGNORECASE)
_KEY = re.compile(r"[0-9a-f]{32}", re.ASCII | re.IGNORECASE)
"""What API Management's subscription keys look like; some policies send one as the id of the subscription."""
_NAME = re.compile(r"[A-Za-z_$@][A-Za-z0-9_.$@:-]{0,63}", re.ASCII)
_MANY_DIGITS = re.compile(r"(?:[0-9][^0-9]*){9}")
_PLACEHOLDER = re.compile(r"…\((?:\d+ (?:characters|items|members)|number|secret)\)")
_REMOVED_NAME = re.compile(r"…(?:\(\d+ characters\) \d+)?")
_STREAM = re.compile(r"(?:\A|[\r\n])(?:data|event):")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


def has_placeholder(text: str) -> bool:
    """True if `text` holds what is written in place of a text."""
    return _PLACEHOLDER.search(text) is not None


def dump(value: Any) -> str:
    """JSON as the collector's decoder reads it, with NaN and infinities as they came."""
    return to_json(value, inf_nan_mode="constants").decode()


class Redaction:
    """Redacts one record. `kept` are names, in lower case, whose short texts stay; `secrets` are names of secrets that
    do not show it; `paths`, names in lower case or such as `request.path`, stay without their query. `altered` then
    holds the names, in lower case, of what was removed although it is neither known to be content nor a secret."""

    def __init__(
        self,
        kept: frozenset[str],
        *,
        content: bool,
        secrets: frozenset[str] = frozenset(),
        paths: frozenset[str] = frozenset(),
    ):
        self._kept = kept
        self._paths = paths
        self._content = content
        self._secrets = secrets
        self.altered: set[str] = set()

    def of(self, value: Any, name: str = "", depth: int = 0) -> Any:
        """`value`, which stands under `name`, in `depth` documents inside texts."""
        if value is None or isinstance(value, bool) or value in ("", [], {}) or _is_removed(value):
            return value
        if self._is_secret(name):
            return _like(value, REMOVED)
        if name.lower() in CONTENT and not self._content:
            return _like(value, _size(value))
        if name.lower() in self._kept and isinstance(value, dict | list) and not is_cut(value) and not self._content:
            self.altered.add(name.lower())
            return _like(value, _size(value))
        match value:
            case dict():
                return self._object(value, name, depth)
            case list():
                return self._list(value, name, depth)
            case str():
                return self._text(value, name, depth)
        return value

    def _is_secret(self, name: object) -> bool:
        return isinstance(name, str) and name != "" and (name in self._secrets or is_secret_name(name))

    def _object(self, value: dict[str, Any], parent: str, depth: int) -> dict[str, Any]:
        redacted: dict[str, Any] = {}
        names_a_secret = any(_plain(name) in SAYS_NAME and self._is_secret(said) for name, said in value.items())
        for name, member in value.items():
            if name == MARK:  # what a cut left of the text under the parent's name
                redacted[name] = self.of(member, parent, depth)
            elif names_a_secret and _plain(name) in SAYS_VALUE:
                redacted[name] = _like(member, REMOVED)
            elif isinstance(member, str) and not _is_removed(member) and (path := self._is_path(parent, name)):
                redacted[name] = self._path(member, path)
            else:
                redacted[self._name(name, len(redacted))] = self.of(member, name, depth)
        return redacted

    def _name(self, name: str, place: int) -> str:
        """Names of members are the sender's schema, and worth seeing; what does not look like one may be anything."""
        if self._content:
            return without_secrets(name)
        if _REMOVED_NAME.fullmatch(name):
            return name
        if _NAME.fullmatch(name) and not _MANY_DIGITS.search(name) and not is_secret_value(name):
            return name
        self.altered.add(name.lower())
        return f"{_size(name)} {place}"

    def _list(self, items: list[Any], name: str, depth: int) -> list[Any]:
        if name.lower() == "headers" and all(_is_pair(item) for item in items):
            return [[self._name(item[0], place), self.of(item[1], item[0], depth)] for place, item in enumerate(items)]
        if self._content or len(items) <= 2 or all(isinstance(item, dict) or item == MARK for item in items):
            return [self._item(item, before, name, depth) for before, item in zip([None, *items], items, strict=False)]
        self.altered.add(name.lower())  # numbers in a row can be a text's tokens, its embedding or a sound
        return [_size(items)]

    def _item(self, item: Any, before: Any, name: str, depth: int) -> Any:
        """Some list headers one after the other: a name, its value, a name."""
        if item == MARK:
            return item
        if isinstance(before, str) and _NAME.fullmatch(before) and self._is_secret(before):
            return _like(item, REMOVED)
        return self.of(item, name, depth)

    def _text(self, text: str, name: str, depth: int) -> str:
        if not text.strip():
            return ""
        known = name.lower()
        document = self._document(text, known, depth)
        if document is not None:
            return document
        if self._content:
            return REMOVED if _is_key(text, known) else without_secrets(text)
        url = _URL.fullmatch(text) if known in self._kept else None
        if url or self._is_harmless(text, known):
            harmless = url[1] + url[2] if url else text
            if not is_secret_value(harmless) and not _is_key(harmless, known):
                if harmless != text:  # the query may be what tells it from others
                    self.altered.add(known)
                return harmless
        self.altered.add(known)
        return _size(text)

    def _is_path(self, parent: str, name: str) -> str | None:
        names = (name.lower(), f"{parent}.{name}".lower())
        return next((each for each in names if each in self._paths), None)

    def _path(self, text: str, name: str) -> str:
        """A path or URL without its query: with content, only secrets are taken out of it."""
        if self._content:
            return without_secrets(text)
        path = text.partition("?")[0]
        if url := _URL.fullmatch(path):  # without its user
            path = url[1] + url[2]
        if (url or not path or _WORD.fullmatch(path)) and not is_secret_value(path):
            return path
        self.altered.add(name)
        return _size(text)

    def _is_harmless(self, text: str, name: str) -> bool:
        if _TIME.fullmatch(text) or _GUID.fullmatch(text):
            return True
        if _COUNT_NAME.search(name):
            return _COUNT.fullmatch(text) is not None
        if "time" in name:
            return False
        if name in self._kept and _MAY_BE_WORDS.search(name) and _SHORT_TEXT.fullmatch(text):
            return True
        return (name in self._kept or name in IDENTIFIERS) and _WORD.fullmatch(text) is not None

    def _document(self, text: str, name: str, depth: int) -> str | None:
        """The text as the document that it is, JSON or a stream, whole or cut; None if it is none."""
        if depth >= MAX_DOCUMENT_DEPTH:
            return None
        start = text.lstrip("\ufeff \t\r\n")[:1]
        if start not in ("{", "["):
            return self._lines(text, name, depth) if _STREAM.search(text) else None
        whole = loads(text)
        if whole is not None:
            return dump(self.of(whole, name, depth + 1))  # not `text`, which may have two members of one name
        lines = text.splitlines()
        if len(lines) > 1 and isinstance(loads(lines[0]), dict):
            return self._lines(text, name, depth)
        return self._cut(text, name, depth)

    def _lines(self, text: str, name: str, depth: int) -> str:
        """Server-sent events, or a JSON value a line. Of what is neither, nothing stays."""
        return "".join(self._line(line, name, depth) for line in _LINE.findall(text))

    def _line(self, line: str, name: str, depth: int) -> str:
        end = line[len(line.rstrip("\r\n")) :]
        before, value = _FIELD.fullmatch(line.rstrip("\r\n")).groups("")  # type: ignore[union-attr]
        if before.startswith("event") and _WORD.fullmatch(value.strip()) and not is_secret_value(value):
            return line
        if not value.strip() or value.strip() == "[DONE]" or _PLACEHOLDER.fullmatch(value.strip()):
            return before + value + end
        document = loads(value)
        if document is not None and not isinstance(document, str | int | float):
            return before + dump(self.of(document, name, depth + 1)) + end
        if before or self._content:
            return before + self._cut(value, name, depth) + end
        return ":" + end

    def _cut(self, text: str, name: str, depth: int) -> str:
        """A document that lost its end stays one. What else is no document is removed."""
        mended = mend(text.encode("utf-8", "replace"))
        document = loads(mended) if mended else None
        if not isinstance(document, dict) or document.keys() <= {MARK}:
            if self._content:
                return without_secrets(text)
            self.altered.add(name)
            return _size(text)
        document.pop(MARK)
        return dump(self.of(document, name, depth + 1))[:-1] + ', "'


_FIELD = re.compile(r"((?:data|event): ?)?(.*)", re.DOTALL)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _is_key(text: str, name: str) -> bool:
    return "subscription" in name and _KEY.fullmatch(text) is not None


def _size(value: Any) -> str:
    match value:
        case str():
            return f"…({len(value)} characters)"
        case list():
            return f"…({len(value)} items)"
        case dict():
            return f"…({len(value)} members)"
        case _:
            return "…(number)"


def _like(value: Any, text: str) -> Any:
    """`text` in a value of the same kind, since dialects know each other apart by kinds."""
    match value:
        case list():
            return [text]
        case dict():
            return {"…": text}
        case _:
            return text


def _is_removed(value: Any) -> bool:
    """True for what `_like` makes: what is redacted a second time stays as it is."""
    if isinstance(value, dict):
        value = list(value.values()) if value.keys() == {"…"} else None
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return isinstance(value, str) and _PLACEHOLDER.fullmatch(value) is not None


def _is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)
