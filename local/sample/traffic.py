"""Events for some days of traffic, and the totals they must come to.

The same seed, time and records give the same events. The last event of each key is the first of its call, or has the
log of such a one: events of one key keep their order (they share a partition), so when all calls are counted the copies
and malformed events have been seen too.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from local.parts import GATEWAY_LOGS_HUB, USAGE_HUB
from local.sample.apps import APPS, App
from local.sample.logs import in_messages, rows_of
from local.sample.records import Record
from local.sample.truth import Counts, Truth

DAYS = 3
_OPERATIONS = {
    "chat": "ChatCompletions_Create",
    "completions": "Completions_Create",
    "embeddings": "Embeddings_Create",
    "messages": "Messages_Create",
    "responses": "Responses_Create",
}
_TAIL_CHARS = 2_000
_LOG_MAY_BE_APART = 150
"""How many events before or after its call's event a log may be sent."""


class SampleEvent(NamedTuple):
    """`key` is the partition key: the app, or for logs the gateway's region."""

    hub: str
    key: str
    body: bytes


class Traffic(NamedTuple):
    events: list[SampleEvent]
    truth: Truth


class _Placed(NamedTuple):
    position: float
    event: SampleEvent


def build_traffic(
    records: Sequence[Record],
    *,
    seed: str,
    now: datetime,
    calls: int = 1_180,
    duplicates: int = 18,
    repeated_logs: int = 6,
) -> Traffic:
    """Events of `calls` calls over the last days, `duplicates` of them sent twice, and a malformed one of each kind.
    Half of the streams with usage are told in halves; `repeated_logs` messages of the gateway's log are sent twice."""
    random = Random(seed)  # noqa: S311 - not a secret
    truth = Truth(duplicates=duplicates, repeated_logs=repeated_logs)
    by_deployment: dict[str, list[Record]] = {}
    for answered in records:
        if not answered.failed:
            by_deployment.setdefault(answered.deployment, []).append(answered)
    failures: list[Record | None] = [answered for answered in records if answered.failed]
    failures += [None] * len(failures)  # half of the failures are refused by the gateway itself

    times = sorted(now - timedelta(days=DAYS) * random.random() ** 1.5 for _ in range(calls))  # busier towards now
    placed: list[_Placed] = []
    logged: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for position, time in enumerate(times):
        app = random.choices(APPS, [app.share for app in APPS])[0]
        deployment = random.choices(list(app.deployments), list(app.deployments.values()))[0]
        failed = random.random() < 0.03
        record: Record | None = random.choice(failures if failed else by_deployment[deployment])
        status = record.status if record is not None else 429
        body = _event(random, app, deployment, record, status, time)
        counts = Counts.of_call(record, status)
        if record is not None and record.streaming and record.expected is not None and random.random() < 0.5:
            body |= {"usage_source": "gateway_log"}
            counts = Counts.of_log(record, status)
            truth.joined += 1
            sent = position + random.uniform(-_LOG_MAY_BE_APART, _LOG_MAY_BE_APART)
            rows = rows_of(record, body["request_id"], deployment, app.region, body["timestamp"])
            logged.setdefault(app.region, []).extend((sent, row) for row in rows)
        elif record is not None:
            body |= _usage_part(random, record)
        placed.append(_Placed(position, SampleEvent(USAGE_HUB, app.name, _encode(body))))
        truth.apps[app.name] = truth.apps.get(app.name, Counts()) + counts

    logs = [
        _Placed(sent, SampleEvent(GATEWAY_LOGS_HUB, region, _encode(message)))
        for region, rows in logged.items()
        for sent, message in in_messages(random, rows)
    ]
    truth.logs = len(logs)
    last_of_app = _last_positions(placed)
    placed += _copies(random, placed, last_of_app, duplicates)
    placed += logs + _copies(random, logs, _last_positions(logs), repeated_logs)
    for broken in _malformed(random, now):
        app_name = random.choice(sorted(last_of_app))
        event = SampleEvent(USAGE_HUB, app_name, broken)
        placed.append(_Placed(last_of_app[app_name] * random.random(), event))
        truth.malformed += 1
    placed.sort(key=lambda one: one.position)
    return Traffic([one.event for one in placed], truth)


def _last_positions(placed: Sequence[_Placed]) -> dict[str, float]:
    """By key, for events of one hub."""
    last: dict[str, float] = {}
    for one in placed:
        last[one.event.key] = max(one.position, last.get(one.event.key, one.position))
    return last


def _event(
    random: Random, app: App, deployment: str, record: Record | None, status: int, time: datetime
) -> dict[str, Any]:
    """Who called. The usage comes after it, so that a truncated message still says whose call it was."""
    expected = record.expected if record is not None else None
    first_byte_ms = random.lognormvariate(5.6, 0.5) if status < 400 else random.uniform(4, 60)
    writing_ms = ((expected or {}).get("completion_tokens") or 40) * random.uniform(8, 16) if status < 400 else 0.0
    provider = record.provider if record is not None else "azure-openai"
    event: dict[str, Any] = {
        "schema": "usage-event/1",
        "request_id": _request_id(random),
        "timestamp": _rfc3339(time),
        **app.identity,
        "api_id": provider,
        "operation_id": _OPERATIONS[record.operation] if record is not None else "ChatCompletions_Create",
        "gateway_id": f"apim-{app.region}",
        "region": app.region,
        "backend_id": f"{provider}-{app.region}",
        "client_ip": f"10.0.{APPS.index(app)}.{random.randint(4, 250)}",
        "deployment": deployment,
        "stream": record.streaming if record is not None else False,
        "status": status,
        "duration_ms": round(first_byte_ms + writing_ms, 1),
        "first_byte_ms": round(first_byte_ms, 1),
    }
    if record is None:
        event["error"] = {"source": "azure-openai-token-limit", "reason": "TokenLimitExceeded"}
    return event


def _usage_part(random: Random, record: Record) -> dict[str, Any]:
    """How the sender tells the usage: the provider's usage object, the whole body, or the end of a streamed one."""
    if record.expected is not None and not record.streaming and random.random() < 0.4:
        answer = json.loads(record.body)
        return {"response_model": answer["model"], "usage": answer["usage"]}
    tail_says_it = record.streaming and record.operation == "chat" and record.expected is not None
    if tail_says_it and len(record.body) > _TAIL_CHARS and random.random() < 0.5:
        offset = len(record.body) - _TAIL_CHARS
        return {"body_offset": len(record.body[:offset].encode()), "body": record.body[offset:]}
    return {"body": record.body}


def _copies(random: Random, placed: list[_Placed], last_of_key: dict[str, float], count: int) -> list[_Placed]:
    """A sender that did not hear back sends the same bytes again, somewhat later."""
    candidates = [one for one in placed if one.position < last_of_key[one.event.key]]
    return [
        _Placed(random.uniform(one.position, last_of_key[one.event.key]), one.event)
        for one in random.sample(candidates, count)
    ]


def _malformed(random: Random, now: datetime) -> list[bytes]:
    """One of each kind: not JSON, a required field missing, and fields of the wrong type or form."""

    def event(**changes: object) -> bytes:
        sound = {"schema": "usage-event/1", "request_id": _request_id(random), "timestamp": _rfc3339(now)}
        changed = {**sound, "app_id": "support-chat", "stream": False, "status": 200, **changes}
        return _encode({name: value for name, value in changed.items() if value is not None})

    return [
        b"usage: 12 tokens",
        event(request_id=None),
        event(status="two hundred"),
        event(stream="perhaps"),
        event(timestamp="last Tuesday"),
        event(duration_ms="fast"),
    ]


def _request_id(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


def _rfc3339(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def _encode(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
