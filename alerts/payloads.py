"""An alert as its receiver takes it. Names of apps and models come from outside, so each stands where the receiver
reads plain text: nothing in them can become a link, a mention or a layout. Pure.
"""

import json
from typing import Any, Final, NamedTuple

from alerts.words import facts, shown, summary, title
from models.alert import Alert, Format


class Payload(NamedTuple):
    """The body of a request, and its content type."""

    body: bytes
    content_type: str


def payload(alert: Alert, form: Format, source: str) -> Payload:
    """`source` says which collector it comes from, a URI reference."""
    if form == "cloudevents":
        return Payload(_json(_cloud_event(alert, source)), "application/cloudevents+json; charset=utf-8")
    return Payload(_json(_teams(alert) if form == "teams" else _slack(alert)), "application/json; charset=utf-8")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _cloud_event(alert: Alert, source: str) -> dict[str, Any]:
    """CloudEvents 1.0 in structured mode. `source` and `id` are the same however often it is sent."""
    data = shown(alert)
    return {
        "specversion": "1.0",
        "id": alert.id,
        "source": source,
        "type": f"llm-usage-collector.alert.{alert.kind}",
        "time": data["raised"],
        "datacontenttype": "application/json",
        "data": data,
    }


def _teams(alert: Alert) -> dict[str, Any]:
    """A message for a workflow of Teams, which takes Adaptive Cards only. Markdown is read in a TextBlock and in facts,
    but not in a TextRun (learn.microsoft.com, "Format cards in Teams"; adaptivecards.io, "TextRun")."""

    def text(*runs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", **run} for run in runs]}

    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            text({"text": title(alert), "weight": "Bolder", "size": "Medium"}),
            text({"text": summary(alert)}),
            *(text({"text": f"{name}: ", "weight": "Bolder"}, {"text": value}) for name, value in facts(alert)),
        ],
    }
    content_type = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": content_type, "contentUrl": None, "content": card}]}


HEADER_LENGTH: Final = 150
"""Characters of a header of Slack's at most (docs.slack.dev, "Header block")."""


def _slack(alert: Alert) -> dict[str, Any]:
    """A message for an incoming webhook of Slack. `text` is what a notification shows; it has no markup either."""

    def plain(text: str) -> dict[str, Any]:
        return {"type": "plain_text", "text": _escaped(text), "emoji": False}

    head = title(alert)
    while len(_escaped(head)) > HEADER_LENGTH:
        head = head[:-2] + "…"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": plain(head)},
        {"type": "section", "text": plain(summary(alert))},
    ]
    if fields := [plain(f"{name}: {value}") for name, value in facts(alert)]:
        blocks.append({"type": "section", "fields": fields})
    return {"text": _escaped(f"{title(alert)}. {summary(alert)}"), "mrkdwn": False, "blocks": blocks}


def _escaped(text: str) -> str:
    """The characters that make Slack's links, mentions and entities (docs.slack.dev, "Formatting message text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
