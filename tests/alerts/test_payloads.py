"""alerts.words and alerts.payloads: what receivers get; and nothing in a name becomes more than text."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.payloads import HEADER_LENGTH, payload
from alerts.words import facts, shown, summary, title
from models.alert import FORMATS, Alert, Format

HOUR = datetime(2026, 11, 20, 13, tzinfo=UTC)
BUDGET = Alert(
    "budget/search-month/3/2026-11-01/80",
    "budget",
    datetime(2026, 11, 20, 13, 5, tzinfo=UTC),
    app="search",
    model="gpt-4o-2024-08-06",
    budget="search-month",
    period_start=datetime(2026, 11, 1, tzinfo=UTC),
    period_end=datetime(2026, 12, 1, tzinfo=UTC),
    threshold=80,
    unit="USD",
    limit=Decimal("1000"),
    actual=Decimal("812.345678"),
    projected=Decimal("1290.1"),
    webhook="https://hooks.example.com/secret",
)
ANOMALY = Alert(
    "anomaly/search//2026-11-20T13",
    "anomaly",
    datetime(2026, 11, 20, 14, 5, tzinfo=UTC),
    app="search",
    period_start=HOUR,
    actual=Decimal(4_100_000),
    usual=Decimal("310000.4"),
)


@pytest.mark.parametrize(
    ("actual", "limit", "said"),
    [
        ("812.345678", "1000", "used 812.35 USD of 1,000.00 USD"),
        ("0.5", "1", "used 0.50 USD of 1.00 USD"),
        ("0.004123", "0.005", "used 0.004123 USD of 0.005 USD"),
        ("0.0000000123", "0.000001", "used 0.0000000123 USD of 0.000001 USD"),
        ("0.00000001234567", "0.000001", "used 0.0000000123457 USD of 0.000001 USD"),
        ("0", "0.01", "used 0.00 USD of 0.01 USD"),
        ("0.0099", "1.5", "used 0.0099 USD of 1.50 USD"),
    ],
)
def test_small_amounts_are_told_from_nothing_and_from_their_limit(actual: str, limit: str, said: str) -> None:
    found = replace(BUDGET, actual=Decimal(actual), limit=Decimal(limit))
    assert said in summary(found)


def body(alert: Alert, form: Format) -> Any:
    return json.loads(payload(alert, form, "https://usage.example.com/api/alerts").body)


def texts(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_a_cloud_event_says_all_of_a_budget() -> None:
    content = payload(BUDGET, "cloudevents", "https://usage.example.com/api/alerts")
    assert content.content_type == "application/cloudevents+json; charset=utf-8"
    assert json.loads(content.body) == {
        "specversion": "1.0",
        "id": "budget/search-month/3/2026-11-01/80",
        "source": "https://usage.example.com/api/alerts",
        "type": "llm-usage-collector.alert.budget",
        "time": "2026-11-20T13:05:00Z",
        "datacontenttype": "application/json",
        "data": {
            "id": "budget/search-month/3/2026-11-01/80",
            "kind": "budget",
            "raised": "2026-11-20T13:05:00Z",
            "summary": "search with gpt-4o-2024-08-06 used 812.35 USD of 1,000.00 USD in the period from "
            "2026-11-01 00:00 to 2026-12-01 00:00 UTC; at its end 1,290.10 USD are likely.",
            "app": "search",
            "cost_center": None,
            "model": "gpt-4o-2024-08-06",
            "budget": "search-month",
            "period_start": "2026-11-01T00:00:00Z",
            "period_end": "2026-12-01T00:00:00Z",
            "threshold": 80,
            "unit": "USD",
            "limit": "1000",
            "actual": "812.345678",
            "projected": "1290.1",
            "usual": None,
            "partly_priced": False,
        },
    }


def test_an_unusual_hour_in_words_and_whole_tokens() -> None:
    assert title(ANOMALY) == "Unusual usage: search"
    assert summary(ANOMALY) == (
        "search used 4,100,000 tokens in the hour from 2026-11-20 13:00 UTC; usual is 310,000 tokens."
    )
    assert (shown(ANOMALY)["actual"], shown(ANOMALY)["usual"]) == ("4100000", "310000.4")


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"app": None, "model": None}, "All apps used"),
        ({"app": None, "cost_center": "4711"}, "Cost centre 4711 with gpt-4o-2024-08-06 used"),
    ],
)
def test_whose_budget(changes: dict[str, Any], begins: str) -> None:
    assert summary(replace(BUDGET, **changes)).startswith(begins)


def test_of_a_period_that_is_over_nothing_is_projected() -> None:
    """Its projection is what was used: the rows of alerts that were raised so have it."""
    ended = replace(BUDGET, raised=datetime(2026, 12, 1, 0, 5, tzinfo=UTC), projected=BUDGET.actual)
    assert summary(ended) == (
        "search with gpt-4o-2024-08-06 used 812.35 USD of 1,000.00 USD in the period from 2026-11-01 00:00 to "
        "2026-12-01 00:00 UTC, which is over."
    )
    assert "Projected" not in dict(facts(ended))


def test_what_is_partly_priced_is_at_least_so_much_now_and_at_the_end() -> None:
    partly = replace(BUDGET, partly_priced=True)
    assert summary(partly) == (
        "search with gpt-4o-2024-08-06 used at least 812.35 USD of 1,000.00 USD in the period from 2026-11-01 00:00 to "
        "2026-12-01 00:00 UTC; at its end at least 1,290.10 USD are likely. Some of it has no price."
    )
    told = dict(facts(partly))
    assert [told[name] for name in ("Used", "Limit", "Projected")] == [
        "at least 812.35 USD",
        "1,000.00 USD",
        "at least 1,290.10 USD",
    ]


def test_a_card_for_teams() -> None:
    message = body(BUDGET, "teams")
    [attachment] = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    lines = ["".join(run["text"] for run in block["inlines"]) for block in card["body"]]
    assert lines[0] == "Budget search-month: 80 % reached"
    assert lines[2:] == [
        "App: search",
        "Model: gpt-4o-2024-08-06",
        "Budget: search-month",
        "Used: 812.35 USD",
        "Limit: 1,000.00 USD",
        "Projected: 1,290.10 USD",
    ]


def test_blocks_for_slack() -> None:
    message = body(BUDGET, "slack")
    header, text, fields = message["blocks"]
    assert (header["type"], header["text"]["text"]) == ("header", "Budget search-month: 80 % reached")
    assert text["text"]["text"] == summary(BUDGET)
    assert [field["text"] for field in fields["fields"]][:2] == ["App: search", "Model: gpt-4o-2024-08-06"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_test_says_that_it_is_one(form: Format) -> None:
    words = " ".join(texts(body(Alert("test//x", "test", HOUR), form)))
    assert "This is a test" in words


HOSTILE = [
    "<!channel> <https://evil.example|pay here> &lt;",
    "[click](https://evil.example) **bold** ![x](https://evil.example/x.png)",
    "</script><script>alert(1)</script>",
    "{{DATE(2026-11-20T13:00:00Z)}} ${secret} <at>everyone</at> @here *b* _i_ `c` :fire:",
    "a\nb\r\nc\u2028d\u202egnp.exe\u0000",
    "x" * 5000,
]


def hostile(name: str, kind: Any) -> Alert:
    return Alert("i", kind, HOUR, app=name, cost_center=name, model=name, budget=name, threshold=5, actual=Decimal(1))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["budget", "anomaly"])
def test_in_slack_a_name_is_plain_text_only(name: str, kind: str) -> None:
    message = body(hostile(name, kind), "slack")
    assert message["mrkdwn"] is False
    for text in texts(message):
        assert "<" not in text
        assert ">" not in text
    objects = [message["blocks"][0]["text"], message["blocks"][1]["text"], *message["blocks"][2]["fields"]]
    assert {each["type"] for each in objects} == {"plain_text"}
    assert len(message["blocks"][0]["text"]["text"]) <= HEADER_LENGTH
    assert all(len(each["text"]) <= 2000 for each in objects)
    assert len(message["blocks"][2]["fields"]) <= 10


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["budget", "anomaly"])
def test_in_teams_a_name_stands_only_where_no_markdown_is_read(name: str, kind: str) -> None:
    card = body(hostile(name, kind), "teams")["attachments"][0]["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert all(set(run) <= {"type", "text", "weight", "size"} for run in runs)


@given(st.text(max_size=300), st.sampled_from(FORMATS), st.sampled_from(["budget", "anomaly", "test"]))
def test_any_name_gives_a_body_in_one_line_a_text(name: str, form: Format, kind: str) -> None:
    alert = hostile(name.encode(errors="ignore").decode(), kind)
    message = body(alert, form)
    if form != "cloudevents":
        assert all(text.isprintable() for text in texts(message))
    else:
        assert message["data"]["app"] == alert.app
        assert message["data"]["summary"].isprintable()


@pytest.mark.parametrize("form", FORMATS)
def test_the_webhook_is_in_no_payload(form: Format) -> None:
    assert "secret" not in payload(BUDGET, form, "/api/alerts").body.decode()


def test_what_is_partly_priced_is_at_least_as_much() -> None:
    words = summary(replace(BUDGET, partly_priced=True))
    assert "used at least 812.35 USD of" in words
    assert words.endswith("Some of it has no price.")
