"""Events to send, and what they must add up to. The same seed and time give the same events.

Calls come in every way in which a gateway tells of them: whole in a policy's event; as a policy's event and a row of
the gateway's log of model calls, in any order; in both, which must not count twice; or in the gateway's logs alone.
"""

import json
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from local.parts import GATEWAY_LOGS_HUB, USAGE_HUB
from tests.support.audit import Cell, sums
from tests.support.events import usage_event

APPS = ("team-a", "team-b", "team/c #?", "Zürich-日本", "unattributed")
MODELS = ("gpt-4o-2024-08-06", "gpt-4o-mini", "claude-sonnet-4", None)
AGES = (timedelta(), timedelta(), timedelta(hours=1), timedelta(days=33))
SERVICE = "/SUBSCRIPTIONS/S/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/APIM"
REMEMBERED = 300
HELD_BACK = 80
"""So many events later, at most, a row of the gateway's logs comes."""


class Sent(NamedTuple):
    hub: str
    body: bytes


class _Call(NamedTuple):
    request_id: str
    app: str
    model: str | None
    time: datetime
    tokens: dict[str, int]


class Traffic:
    """`sent` is what the events made so far must come to when all are counted, and `poison` how many never can be.

    `calls` are different calls, `duplicates` records that tell of one of them again. A share `orphans` of the calls is
    told of by halves only, whose other half never comes: those are right when their deadline has passed.
    """

    def __init__(self, seed: int, now: datetime, ages: tuple[timedelta, ...] = AGES, *, orphans: float = 0.03) -> None:
        self.sent = sums()
        self.calls = self.duplicates = self.poison = 0
        self._draw = random.Random(seed)
        self._now = now
        self._ages = ages
        self._orphans = orphans
        self._made = 0
        self._earlier: list[dict[str, Any]] = []
        self._rows: list[tuple[int, dict[str, Any]]] = []  # of the gateway's logs, and when they are to come

    def events(self, number: int) -> list[Sent]:
        """The next events: most of one call each, some of several, some sent again, some broken."""
        return [self._event() for _ in range(number)]

    def rest(self) -> list[Sent]:
        """What was held back."""
        rows, self._rows = [row for _, row in self._rows], []
        return [_message(rows[start : start + 4]) for start in range(0, len(rows), 4)]

    def _event(self) -> Sent:
        self._made += 1
        due = [row for row in self._rows if row[0] <= self._made][:4]
        if due and self._draw.random() < 0.5:
            self._rows = [row for row in self._rows if row not in due]
            return _message([row for _, row in due])
        match self._draw.choices(("one", "many", "again", "wrapped", "poison"), (70, 8, 10, 8, 4))[0]:
            case "many":
                records = [self._again() if self._draw.random() < 0.2 else self._new() for _ in range(3)]
                separators = self._draw.choice((("[", ",", "]"), ("", "\n", "")))
                return Sent(USAGE_HUB, _between(*separators, map(json.dumps, records)))
            case "again":
                return _of_one(self._again())
            case "wrapped":
                record = self._new()
                attributes = {"specversion": "1.0", "id": self._id(), "source": "/gateway", "type": "usage"}
                return Sent(USAGE_HUB, json.dumps({**attributes, "data": record}).encode())
            case "poison":
                self.poison += 1
                broken = usage_event(request_id=self._id(), timestamp=f"day {self._draw.random()}")
                return Sent(USAGE_HUB, self._draw.choice((b"\xff{", b"{}", json.dumps(broken).encode())))
        return _of_one(self._new())

    def _again(self) -> dict[str, Any]:
        if not self._earlier:
            return self._new()
        self.duplicates += 1
        return self._draw.choice(self._earlier)

    def _new(self) -> dict[str, Any]:
        """A record of a new call; where there are more, the others are held back."""
        draw = self._draw
        time = self._now - draw.choice(self._ages) - timedelta(seconds=draw.randrange(60))
        prompt, completion = 1 + draw.randrange(2_000), draw.randrange(500)
        tokens = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        call = _Call(self._id(), draw.choices(APPS, (60, 20, 10, 5, 5))[0], draw.choice(MODELS), time, tokens)
        self.calls += 1
        if draw.random() < self._orphans:
            return self._orphan(call)
        form = draw.choices(("event", "body", "stream", "none", "joined", "twice", "logs"), (35, 12, 8, 5, 28, 6, 6))[0]
        match form:
            case "event":
                record = _policy(call, response_model=call.model, usage=call.tokens)
            case "body" | "stream":
                answer = json.dumps({"object": "x", "model": call.model, "choices": [], "usage": call.tokens})
                streamed = {"stream": True, "body": f"data: {answer}\n\ndata: [DONE]\n\n"}
                record = _policy(call, **({"body": answer} if form == "body" else streamed))
            case "none":
                record = _policy(call, response_model=call.model)
                return self._counted(record, call._replace(tokens={}))
            case "joined":
                record = _policy(call, usage_source="gateway_log", stream=True)
                self._hold_back(_llm_log(call))
            case "twice":  # the log's count may be another: the policy's is taken, and told from it by the app
                record = _policy(call, response_model=call.model, usage=call.tokens)
                other = call if call.app == "unattributed" else call._replace(tokens=dict.fromkeys(call.tokens, 7))
                self._hold_back(_llm_log(other))
            case _:
                call = call._replace(app="team-a" if call.app == "unattributed" else call.app)
                record = _gateway_log(call)
                self._hold_back(_llm_log(call))
        return self._counted(record, call)

    def _orphan(self, call: _Call) -> dict[str, Any]:
        if self._draw.random() < 0.5:
            record = _policy(call, usage_source="gateway_log", stream=True)
            return self._counted(record, call._replace(model=None, tokens={}))
        return self._counted(_llm_log(call), call._replace(app="unattributed"))

    def _counted(self, record: dict[str, Any], call: _Call) -> dict[str, Any]:
        state = "usage_reported" if call.tokens else "usage_missing"
        self.sent[Cell(call.app, call.model, f"{call.time:%Y%m%d%H}")].update({"calls": 1, state: 1, **call.tokens})
        self._earlier = [*self._earlier[-REMEMBERED:], record]
        return record

    def _hold_back(self, row: dict[str, Any]) -> None:
        self._rows.append((self._made + self._draw.choice((0, 3, HELD_BACK)), row))

    def _id(self) -> str:
        return str(UUID(int=self._draw.getrandbits(128), version=4))


def _policy(call: _Call, **changes: Any) -> dict[str, Any]:
    return usage_event(
        request_id=call.request_id,
        timestamp=call.time.isoformat(),
        app_id=None if call.app == "unattributed" else call.app,
        product_id=None,
        **{"response_model": None, "usage": None} | changes,
    )


def _llm_log(call: _Call) -> dict[str, Any]:
    tokens = call.tokens
    properties = {
        "modelName": call.model or "",
        "deploymentName": "chat",
        "requestId": "response-1",
        "sequenceNumber": 0,
        "promptTokens": tokens["prompt_tokens"],
        "completionTokens": tokens["completion_tokens"],
        "totalTokens": tokens["total_tokens"],
    }
    return _row(call, "GatewayLlmLogs", properties)


def _gateway_log(call: _Call) -> dict[str, Any]:
    url = "https://apim.example.net/openai/deployments/chat/chat/completions"
    return _row(
        call, "GatewayLogs", {"method": "POST", "url": url, "responseCode": 200, "apimSubscriptionId": call.app}
    )


def _row(call: _Call, category: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": call.time.isoformat(),
        "resourceId": SERVICE,
        "category": category,
        "correlationId": call.request_id.upper(),
        "properties": properties,
    }


def _of_one(record: dict[str, Any]) -> Sent:
    return _message([record]) if "category" in record else Sent(USAGE_HUB, json.dumps(record).encode())


def _message(rows: list[dict[str, Any]]) -> Sent:
    """As Azure Monitor exports them, with a metric, which is no call's."""
    metric = {"metricName": "Requests", "timeGrain": "PT1M", "time": rows[0]["time"], "resourceId": SERVICE, "total": 1}
    return Sent(GATEWAY_LOGS_HUB, json.dumps({"records": [*rows, metric]}).encode())


def _between(before: str, between: str, after: str, parts: Iterable[str]) -> bytes:
    return f"{before}{between.join(parts)}{after}".encode()
