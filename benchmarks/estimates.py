"""How far estimates are from what providers reported, and what they cost (docs/estimates.md).

`python -m benchmarks.estimates [file ...]` prints the error by family of models, as tables in Markdown, over recorded
exchanges in the form of samples/NOTES.md; with the `body` of a request, prompts are compared too.
"""

import json
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import Figure, ratio
from collectors import aws_events
from collectors.collect import collect
from collectors.estimate import prompt_tokens, tokens_of
from collectors.text import answer_texts
from tests.support.events import NOON, raw_event, usage_event

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = (ROOT / "samples/recorded.jsonl", ROOT / "samples/providers.jsonl")

FAMILIES = (
    ("GPT-5, o-series", r"gpt-5|\bo[1-9]\b"),
    ("GPT-4o, GPT-4.1", r"gpt-4o|gpt-4\.1"),
    ("GPT-4, GPT-3.5, older", r"gpt-4|gpt-3|davinci"),
    ("OpenAI embeddings", r"text-embedding|^ada$"),
    ("Claude", r"claude"),
    ("Gemini", r"gemini"),
    ("Cohere", r"command|cohere|embed-"),
    ("Llama", r"llama"),
    ("Mistral", r"mistral|mixtral"),
    ("Amazon Nova, Titan", r"amazon"),
    ("DeepSeek", r"deepseek"),
    ("Qwen", r"qwen"),
)
FEWEST = 3
"""Of fewer records nothing is said but together with others."""

_TOOL_CALLS = re.compile(
    r'"(?:tool_calls|toolUse|functionCall|function_call|tool_calls_generation)"\s*:\s*[\[{]'
    r'|"type"\s*:\s*"(?:tool_use|function_call|mcp_call)"'
)
EDITED = "test_prompt_cache.yaml"
"""Recordings whose authors put five words in the place of a prompt of 18,000 tokens."""


class Compared(NamedTuple):
    family: str
    kind: str
    true: int
    estimated: int


def figures() -> Iterable[Figure]:
    """Over the samples, which have no prompts."""
    answers = [each for record in _records(SAMPLES) for each in _answer(record)]
    openai = [each for each in answers if each.family.startswith("GPT-4") and each.kind == "text"]
    other = [each for each in answers if not each.family.startswith("GPT") and each.kind == "text"]
    yield Figure("estimates: OpenAI's text, median error", _summary(openai).median, "%", 5.0)
    yield Figure("estimates: other models' text, median error", _summary(other).median, "%")
    yield Figure("estimates: streams without usage, collected with estimates / without", _cost(), "ratio")


def main() -> None:
    """Print the error over the files on the command line, else over the samples."""
    records = list(_records([Path(name) for name in sys.argv[1:]] or SAMPLES))
    _print("answer", [each for record in records for each in _answer(record)])
    _print("prompt", [each for record in records for each in _prompt(record)])


def _records(files: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["expected"] and EDITED not in record["source"]:
                yield record


def _model(record: dict[str, Any]) -> str:
    request = record["request"]
    asked = json.loads(request.get("body") or "{}").get("model") or request.get("model") or request.get("deployment")
    return str(record["expected"]["model"] or asked or request["path"])


def _family(record: dict[str, Any]) -> str:
    model = _model(record).lower()
    return next((name for name, pattern in FAMILIES if re.search(pattern, model)), "others")


def _reported(record: dict[str, Any], kind: str) -> int | None:
    """What the collector makes of the provider's own numbers: all providers' mean the same."""
    exchange = {"request": {"method": "POST"}, "response": record["response"]}
    (call,) = collect([raw_event(exchange)], NOON - timedelta(days=365)).calls
    tokens: int | None = getattr(call.usage, kind)
    return tokens


def _answer(record: dict[str, Any]) -> Iterable[Compared]:
    body = record["response"].get("body") or record["response"].get("body_base64") or ""
    estimated = tokens_of(answer_texts(body), _model(record))
    true = _reported(record, "completion_tokens")
    if not true or estimated is None:
        return
    payloads = aws_events.payloads(body.encode())
    kind = "tool calls" if _TOOL_CALLS.search(b"".join(payloads).decode() if payloads else body) else "text"
    yield Compared(
        _family(record), "hidden reasoning" if record["expected"]["reasoning_tokens"] else kind, true, estimated
    )


def _prompt(record: dict[str, Any]) -> Iterable[Compared]:
    request = record["request"].get("body")
    estimated = prompt_tokens(request, _model(record)) if request else None
    true = _reported(record, "prompt_tokens")
    if not true or estimated is None:
        return
    has_tools = any(json.loads(request).get(name) for name in ("tools", "toolConfig", "functions"))
    yield Compared(_family(record), "with tools" if has_tools else "text", true, estimated)


class Summary(NamedTuple):
    """Percentages of what was reported: half and nine tenths of the errors are at most so much; the sum is off by."""

    median: float
    p90: float
    bias: float


def _summary(compared: Sequence[Compared]) -> Summary:
    errors = sorted(100 * abs(each.estimated - each.true) / each.true for each in compared)
    true = sum(each.true for each in compared)
    bias = 100 * (sum(each.estimated for each in compared) - true) / true
    return Summary(statistics.median(errors), errors[-(-9 * len(errors) // 10) - 1], bias)


def _print(what: str, compared: Sequence[Compared]) -> None:
    groups: dict[tuple[str, str], list[Compared]] = defaultdict(list)
    for each in compared:
        groups[each.family, each.kind].append(each)
    for family, kind in [key for key, members in groups.items() if len(members) < FEWEST]:
        groups["others", kind] += groups.pop((family, kind)) if family != "others" else []
    order = [name for name, _ in FAMILIES] + ["others"]
    print(f"\n| {what}s of | with | records | median error | 90 % within | sum |\n|---|---|---|---|---|---|")
    for (family, kind), members in sorted(groups.items(), key=lambda group: (order.index(group[0][0]), group[0][1])):
        median, p90, bias = _summary(members)
        print(f"| {family} | {kind} | {len(members)} | {median:.0f} % | {p90:.0f} % | {bias:+.0f} % |")


def _cost() -> float:
    """Streams of the samples whose usage is missing, through the collector."""
    bodies = []
    for line in SAMPLES[0].read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["streaming"] and not record["expected"]:
            bodies.append(record["response"]["body"])
    events = [
        raw_event(usage_event(usage=None, stream=True, body=bodies[number % len(bodies)])) for number in range(500)
    ]
    oldest = NOON - timedelta(days=365)
    estimated = [call.estimate for call in collect(events, oldest, estimate_usage=True).calls]
    assert any(estimated)
    return ratio(lambda: collect(events, oldest, estimate_usage=True), lambda: collect(events, oldest))


if __name__ == "__main__":
    main()
