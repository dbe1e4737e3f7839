"""GET /api/usage: the parts of an answer are its whole, with gaps filled and beside the range before."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.api.asked import ask
from tests.api.conftest import Configure
from tests.api.reference import COUNTS, HOUR, MadeCall, Question, full_hour, utc
from tests.api.test_usage import ZONES, made_calls, without_latency
from tests.queries.filled import EXTRA_DIMENSIONS, fill
from tests.support.events import usage_event

BERLIN = "Europe/Berlin"
KEPT = {"QUERY_MAX_CALL_DAYS": "400"}
quick = settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def counts_of(figures: dict[str, Any]) -> Counter[str]:
    return Counter({name: figures[name] for name in COUNTS})


async def usage(parameters: dict[str, Any]) -> dict[str, Any]:
    reply = await ask("usage", parameters)
    assert reply.status == 200, reply
    answer: dict[str, Any] = reply.json
    return answer


@quick
@given(
    calls=st.lists(made_calls, min_size=2, max_size=16),
    cuts=st.sets(st.integers(1, 62 * 24 - 1), max_size=4),
    granularity=st.sampled_from(["hour", "day", "month", "total"]),
    group_by=st.lists(st.sampled_from(["app", "model", "user", "api", *EXTRA_DIMENSIONS]), unique=True, max_size=3),
    tz=st.sampled_from(["UTC", *ZONES]),
)
async def test_any_partition_in_any_breakdown_adds_up_to_the_totals(
    configure: Configure, calls: list[MadeCall], cuts: set[int], granularity: str, group_by: list[str], tz: str
) -> None:
    """Also by dimensions that are only read from calls, and in zones whose hours are not those of UTC."""
    first, last = utc(2023, 12, 30), utc(2024, 3, 1)
    found = await configure(**KEPT)
    await fill(found, [(call.event(), call.partition) for call in calls])
    edges = [full_hour(edge, tz) for edge in (first, *(first + HOUR * cut for cut in sorted(cuts)), last)]
    wanted: Counter[str] = Counter()
    for call in calls:
        if edges[0] <= call.time < edges[-1]:
            wanted.update(call.counts())
    parts: Counter[str] = Counter()
    for start, end in pairwise(edges):
        asked = {"from": start.isoformat(), "to": end.isoformat(), "granularity": granularity, "tz": tz}
        answer = await usage({**asked, "group_by": ",".join(group_by) or "none"})
        rows: Counter[str] = Counter()
        for row in answer["rows"]:
            rows.update(counts_of(row))
        assert rows == counts_of(answer["totals"])
        parts.update(rows)
    assert +parts == +wanted


@quick
@given(
    calls=st.lists(made_calls, max_size=12),
    hours=st.integers(1, 50),
    granularity=st.sampled_from(["hour", "total"]),
    group_by=st.sampled_from([(), ("app",), ("model", "stream")]),
)
async def test_the_range_before_is_what_asking_for_it_gives(
    configure: Configure, calls: list[MadeCall], hours: int, granularity: str, group_by: tuple[str, ...]
) -> None:
    """Row by row: the n-th bucket beside the n-th, and the change is the difference."""
    await fill(await configure(), [(call.event(), call.partition) for call in calls])
    start = utc(2024, 1, 1)
    length = HOUR * hours
    now = Question(start, start + length, granularity, group_by, {})
    before = Question(start - length, start, granularity, group_by, {})
    answer = await usage({**now.parameters(), "compare": "previous"})
    plain, earlier = await usage(now.parameters()), await usage(before.parameters())
    assert answer["totals"] == plain["totals"]
    assert answer["previous"]["totals"] == earlier["totals"]
    assert (answer["previous"]["from"], answer["previous"]["to"]) == (earlier["from"], earlier["to"])

    def by_place(rows: list[dict[str, Any]], first: datetime) -> dict[Any, dict[str, Any]]:
        return {(datetime.fromisoformat(row["start"]) - first, *(row[name] for name in group_by)): row for row in rows}

    shown, then, old = (
        by_place(answer["rows"], now.start),
        by_place(plain["rows"], now.start),
        by_place(earlier["rows"], before.start),
    )
    assert shown.keys() == then.keys() | old.keys()
    for place, row in shown.items():
        for name in COUNTS:
            current = then[place][name] if place in then else 0
            previous = old[place][name] if place in old else 0
            assert (row[name], row["previous"][name], row["change"][name]) == (current, previous, current - previous)


class TestPrevious:
    @pytest.mark.parametrize(
        ("from_", "to", "granularity", "tz", "before"),
        [
            ("2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z", "total", "UTC", "2024-02-01T00:00:00Z"),
            ("2024-03-01T00:00:00Z", "2024-05-01T00:00:00Z", "month", "UTC", "2024-01-01T00:00:00Z"),
            ("2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z", "day", "UTC", "2024-01-30T00:00:00Z"),
            (
                "2024-03-31T00:00:00+01:00",
                "2024-04-01T00:00:00+02:00",
                "day",
                "Europe/Berlin",
                "2024-03-30T00:00:00+01:00",
            ),
            (
                "2024-04-01T00:00:00+02:00",
                "2024-05-01T00:00:00+02:00",
                "month",
                "Europe/Berlin",
                "2024-03-01T00:00:00+01:00",
            ),
            ("2024-03-10T06:00:00Z", "2024-03-10T09:00:00Z", "total", "UTC", "2024-03-10T03:00:00Z"),
        ],
    )
    async def test_it_begins_where_the_calendar_says(
        self, configure: Configure, from_: str, to: str, granularity: str, tz: str, before: str
    ) -> None:
        await configure()
        asked = {"from": from_, "to": to, "granularity": granularity, "tz": tz, "compare": "previous"}
        previous = (await usage(asked))["previous"]
        assert (previous["from"], previous["to"]) == (before, from_)

    @pytest.mark.parametrize(
        ("granularity", "from_"), [("day", "2024-03-01T01:00:00Z"), ("month", "2024-03-02T00:00:00Z")]
    )
    async def test_parts_of_months_and_days_cannot_be_compared(
        self, configure: Configure, granularity: str, from_: str
    ) -> None:
        await configure()
        asked = {"from": from_, "to": "2024-04-01T00:00:00Z", "granularity": granularity, "compare": "previous"}
        reply = await ask("usage", asked)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "invalid_parameter", "compare")

    async def test_rows_are_ordered_by_what_changed_most_and_csv_shows_it(self, configure: Configure) -> None:
        calls = {"up": (1, 3), "down": (2, 0), "same": (1, 1)}
        events = [
            (usage_event(app_id=app, timestamp=time), "0")
            for app, (before, now) in calls.items()
            for time in ["2024-02-28T12:00:00Z"] * before + ["2024-02-29T12:00:00Z"] * now
        ]
        await fill(await configure(), events)
        asked = {
            "from": "2024-02-29T00:00:00Z",
            "to": "2024-03-01T00:00:00Z",
            "granularity": "total",
            "group_by": "app",
        }
        asked |= {"compare": "previous", "order_by": "-change_calls"}
        answer = await usage(asked)
        assert [(row["app"], row["change"]["calls"]) for row in answer["rows"]] == [
            ("up", 2),
            ("same", 0),
            ("down", -2),
        ]
        assert (answer["change"]["calls"], answer["previous"]["coverage"]) == (0, 1.0)
        in_csv = (await ask("usage", {**asked, "format": "csv"})).csv
        assert [(row["app"], row["previous_calls"], row["change_calls"]) for row in in_csv] == [
            ("up", "1", "2"),
            ("same", "1", "0"),
            ("down", "2", "-2"),
        ]
        page = await usage({**asked, "limit": "2"})
        rest = await usage({**asked, "limit": "2", "cursor": page["next_cursor"]})
        assert [row["app"] for row in (*page["rows"], *rest["rows"])] == ["up", "same", "down"]


class TestFill:
    async def test_every_bucket_of_every_group_has_a_row(self, configure: Configure) -> None:
        events = [("a", "2024-02-28T12:00:00Z"), ("b", "2024-03-01T12:00:00Z")]
        await fill(await configure(), [(usage_event(app_id=app, timestamp=time), "0") for app, time in events])
        asked = {"from": "2024-02-28T00:00:00Z", "to": "2024-03-02T00:00:00Z", "granularity": "day", "fill": "zero"}
        rows = (await usage({**asked, "group_by": "app"}))["rows"]
        assert [(row["start"][:10], row["app"], row["calls"]) for row in rows] == [
            ("2024-02-28", "a", 1),
            ("2024-02-28", "b", 0),
            ("2024-02-29", "a", 0),
            ("2024-02-29", "b", 0),
            ("2024-03-01", "a", 0),
            ("2024-03-01", "b", 1),
        ]
        assert rows[1]["latency_ms"] == {"p50": None, "p95": None, "p99": None}
        assert len((await usage({**asked, "group_by": "none", "app": "nobody"}))["rows"]) == 3
        assert (await usage({**asked, "group_by": "app", "app": "nobody"}))["rows"] == []

    async def test_filled_rows_count_against_the_bound(self, configure: Configure) -> None:
        now = datetime.now(UTC)
        await fill(await configure(QUERY_MAX_ROWS="100"), [(usage_event(timestamp=now.isoformat()), "0")])
        asked = {"from": (now - timedelta(days=10)).isoformat(), "group_by": "none", "fill": "zero"}
        assert (await ask("usage", asked)).error["code"] == "too_many_rows"

    async def test_what_is_added_is_nothing(self, configure: Configure) -> None:
        await fill(await configure(), [(usage_event(timestamp="2024-02-29T12:00:00Z"), "0")])
        asked = {"from": "2024-02-29T00:00:00Z", "to": "2024-03-01T00:00:00Z"}
        plain, filled = await usage(asked), await usage({**asked, "fill": "zero"})
        assert len(filled["rows"]) == 24
        assert [row for row in filled["rows"] if row["calls"]] == plain["rows"]
        assert without_latency(filled["totals"]) == without_latency(plain["totals"])
