"""The gateway's log of model calls as Azure Monitor exports it: many records in one message, some of them no call's."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from local.sample.records import Record

_MESSAGES_HOLD = (1, 6)


def rows_of(record: Record, request_id: str, deployment: str, region: str, time: str) -> Iterator[dict[str, Any]]:
    """What the log has of one call: a row where messages would be if they were logged, and one with its counts."""
    expected = record.expected or {}
    prompt, completion = expected["prompt_tokens"], expected["completion_tokens"]
    named = {"requestId": f"response-{request_id[:8]}", "modelName": record.model, "deploymentName": deployment}
    counts = {
        "promptTokens": prompt,
        "completionTokens": completion,
        "totalTokens": prompt + completion,
        "promptCachedTokens": expected["cached_tokens"] or 0,
    }
    yield _row(request_id, region, time, dict.fromkeys(counts, 0) | {"modelName": "", "sequenceNumber": 1})
    yield _row(request_id, region, time, named | counts | {"isStreamCompletion": True, "sequenceNumber": 0})


def in_messages(
    random: Random, rows: Sequence[tuple[float, dict[str, Any]]]
) -> Iterator[tuple[float, dict[str, list[dict[str, Any]]]]]:
    """Messages of some rows each, in order, at the place of their last row; each with a metric and a probe's row."""
    left = sorted(rows, key=lambda row: row[0])
    while left:
        number = random.randint(*_MESSAGES_HOLD)
        now, left = left[:number], left[number:]
        place, last = now[-1]
        probe = _row("", last["location"], last["time"], {"requestId": "", "modelName": "", "promptTokens": 0})
        metric = {"metricName": "Requests", "timeGrain": "PT1M", "time": last["time"], "total": number}
        others = [probe, metric | {"resourceId": last["resourceId"]}]
        yield place, {"records": [row for _, row in now] + others}


def _row(request_id: str, region: str, time: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": time,
        "category": "GatewayLlmLogs",
        "operationName": "Microsoft.ApiManagement/GatewayLlmLogs",
        "resourceId": f"/SUBSCRIPTIONS/S/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/APIM-{region.upper()}",
        "correlationId": request_id.upper(),
        "location": region,
        "properties": properties,
    }
