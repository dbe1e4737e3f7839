"""The organisation usage API as a whole, against the calls it was asked about; with OpenAI's client: tests/e2e."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.api.asked import Reply, ask
from tests.api.conftest import Configure
from tests.api.test_costs import CHANGE, FIRST, LAST, OWN, PTU, Paid, calls_paid, enter, paid
from tests.queries.filled import fill
from tests.support.events import usage_event

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KINDS = ("openai_completions", "openai_embeddings", "openai_costs")
Parameters = dict[str, str | list[str]]


def seconds(time: datetime) -> str:
    return str(int(time.timestamp()))


def between(start: datetime, end: datetime, **more: str | list[str]) -> Parameters:
    return {"start_time": seconds(start), "end_time": seconds(end), **more}


async def all_buckets(endpoint: str, parameters: Parameters) -> list[Any]:
    """Page after page; each has at most `limit` buckets, and they follow one another without a gap."""
    buckets: list[Any] = []
    page: Parameters = {}
    while True:
        reply = await ask(endpoint, {**parameters, **page})
        assert reply.status == 200, reply
        shown = reply.json
        assert shown["object"] == "page"
        assert shown["has_more"] is (shown["next_page"] is not None)
        assert 1 <= len(shown["data"]) <= int(str(parameters.get("limit", 7)))
        buckets += shown["data"]
        if not shown["has_more"]:
            break
        page = {"page": shown["next_page"]}
    assert [each["end_time"] for each in buckets[:-1]] == [each["start_time"] for each in buckets[1:]]
    return buckets


@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    calls=st.lists(calls_paid, max_size=14),
    start=st.integers(0, 200).map(lambda hours: FIRST + hours * HOUR + timedelta(minutes=hours % 3)),
    groups=st.sampled_from([[], ["project_id"], ["model", "project_id"]]),
    limit=st.sampled_from([1, 6, 31]),
)
async def test_buckets_hold_every_call_of_the_range_once(
    configure: Configure, calls: list[Paid], start: datetime, groups: list[str], limit: int
) -> None:
    services = await configure(PRICE_PROVIDERS="openai")
    await fill(services, [(call.event(), call.partition) for call in calls])
    await enter(services, ptu=PTU, own=OWN)
    asked = between(start, LAST, limit=str(limit))
    buckets = await all_buckets("openai_completions", {**asked, "group_by[]": groups})
    begin = start.replace(minute=0)
    assert (buckets[0]["start_time"], buckets[-1]["end_time"]) == (int(begin.timestamp()), int(LAST.timestamp()))
    expected: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    found: dict[tuple[Any, ...], list[int]] = {}
    for call in calls:
        if call.time < begin:
            continue
        names = {"project_id": call.app, "model": call.model}
        start_time = max(begin, call.time.replace(hour=0, minute=0, second=0, microsecond=0))
        sums = expected[start_time, *(names[name] for name in groups)]
        prompt, cached, completion, _ = call.usage or (0, 0, 0, 0)
        for number, count in enumerate((1, prompt, cached, completion)):
            sums[number] += count
    for bucket in buckets:
        for result in bucket["results"]:
            key = datetime.fromtimestamp(bucket["start_time"], UTC), *(result[name] for name in groups)
            assert key not in found
            names_of_counts = ("num_model_requests", "input_tokens", "input_cached_tokens", "output_tokens")
            found[key] = [result[name] for name in names_of_counts]
            assert {name for name in ("project_id", "model") if result[name] is not None} <= set(groups)
    assert found == dict(expected)

    costs = [each for bucket in await all_buckets("openai_costs", asked) for each in bucket["results"]]
    spent = sum((Fraction(each["amount"]["value"]) for each in costs if each["amount"]), Fraction())
    true = sum((call.cost() for call in calls if call.time >= begin), Fraction())
    assert abs(spent - true) <= true / 10**12  # binary numbers, as OpenAI has it
    unpriced = sum(call.unpriced() for call in calls if call.time >= begin)
    assert sum(each["unpriced_tokens"] for each in costs) == unpriced


async def test_embeddings_are_apart_from_all_else(configure: Configure) -> None:
    """By model, or by operation where that is summed up: each call is in one of the two."""
    events = [
        usage_event(response_model="text-embedding-3-small", timestamp=CHANGE.isoformat()),
        usage_event(response_model="voyage-3", timestamp=CHANGE.isoformat()),
        usage_event(response_model="own", operation_id="Embeddings_Create", timestamp=CHANGE.isoformat()),
        usage_event(response_model="gpt-4o", timestamp=CHANGE.isoformat(), usage=None),
    ]
    await fill(await configure(AGGREGATE_DIMENSIONS="operation"), [(event, "0") for event in events])
    day = between(CHANGE, CHANGE + DAY)
    (bucket,) = await all_buckets("openai_embeddings", {**day, "group_by": "model"})
    assert {each["model"]: (each["input_tokens"], each["num_model_requests"]) for each in bucket["results"]} == {
        "text-embedding-3-small": (10, 1),
        "voyage-3": (10, 1),
        "own": (10, 1),
    }
    assert bucket["results"][0]["object"] == "organization.usage.embeddings.result"
    (bucket,) = await all_buckets("openai_completions", day)
    (result,) = bucket["results"]
    assert (result["num_model_requests"], result["num_model_requests_without_usage"]) == (1, 1)


async def test_filters_and_line_items(configure: Configure) -> None:
    services = await configure(PRICE_PROVIDERS="openai")
    calls = [paid(app=app, usage=(1_000_000, 400_000, 100_000, 0)) for app in ("a", "b", "c")]
    more = [paid(model="somebody's", usage=(9, 0, 0, 0)).event() | {"subscription_id": "key-1", "user_id": "ann"}]
    await fill(services, [(event, "0") for event in [call.event() for call in calls] + more])
    day = between(CHANGE, CHANGE + DAY)
    (bucket,) = await all_buckets(
        "openai_completions", {**day, "project_ids[]": ["a", "b"], "models[]": "gpt-4o-2024-08-06"}
    )
    assert [each["input_tokens"] for each in bucket["results"]] == [2_000_000]
    (bucket,) = await all_buckets("openai_completions", {**day, "api_key_ids": "key-1", "group_by": "user_id"})
    assert [(each["user_id"], each["api_key_id"], each["input_tokens"]) for each in bucket["results"]] == [
        ("ann", None, 9)
    ]
    (bucket,) = await all_buckets("openai_costs", {**day, "group_by[]": ["line_item"]})
    items = {each["line_item"]: each for each in bucket["results"]}
    assert {name: (each["amount"], each["quantity"], each["unpriced_tokens"]) for name, each in items.items()} == {
        "gpt-4o-2024-08-06, input_tokens": ({"value": 4.5, "currency": "usd"}, 1_800_000.0, 0),
        "gpt-4o-2024-08-06, input_cached_tokens": ({"value": 1.5, "currency": "usd"}, 1_200_000.0, 0),
        "gpt-4o-2024-08-06, output_tokens": ({"value": 3.0, "currency": "usd"}, 300_000.0, 0),
        "somebody's, input_tokens": (None, 9.0, 9),
    }
    assert {each["quantity_unit"] for each in items.values()} == {"tokens"}
    only = {**day, "line_items[]": ["gpt-4o-2024-08-06, output_tokens"], "group_by[]": "project_id"}
    (bucket,) = await all_buckets("openai_costs", only)
    assert [(each["project_id"], each["amount"]["value"], each["line_item"]) for each in bucket["results"]] == [
        (app, 1.0, None) for app in "abc"
    ]


def refusal(reply: Reply) -> dict[str, Any]:
    """The members of OpenAI's errors, with ours among them."""
    error: dict[str, Any] = reply.json["error"]
    assert list(error) == ["code", "message", "parameter", "param", "type"]
    assert error["param"] == error["parameter"]
    return error


@pytest.mark.parametrize("endpoint", KINDS)
@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"start_time": ""}, "start_time"),
        ({"start_time": "2026-11-20"}, "start_time"),
        ({"start_time": "9999999999"}, "start_time"),
        ({"end_time": "1"}, "end_time"),
        ({"end_time": seconds(CHANGE)}, "start_time"),
        ({"bucket_width": "1m"}, "bucket_width"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1441"}, "limit"),
        ({"group_by[]": ["batch"]}, "group_by"),
        ({"batch": "true"}, "batch"),
        ({"project_ids[]": ""}, "project_ids"),
        ({"project_id": "a"}, "project_id"),
        ({"page": "x"}, "page"),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_openais_words(
    configure: Configure, endpoint: str, changes: dict[str, Any], parameter: str
) -> None:
    await configure()
    reply = await ask(endpoint, {**between(CHANGE, CHANGE + DAY), **changes})
    error = refusal(reply)
    assert (reply.status, error["type"], error["param"]) == (400, "invalid_request_error", parameter)


async def test_a_page_belongs_to_its_own_question(configure: Configure) -> None:
    await configure()
    days = between(CHANGE, CHANGE + 9 * DAY)
    page = (await ask("openai_completions", days)).json["next_page"]
    assert (await ask("openai_completions", {**days, "page": page, "limit": "3"})).status == 200
    for endpoint, changes in (
        ("openai_embeddings", {}),
        ("openai_costs", {}),
        ("openai_completions", {"project_ids[]": "a"}),
        ("openai_completions", {"group_by[]": "model"}),
    ):
        reply = await ask(endpoint, {**days, "page": page, **changes})
        assert (reply.status, refusal(reply)["code"]) == (400, "invalid_cursor")


async def test_a_bound_names_the_clients_own_parameter(configure: Configure) -> None:
    await configure(QUERY_MAX_CALL_DAYS="3", QUERY_MAX_DAYS="100")
    error = refusal(await ask("openai_costs", {**between(CHANGE, CHANGE + 9 * DAY), "user_ids[]": "ann"}))
    assert (error["code"], error["param"]) == ("dimension_not_aggregated", "user_ids")
    error = refusal(await ask("openai_costs", between(CHANGE, CHANGE + 101 * DAY)))
    assert (error["code"], error["param"]) == ("range_too_long", "start_time")
