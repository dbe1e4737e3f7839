"""An alert in words, and as JSON. Names come from outside, and are shown as one line of text. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from models.alert import Alert

MAX_NAME_LENGTH: Final = 120
"""Of a name in words; the JSON has the whole."""

DIGITS: Final = 6
"""Of what is below a dollar, from the first that is not 0: a small budget is not one of 0.00."""


def shown(alert: Alert) -> dict[str, Any]:
    """All of an alert but where it is sent. Amounts are texts, in `unit`."""
    return {
        "id": alert.id,
        "kind": alert.kind,
        "raised": time_text(alert.raised),
        "summary": summary(alert),
        "app": alert.app,
        "cost_center": alert.cost_center,
        "model": alert.model,
        "budget": alert.budget,
        "period_start": time_text(alert.period_start),
        "period_end": time_text(alert.period_end),
        "threshold": alert.threshold,
        "unit": alert.unit,
        "limit": _amount(alert.limit),
        "actual": _amount(alert.actual),
        "projected": _amount(alert.projected),
        "usual": _amount(alert.usual),
        "partly_priced": alert.partly_priced,
    }


def title(alert: Alert) -> str:
    """In a few words."""
    if alert.kind == "test":
        return "Test alert of the LLM usage collector"
    if alert.kind == "anomaly":
        return f"Unusual usage: {_whose(alert)}"
    return f"Budget {line(alert.budget or '')}: {alert.threshold} % reached"


def summary(alert: Alert) -> str:
    """In a sentence or two."""
    if alert.kind == "test":
        return "This is a test: nothing is wrong."
    used = told(alert.actual, alert.unit)
    if alert.kind == "anomaly":
        hour = "" if alert.period_start is None else f" in the hour from {alert.period_start:%Y-%m-%d %H:%M} UTC"
        return f"{_whose(alert)} used {used}{hour}; usual is {told(alert.usual, alert.unit)}."
    text = f"{_whose(alert)} used {_bound(alert)}{used} of {told(alert.limit, alert.unit)}"
    if alert.period_start and alert.period_end:
        text += f" in the period from {alert.period_start:%Y-%m-%d %H:%M} to {alert.period_end:%Y-%m-%d %H:%M} UTC"
    if _is_over(alert):
        text += ", which is over"
    elif alert.projected is not None:
        text += f"; at its end {_bound(alert)}{told(alert.projected, alert.unit)} are likely"
    return f"{text}. Some of it has no price." if alert.partly_priced else f"{text}."


def facts(alert: Alert) -> list[tuple[str, str]]:
    """What there is to say, each with its name."""
    named = [
        ("App", alert.app),
        ("Cost centre", alert.cost_center),
        ("Model", alert.model),
        ("Budget", alert.budget),
    ]
    amounts = [
        ("Used", _bound(alert), alert.actual),
        ("Limit", "", alert.limit),
        ("Projected", _bound(alert), None if _is_over(alert) else alert.projected),
        ("Usual", "", alert.usual),
    ]
    return [(name, line(value)) for name, value in named if value is not None] + [
        (name, bound + told(value, alert.unit)) for name, bound, value in amounts if value is not None
    ]


def told(amount: Decimal | None, unit: str) -> str:
    """An amount for people."""
    if amount is None:
        return "an unknown amount"
    if unit == "tokens":
        return f"{round(amount):,} tokens"
    is_small = 0 < abs(amount) < 1
    dollars, _, cents = f"{amount:,.{DIGITS - 1 - amount.adjusted() if is_small else 2}f}".partition(".")
    return f"{dollars}.{cents.rstrip('0'):0<2} {line(unit)}"


def line(name: str) -> str:
    """A name as one line: without characters that break lines, turn the direction of text or are not seen at all."""
    text = "".join(character if character.isprintable() else " " for character in name)
    return text if len(text) <= MAX_NAME_LENGTH else text[: MAX_NAME_LENGTH - 1] + "…"


def _bound(alert: Alert) -> str:
    """What stands before an amount of which some has no price."""
    return "at least " if alert.partly_priced else ""


def _is_over(alert: Alert) -> bool:
    """Whether it was found only when the period had ended, of which there is nothing to project."""
    return alert.kind == "budget" and alert.period_end is not None and alert.raised >= alert.period_end


def _whose(alert: Alert) -> str:
    if alert.app is not None:
        whose = line(alert.app)
    elif alert.cost_center is not None:
        whose = f"Cost centre {line(alert.cost_center)}"
    else:
        whose = "All apps"
    return whose if alert.model is None else f"{whose} with {line(alert.model)}"


def _amount(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def time_text(time: datetime | None) -> str | None:
    """A time as the API shows it."""
    return None if time is None else time.isoformat().replace("+00:00", "Z")
