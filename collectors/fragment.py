"""A JSON document that lost its end (a message cut on the way) or its start (only the tail was sent).

Only a usage object that is there as a whole is believed, and only at the document's top: what stands deeper, such as
the steps of a run or the parts of a compound model, repeats or splits the usage.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from collectors.reading import BodyReading, loads, text_of
from collectors.shapes import recognise

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_COLON = re.compile(r"\s*:\s*")
_MAX_CANDIDATES = 32


def read_fragment(body: bytes, *, is_tail: bool) -> BodyReading:
    """A JSON document that lost its end or its start: only what is there as a whole, at its top, is believed."""
    text = body.decode("utf-8", "replace")
    member = _member_of_rest if is_tail else _member_of_start
    model, usage = text_of(member(text, "model")), member(text, "usage")
    broken_off = is_tail and _UNFINISHED.search(text)  # Anthropic's message_start
    if isinstance(usage, dict) and recognise(usage) is not None and _states_prompt(usage) and not broken_off:
        return BodyReading(usage, model, None)
    return BodyReading(None, model, "truncated")


_UNFINISHED = re.compile(r'"stop_reason"\s*:\s*null')


def _states_prompt(usage: Mapping[str, Any]) -> bool:
    """Anthropic's message_delta may state the completion only."""
    return usage.get("prompt_tokens") is not None or usage.get("input_tokens") is not None


def _member_of_start(text: str, name: str) -> Any:
    """A member at the top of a JSON object that lost its end; None if it is not there as a whole."""
    if not text.startswith("{"):
        return None
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
        elif depth == 1 and token[0] == f'"{name}"' and (colon := _COLON.match(text, token.end())):
            try:
                _, end = json.JSONDecoder().raw_decode(text, colon.end())
                return loads(text[colon.end() : end])  # as everything is read: no half a letter comes through
            except (ValueError, RecursionError):
                return None
    return None


def _member_of_rest(text: str, name: str) -> Any:
    """A member at the top of a JSON object that lost its start, or of the response in a final responses-API event."""
    keys = [key.start() for key in re.finditer(rf'"{name}"\s*:', text)]
    for start in reversed(keys[-_MAX_CANDIDATES:]):
        document = loads("{" + text[start:])
        if isinstance(document, dict):
            return document.get(name)
        event = loads('{"response":{' + text[start:])
        if isinstance(event, dict) and event.keys() <= {"response", "type", "sequence_number"}:
            response = event["response"]
            found = response.get(name) if isinstance(response, dict) else None
            if name != "usage" or (isinstance(found, dict) and "total_tokens" in found):
                return found
    return None
