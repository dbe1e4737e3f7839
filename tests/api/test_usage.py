"""GET /api/usage: exactly what the calls add up to, in JSON and CSV, and clear errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import services
from api.endpoints import answer
from local.azurite import Azurite
from tests.api.asked import Reply, ask
from tests.api.conftest import Configure
from tests.api.reference import HOUR, MadeCall, Question, Tokens, expected, percentile_bounds, utc
from tests.api.reference import shown as in_zone
from tests.queries.filled import EXTRA_DIMENSIONS, environment, fill
from tests.support.events import usage_event

APPS = (
    "app-1",
    'quo"te, comma',
    "two\r\nlines",
    "=cmd|' /C calc'!A0",
    "Zürich-日本",
    "/\\#?%25 |~7E",
    "' or 'a' eq 'a",
)
MODELS = (None, "gpt-4o-2024-08-06", 'claude, "sonnet"', "@SUM(A1)", "-1")
DEPLOYMENTS = (None, "chat", "+chat")
PRODUCTS = (None, "gold")
STREAMS = (None, True, False)
STATUSES = (None, 200, 429)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Kiritimati",
    "Asia/Kolkata",
    "America/St_Johns",
    "Asia/Kathmandu",
)
TWO_MONTHS = "from=2024-01-01T00:00:00Z&to=2024-02-29T00:00:00Z"
MONEY = ("cost", "approximate_cost", "cache_savings", "unpriced_tokens", "unpriced_audio_seconds")
"""tests/api/test_costs.py is about these."""
FIRST, LAST = utc(2023, 12, 30), utc(2024, 3, 2)
EDGES = (
    utc(2023, 12, 31, 23, 59, 59, 999_999),
    utc(2024, 1, 1),
    utc(2024, 1, 31, 23, 30),
    utc(2024, 2, 28, 23, 59, 59),
    utc(2024, 2, 29, 12),
    utc(2024, 3, 1),
)
VALUES: dict[str, list[str]] = {
    "app": [*APPS, "nobody"],
    "model": [*(model for model in MODELS if model), "none"],
    "deployment": [*(name for name in DEPLOYMENTS if name), "x"],
    "product": ["gold", "silver"],
    "stream": ["true", "false"],
    "status": ["200", "429"],
}

times = st.sampled_from(EDGES) | st.integers(0, int((LAST - FIRST) / HOUR) - 1).map(lambda hours: FIRST + hours * HOUR)
counts = st.integers(0, 3) | st.integers(0, 10**9)
made_calls = st.builds(
    MadeCall,
    app=st.sampled_from(APPS[:2]) | st.sampled_from(APPS),
    model=st.sampled_from(MODELS),
    deployment=st.sampled_from(DEPLOYMENTS),
    product=st.sampled_from(PRODUCTS),
    stream=st.sampled_from(STREAMS),
    status=st.sampled_from(STATUSES),
    time=times,
    partition=st.sampled_from("012"),
    tokens=st.none() | st.builds(Tokens, counts, counts, counts, st.none() | counts, st.none() | counts),
    duration_ms=st.none() | st.sampled_from([0.0, 10.0, 10.5, 333.3, 81_920.0, 1e9]),
)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Ranges anywhere or on the edges of days and months; any granularity, groups and filters."""
    start = draw(times) - draw(st.sampled_from([timedelta(), timedelta(minutes=20), timedelta(days=2)]))
    length = st.integers(1, 40 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes))
    end = start + draw(length)
    match draw(st.sampled_from(("as they are", "days", "months", "all"))):
        case "days":
            start = start.replace(hour=0, minute=0, second=0, microsecond=0)
            end = end.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        case "months":
            start = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            end = (start + timedelta(days=draw(st.sampled_from([32, 63, 92])))).replace(day=1)
        case "all":
            start, end = FIRST, LAST
    group_by = st.lists(st.sampled_from(["app", "model", *EXTRA_DIMENSIONS]), unique=True, max_size=3).map(tuple)
    filters = {
        name: draw(st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=3, unique=True))
        for name in draw(st.lists(st.sampled_from(list(VALUES)), unique=True, max_size=2))
    }
    granularity = draw(st.sampled_from(["hour", "day", "month", "total"]))
    tz = draw(st.just("UTC") | st.sampled_from(ZONES))
    return Question(start, end, granularity, draw(st.none() | group_by), filters, tz)


def check(reply: Reply, calls: list[MadeCall], question: Question) -> None:
    """The answer is exactly the reference's."""
    assert reply.status == 200, reply
    shown, wanted = reply.json, expected(calls, question)
    assert (shown["from"], shown["to"]) == (in_zone(wanted.start, question), in_zone(wanted.end, question))
    assert shown["tz"] == question.tz
    assert (shown["granularity"], tuple(shown["group_by"])) == (question.granularity, question.names)
    assert [without_latency(row) for row in shown["rows"]] == [{**row, "audio_seconds": 0} for row in wanted.rows]
    assert without_latency(shown["totals"]) == {**wanted.totals, "audio_seconds": 0}
    assert shown["coverage"] == (None if wanted.coverage is None else pytest.approx(wanted.coverage, abs=1e-6))
    for row, members in zip(shown["rows"], wanted.calls, strict=True):
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            bounds, latency = percentile_bounds(members, share), row["latency_ms"][name]
            assert (latency is None) if bounds is None else (bounds[0] <= latency <= bounds[1])
    for name in wanted.totals:
        assert sum(row[name] for row in shown["rows"]) == shown["totals"][name]


def without_latency(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("latency_ms", *MONEY)}


def as_cells(row: dict[str, Any]) -> dict[str, str]:
    """A row of the JSON answer as the CSV must show it."""
    latency = {f"latency_ms_{name}": value for name, value in row["latency_ms"].items()}
    shown = without_latency(row) | {name: row[name] for name in MONEY} | latency
    cells = {name: "" if value is None else str(value) for name, value in shown.items()}
    return {name: f"'{cell}" if cell[:1] in tuple("=+-@\t\r") else cell for name, cell in cells.items()}


# Each example fills tables of its own; shrinking one that fails would take minutes, and it is small as it is.
@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(calls=st.lists(made_calls, max_size=16), asked=st.lists(questions(), min_size=3, max_size=3))
async def test_any_question_over_any_calls_is_answered_as_the_calls_add_up(
    configure: Configure, calls: list[MadeCall], asked: list[Question]
) -> None:
    """Rows, totals, coverage and percentiles by brute force over the calls; the CSV shows the JSON's figures."""
    found = await configure(QUERY_MAX_CALL_DAYS="400")
    await fill(found, [(call.event(), call.partition) for call in calls])
    for question in asked:
        check(await ask("usage", question.parameters()), calls, question)
    in_json = await ask("usage", asked[0].parameters())
    in_csv = await ask("usage", {**asked[0].parameters(), "format": "csv"})
    assert in_csv.csv == [as_cells(row) for row in in_json.json["rows"]]


@settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    calls=st.lists(made_calls, min_size=4, max_size=16),
    question=questions(),
    order_by=st.sampled_from(["start", "calls", "total_tokens", "latency_ms_p95", "missing_truncated"]),
    sign=st.sampled_from(["", "-"]),
    limit=st.integers(1, 5),
)
async def test_pages_are_the_whole_answer_in_any_order(
    configure: Configure, calls: list[MadeCall], question: Question, order_by: str, sign: str, limit: int
) -> None:
    """Every row on one page, none twice, and every page with the totals of the whole."""
    await fill(await configure(QUERY_MAX_CALL_DAYS="400"), [(call.event(), call.partition) for call in calls])
    whole = (await ask("usage", question.parameters())).json
    parameters = {**question.parameters(), "order_by": sign + order_by, "limit": str(limit)}
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await ask("usage", {**parameters, **cursor})).json
        rows += page["rows"]
        assert page["totals"] == whole["totals"]
        if page["next_cursor"] is None:
            break
        assert len(page["rows"]) == limit
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(map(json.dumps, rows)) == sorted(map(json.dumps, whole["rows"]))
    if order_by == "start":
        buckets = [datetime.fromisoformat(row["start"]) for row in rows]
        assert buckets == sorted(buckets, reverse=sign == "-")
        return
    figures = [row["latency_ms"]["p95"] if order_by == "latency_ms_p95" else row[order_by] for row in rows]
    known = [figure for figure in figures if figure is not None]
    assert figures == sorted(known, reverse=sign == "-") + [None] * (len(figures) - len(known))


ONE_DAY = {"from": "2024-02-29T00:00:00Z", "to": "2024-03-01T00:00:00Z", "granularity": "day"}


@pytest.fixture
async def hostile(configure: Configure) -> AsyncIterator[None]:
    """One call of each app with a name that means harm, on leap day."""
    await fill(await configure(), [(usage_event(app_id=app, timestamp="2024-02-29T12:00:00Z"), "0") for app in APPS])
    yield


class TestNames:
    async def test_every_name_comes_back_as_it_was_sent(self, hostile: None) -> None:
        """Also through a filter by each name: it finds that app's call, and only that."""
        reply = await ask("usage", {**ONE_DAY, "group_by": "app"})
        assert [row["app"] for row in reply.json["rows"]] == sorted(APPS)
        for app in APPS:
            rows = (await ask("usage", {**ONE_DAY, "group_by": "app", "app": app})).json["rows"]
            assert [(row["app"], row["calls"]) for row in rows] == [(app, 1)]

    async def test_no_filter_value_reads_another_apps_rows(self, hostile: None) -> None:
        """Quotes, operators, wildcards, our own separators and escapes: each is a name that no app has."""
        values = [
            "' or PartitionKey ge '",
            "app-1' or 'a' eq 'a",
            "app-1|202402",
            "app-1|202402' and RowKey ge 'm",
            "app-1' --",
            "app-1%",
            "app-1*",
            "*",
            "%",
            "''",
            "app~2D1",
            "APP-1",
            "app-1 ",
            "app-1\x00",
            "@partition",
            "\ufffd",
        ]
        for value in values:
            reply = await ask("usage", {**ONE_DAY, "app": value})
            assert (reply.status, reply.json["rows"]) == (200, []), value
        reply = await ask("usage", {**ONE_DAY, "app": values})
        assert reply.json["totals"]["calls"] == 0

    async def test_values_of_other_filters_are_only_compared(self, hostile: None) -> None:
        for name in ("model", "deployment", "product"):
            reply = await ask("usage", {**ONE_DAY, name: "' or '1' eq '1"})
            assert (reply.status, reply.json["rows"]) == (200, []), name

    async def test_a_name_longer_than_any_app_can_have_finds_nothing_or_is_the_callers_mistake(
        self, hostile: None
    ) -> None:
        """It is not the tables that are at fault, and trying again will not help."""
        for app in ("é" * 600, "é" * 2_600, "x" * 16_000):
            reply = await ask("usage", {**ONE_DAY, "app": app})
            assert reply.status in (200, 400), reply


class TestFormats:
    async def test_csv_is_asked_for_by_parameter_or_by_header(self, hostile: None) -> None:
        by_parameter = await ask("usage", {**ONE_DAY, "format": "csv"})
        by_header = await ask("usage", ONE_DAY, {"Accept": "text/csv"})
        preferred = await ask("usage", ONE_DAY, {"ACCEPT": "text/csv, application/json;q=0.5"})
        assert by_parameter.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert by_parameter.text == by_header.text == preferred.text
        assert by_header.headers["Cache-Control"] == "no-store"

    async def test_csv_follows_rfc_4180_with_hostile_names(self, hostile: None) -> None:
        reply = await ask("usage", {**ONE_DAY, "format": "csv", "group_by": "app"})
        assert [row["app"].removeprefix("'") for row in reply.csv] == [app.removeprefix("'") for app in sorted(APPS)]
        assert '"quo""te, comma"' in reply.text
        assert '"two\r\nlines"' in reply.text
        assert "\r\n2024-02-29T00:00:00Z,'=cmd" in reply.text
        assert reply.text.endswith("\r\n")

    @pytest.mark.parametrize("accept", ["application/json", "*/*", "", "text/html,application/xhtml+xml,*/*;q=0.8"])
    async def test_json_is_what_others_get(self, configure: Configure, accept: str) -> None:
        await configure()
        assert (await ask("usage", "", {"Accept": accept})).json["rows"] == []

    async def test_the_parameter_counts_more_than_the_header(self, configure: Configure) -> None:
        await configure()
        assert (await ask("usage", "format=json", {"Accept": "text/csv"})).json["rows"] == []

    @pytest.mark.parametrize("accept", ["text/csv;q=0.1, application/json", "application/xml, text/csv"])
    async def test_the_header_is_read_by_preference_not_by_what_it_begins_with(
        self, configure: Configure, accept: str
    ) -> None:
        """RFC 9110 12.5.1: weights order the choices; what we cannot give is passed over."""
        await configure()
        wanted = "text/csv" if "xml" in accept else "application/json"
        assert (await ask("usage", "", {"Accept": accept})).headers["Content-Type"].startswith(wanted)

    @pytest.mark.parametrize("query", ["format=xml", "format=", "format=csv&format=json"])
    async def test_a_format_that_is_none_is_refused(self, configure: Configure, query: str) -> None:
        await configure()
        reply = await ask("usage", query)
        assert reply.status == 400
        assert (reply.error["code"], reply.error["parameter"]) == ("invalid_parameter", "format")

    async def test_errors_are_json_even_for_those_who_asked_for_csv(self, configure: Configure) -> None:
        await configure()
        assert (await ask("usage", "format=csv&from=x")).error["parameter"] == "from"


class TestRange:
    async def test_by_default_the_last_24_hours_are_answered(self, configure: Configure) -> None:
        now = datetime.now(UTC)
        ages = (timedelta(minutes=1), timedelta(hours=23), timedelta(hours=26))
        events = [(usage_event(app_id="now", timestamp=(now - age).isoformat()), "0") for age in ages]
        await fill(await configure(), events)
        shown = (await ask("usage")).json
        assert shown["totals"]["calls"] == 2
        assert (shown["granularity"], shown["group_by"]) == ("hour", ["app", "model"])

    async def test_an_offset_whose_plus_came_as_a_space_is_understood(self, hostile: None) -> None:
        """As curl and many scripts send it; `+` in a query string means a space."""
        for plus in ("+", "%20", "%2B"):
            query = f"from=2024-02-29T13:30:00{plus}01:00&to=2024-02-29T14:00:00{plus}01:00&group_by=none"
            shown = (await ask("usage", query)).json
            assert (shown["from"], shown["to"]) == ("2024-02-29T12:00:00Z", "2024-02-29T13:00:00Z")
            assert shown["totals"]["calls"] == len(APPS)

    async def test_a_call_is_in_the_range_from_its_start_up_to_but_not_at_its_end(self, configure: Configure) -> None:
        await fill(await configure(), [(usage_event(timestamp="2024-02-29T12:00:00Z"), "0")])
        for from_, to, calls in (("12", "13", 1), ("11", "12", 0), ("13", "14", 0)):
            query = f"from=2024-02-29T{from_}:00:00Z&to=2024-02-29T{to}:00:00Z"
            assert (await ask("usage", query)).json["totals"]["calls"] == calls


class TestMistakes:
    @pytest.mark.parametrize(
        ("query", "code", "parameter"),
        [
            ("frm=2024-02-29T00:00:00Z", "unknown_parameter", "frm"),
            ("from=", "invalid_parameter", "from"),
            ("to=2024-02-29", "invalid_parameter", "to"),
            ("from=2024-03-01T00:00:00Z&to=2024-02-29T00:00:00Z", "invalid_range", "from"),
            ("from=2020-01-01T00:00:00Z&to=2024-02-29T00:00:00Z", "range_too_long", "from"),
            ("granularity=week", "invalid_parameter", "granularity"),
            ("granularity=day&granularity=hour", "invalid_parameter", "granularity"),
            ("group_by=team", "invalid_parameter", "group_by"),
            (f"{TWO_MONTHS}&group_by=user", "dimension_not_aggregated", "group_by"),
            (f"{TWO_MONTHS}&user=me", "dimension_not_aggregated", "user"),
            (f"{TWO_MONTHS}&granularity=day&tz=Asia/Kolkata", "zone_not_aggregated", "tz"),
            ("from=2014-01-01T00:00:00Z&to=2014-01-02T00:00:00Z&user=me", "calls_not_kept", "from"),
            ("from=2014-01-01T00:00:00Z&to=2014-01-02T00:00:00Z&tz=Asia/Kolkata", "calls_not_kept", "from"),
            ("tz=Europe/Berln", "invalid_parameter", "tz"),
            ("order_by=tokens", "invalid_parameter", "order_by"),
            ("limit=0", "invalid_parameter", "limit"),
            ("cursor=", "invalid_parameter", "cursor"),
            ("cursor=AAAA", "invalid_cursor", "cursor"),
            ("app", "invalid_parameter", "app"),
            ("=x", "unknown_parameter", ""),
        ],
    )
    async def test_each_is_a_400_in_the_one_shape(
        self, configure: Configure, query: str, code: str, parameter: str
    ) -> None:
        await configure()
        reply = await ask("usage", query)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, code, parameter)

    async def test_the_function_key_is_let_through(self, configure: Configure) -> None:
        await configure()
        assert (await ask("usage", "code=abc%3D%3D&granularity=day")).status == 200

    async def test_a_query_string_without_end_is_refused(self, configure: Configure) -> None:
        await configure()
        reply = await ask("usage", "app=" + "x" * 20_000)
        assert (reply.status, reply.error["code"]) == (414, "query_too_long")

    async def test_a_message_shows_what_came_but_not_at_any_length(self, configure: Configure) -> None:
        await configure()
        reply = await ask("usage", f"granularity={quote('<script>' * 500)}")
        assert "<script>" in reply.error["message"]
        assert len(reply.error["message"]) < 300


class TestCursor:
    QUESTION: ClassVar = {
        "from": "2024-02-29T00:00:00Z",
        "to": "2024-03-01T00:00:00Z",
        "limit": "2",
        "order_by": "-calls",
    }

    async def test_a_cursor_serves_its_own_question_only(self, hostile: None) -> None:
        """Another filter, range, order or endpoint, a changed or cut cursor: each is refused in the same words."""
        cursor = (await ask("usage", self.QUESTION)).json["next_cursor"]
        for changes in ({}, {"limit": "3"}, {"format": "csv"}, {"code": "some-key"}):
            assert (await ask("usage", {**self.QUESTION, **changes, "cursor": cursor})).status == 200
        forged = [
            cursor[:-1],
            cursor + "=",
            cursor + "A",
            "x" + cursor[1:],
            cursor[:30] + ("A" if cursor[30] != "A" else "B") + cursor[31:],
            "é",
            "=" * 9,
        ]
        others: list[dict[str, str]] = [
            *({"cursor": text} for text in forged),
            *(
                {"cursor": cursor, **change}
                for change in ({"app": "app-1"}, {"order_by": "calls"}, {"to": "2024-02-29T23:00:00Z"}, {"model": "x"})
            ),
        ]
        for change in others:
            reply = await ask("usage", {**self.QUESTION, **change})
            assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "invalid_cursor", "cursor")

    async def test_the_range_of_the_first_page_holds_for_all(self, configure: Configure) -> None:
        """Without `from` and `to` they are those of the moment the first page was asked for."""
        now = datetime.now(UTC)
        await fill(await configure(), [(usage_event(app_id=app, timestamp=now.isoformat()), "0") for app in "ab"])
        first = await ask("usage", {"limit": "1"})
        services.now, real = (lambda: now + timedelta(days=3)), services.now
        try:
            second = await ask("usage", {"limit": "1", "cursor": first.json["next_cursor"]})
        finally:
            services.now = real
        assert [row["app"] for row in (*first.json["rows"], *second.json["rows"])] == ["a", "b"]
        assert (first.json["from"], first.json["to"]) == (second.json["from"], second.json["to"])

    async def test_instances_share_the_key_and_csv_gives_the_cursor_in_a_header(
        self, configure: Configure, azurite: Azurite
    ) -> None:
        tables = environment(azurite)["TABLE_PREFIX"]
        events = [(usage_event(app_id=app, timestamp="2024-02-29T12:00:00Z"), "0") for app in "abc"]
        await fill(await configure(TABLE_PREFIX=tables), events)
        question = {**self.QUESTION, "format": "csv"}
        first = await ask("usage", question)
        await configure(TABLE_PREFIX=tables)  # as after a restart
        second = await ask("usage", {**question, "cursor": first.headers["X-Next-Cursor"]})
        assert [row["app"] for row in (*first.csv, *second.csv)] == ["a", "b", "c"]
        assert "X-Next-Cursor" not in second.headers


class TestZones:
    async def test_a_day_in_berlin_has_23_hours_when_clocks_go_forward(self, configure: Configure) -> None:
        first, last = utc(2024, 3, 30, 23), utc(2024, 3, 31, 21)
        times = [first - HOUR, first, last, last + HOUR]
        await fill(await configure(), [(usage_event(timestamp=time.isoformat()), "0") for time in times])
        query = "from=2024-03-30T00:00:00%2B01:00&to=2024-04-02T00:00:00%2B02:00&granularity=day&tz=Europe/Berlin"
        shown = (await ask("usage", query)).json
        assert [(row["start"], row["calls"]) for row in shown["rows"]] == [
            ("2024-03-30T00:00:00+01:00", 1),
            ("2024-03-31T00:00:00+01:00", 2),
            ("2024-04-01T00:00:00+02:00", 1),
        ]
        assert shown["source"] == "aggregates"

    async def test_a_day_in_india_begins_inside_an_hour_and_is_exact_all_the_same(self, configure: Configure) -> None:
        """18:30 UTC: the hour is split between two days by its calls, the others come from sums."""
        times = [
            utc(2024, 2, 28, 18, 29, 59),
            utc(2024, 2, 28, 18, 30),
            utc(2024, 2, 29, 18, 29),
            utc(2024, 2, 29, 18, 30),
        ]
        await fill(await configure(), [(usage_event(timestamp=time.isoformat()), "0") for time in times])
        query = "from=2024-02-28T00:00:00%2B05:30&to=2024-03-02T00:00:00%2B05:30&granularity=day&tz=Asia/Kolkata"
        shown = (await ask("usage", query)).json
        assert [(row["start"][:10], row["calls"]) for row in shown["rows"]] == [
            ("2024-02-28", 1),
            ("2024-02-29", 2),
            ("2024-03-01", 1),
        ]
        assert shown["source"] == "both"


class TestBounds:
    async def test_the_rows_of_calls_their_days_the_ranges_and_the_time_are_bounded(
        self, configure: Configure, azurite: Azurite
    ) -> None:
        tables = environment(azurite)["TABLE_PREFIX"]
        events = [(usage_event(timestamp="2024-02-29T12:00:00Z", user_id=f"u{number}"), "0") for number in range(101)]
        await fill(await configure(TABLE_PREFIX=tables), events)
        by_user = {**ONE_DAY, "group_by": "user"}
        assert len((await ask("usage", by_user)).json["rows"]) == 101

        await configure(TABLE_PREFIX=tables, QUERY_MAX_CALLS="100", QUERY_MAX_CALL_DAYS="1", QUERY_MAX_REQUESTS="100")
        reply = await ask("usage", by_user)
        assert (reply.status, reply.error["code"]) == (400, "too_much_to_read")
        assert "100 calls" in reply.error["message"]
        reply = await ask("usage", {**by_user, "to": "2024-03-01T01:00:00Z"})
        assert (reply.status, reply.error["code"]) == (400, "dimension_not_aggregated")
        assert "2 days" in reply.error["message"]
        apps = [(usage_event(timestamp="2024-02-28T12:00:00Z", app_id=f"app-{n}"), "0") for n in range(120)]
        await fill(await configure(TABLE_PREFIX=tables, QUERY_MAX_REQUESTS="100"), apps)
        reply = await ask("usage", {**ONE_DAY, "from": "2024-02-28T00:00:00Z", "to": "2024-03-01T00:00:00Z"})
        assert (reply.status, reply.error["code"]) == (400, "too_much_to_read")
        assert "120 ranges" in reply.error["message"]

    async def test_an_answer_that_takes_too_long_is_given_up(self, configure: Configure) -> None:
        found = await configure(QUERY_MAX_SECONDS="1")

        async def stuck(month: str) -> dict[str, int]:
            await asyncio.Event().wait()
            return {}

        found.directory.apps = stuck  # type: ignore[method-assign]
        reply = await ask("usage")
        assert (reply.status, reply.error["code"]) == (503, "too_slow")
        assert "1 second" in reply.error["message"]

    async def test_more_rows_than_a_page_are_all_read_and_the_bounds_are_named_errors(
        self, configure: Configure, azurite: Azurite
    ) -> None:
        """Two models in each of 501 hours: more rows than Table Storage gives at once (1,000) and each bound allows."""
        tables = environment(azurite)["TABLE_PREFIX"]
        hours = [(FIRST.replace(month=1, day=1) + number * HOUR).isoformat() for number in range(501)]
        events = [(usage_event(response_model=model, timestamp=hour), "0") for model in ("a", "b") for hour in hours]
        await fill(await configure(TABLE_PREFIX=tables), events)
        january = "from=2023-01-01T00:00:00Z&to=2023-02-01T00:00:00Z&granularity="

        shown = (await ask("usage", f"{january}hour")).json
        assert (len(shown["rows"]), shown["totals"]["calls"]) == (1002, 1002)

        await configure(TABLE_PREFIX=tables, QUERY_MAX_ROWS="1001")
        reply = await ask("usage", f"{january}hour")
        assert (reply.status, reply.error["code"]) == (400, "too_many_rows")
        assert "1001" in reply.error["message"]
        assert (await ask("usage", f"{january}hour&group_by=app")).json["totals"]["calls"] == 1002

        await configure(TABLE_PREFIX=tables, QUERY_MAX_ENTITIES="1001")
        reply = await ask("usage", f"{january}hour&group_by=app")
        assert (reply.status, reply.error["code"]) == (400, "too_much_to_read")
        assert "1001" in reply.error["message"]
        assert (await ask("usage", f"{january}day")).json["totals"]["calls"] == 1002

    async def test_the_longest_range_is_a_setting(self, configure: Configure) -> None:
        await configure(QUERY_MAX_DAYS="31")
        reply = await ask("usage", "from=2024-01-01T00:00:00Z&to=2024-03-01T00:00:00Z")
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "range_too_long", "from")
        assert "31" in reply.error["message"]


async def test_an_answer_tells_when_the_newest_of_it_was_counted(configure: Configure) -> None:
    """Of its own apps only, and of the range itself where it is compared with the one before."""
    before = datetime.now(UTC) - timedelta(seconds=1)  # the tables keep whole seconds
    await fill(await configure(), [(usage_event(app_id="a", timestamp="2024-02-29T12:00:00Z"), "0")])
    day = "from=2024-02-29T00:00:00Z&to=2024-03-01T00:00:00Z"
    told = datetime.fromisoformat((await ask("usage", f"{day}&figures=calls")).headers["X-Counted-At"])
    assert before <= told <= datetime.now(UTC)
    after = "from=2024-03-01T00:00:00Z&to=2024-03-02T00:00:00Z&compare=previous"
    for query in (f"{day}&app=b", after):
        assert "X-Counted-At" not in (await ask("usage", query)).headers


async def test_tables_that_are_not_there_yet_give_an_empty_answer(configure: Configure) -> None:
    await configure()
    shown = (await ask("usage")).json
    assert (shown["rows"], shown["totals"]["calls"], shown["coverage"]) == ([], 0, None)
    assert (await ask("usage", "app=x&format=csv")).csv == []


async def test_dimensions_that_are_not_configured_are_answered_from_calls(configure: Configure) -> None:
    await fill(await configure(AGGREGATE_DIMENSIONS=""), [(usage_event(timestamp="2024-02-29T12:00:00Z"), "0")])
    for query in ({"group_by": "product"}, {"group_by": "product", "product": "gold"}):
        shown = (await ask("usage", {**ONE_DAY, **query})).json
        assert (shown["source"], shown["not_aggregated"]) == ("calls", {})
        assert [(row["product"], row["calls"], row["total_tokens"]) for row in shown["rows"]] == [("gold", 1, 15)]
    assert (await ask("usage", ONE_DAY)).json["source"] == "aggregates"
    assert (await ask("usage", {**ONE_DAY, "product": "silver"})).json["rows"] == []


async def test_the_answer_needs_no_binding(configure: Configure) -> None:
    """`api.endpoints.answer` gives what the function gives, from a URL and headers."""
    await configure()
    response = await answer("usage", "/api/usage?granularity=total", {})
    assert response.status == 200
    assert json.loads(response.body)["granularity"] == "total"
    assert services.get().settings.dimensions == EXTRA_DIMENSIONS


async def test_the_reference_knows_a_total_in_which_reasoning_stands_beside_the_completion(
    configure: Configure,
) -> None:
    """As xAI tells it: with a total of 1, one token of reasoning is one of the completion."""
    tokens = Tokens(prompt=0, completion=0, stated_total=1, cached=None, reasoning=1)
    call = MadeCall("a", "m", None, None, None, 200, utc(2024, 1, 1), "0", tokens, None)
    await fill(await configure(), [(call.event(), "0")])
    asked = {"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z"}
    totals = (await ask("usage", asked)).json["totals"]
    counts = call.counts()
    assert {name: totals[name] for name in counts} == counts
    assert totals["completion_tokens"] == 1


@pytest.mark.parametrize("tz", ["Factory", "localtime", "posixrules"])
async def test_what_is_the_zone_of_no_place_is_refused(configure: Configure, tz: str) -> None:
    await configure()
    error = (await ask("usage", {"tz": tz})).error
    assert (error["code"], error["parameter"]) == ("invalid_parameter", "tz")
