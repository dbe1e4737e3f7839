"""queries.question: the parameters of a request. Every mistake names the parameter and says what is possible."""

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.call import DIMENSIONS
from models.errors import QueryError
from queries.answer import FIGURES
from queries.parameters import MAX_FILTER_VALUES
from queries.question import Terms, UsageQuery, filters_of, usage_query

NOW = datetime(2026, 11, 20, 12, 34, 56, 789000, tzinfo=UTC)
CONFIGURED = ("deployment", "product")
MAX_DAYS = 800


def asked(query: str, *, max_days: int = MAX_DAYS) -> UsageQuery:
    """A query string as `/api/usage` reads it, at NOW."""
    return usage_query(parse_qs(query, keep_blank_values=True), NOW, terms(max_days))


def terms(max_days: int = MAX_DAYS) -> Terms:
    return Terms(CONFIGURED, FIGURES, max_days, max_rows=1000)


def refused(query: str, *, max_days: int = MAX_DAYS) -> QueryError:
    """The error for a query string; its status is the caller's fault."""
    with pytest.raises(QueryError) as caught:
        asked(query, max_days=max_days)
    assert 400 <= caught.value.status < 500
    assert str(caught.value)
    return caught.value


class TestDefaults:
    def test_without_parameters_the_last_24_hours_by_hour_app_and_model(self) -> None:
        assert asked("") == UsageQuery(
            start=datetime(2026, 11, 19, 12, tzinfo=UTC),
            end=datetime(2026, 11, 20, 13, tzinfo=UTC),
            granularity="hour",
            group_by=("app", "model"),
            filters={},
        )

    def test_from_lies_24_hours_before_the_given_to(self) -> None:
        query = asked("to=2024-03-01T00:00:00Z")
        assert query.start == datetime(2024, 2, 29, tzinfo=UTC)
        assert query.end == datetime(2024, 3, 1, tzinfo=UTC)

    def test_to_is_now_if_only_from_is_given(self) -> None:
        assert asked("from=2026-11-01T00:00:00Z").end == datetime(2026, 11, 20, 13, tzinfo=UTC)

    def test_the_function_key_is_the_platforms_parameter_not_a_mistake(self) -> None:
        assert asked("code=some-key") == asked("")


class TestRange:
    @pytest.mark.parametrize(
        ("from_", "to", "start_hour", "end_hour"),
        [
            ("2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z", 10, 11),
            ("2026-11-20T10:59:59.999999Z", "2026-11-20T11:00:00.000001Z", 10, 12),
            ("2026-11-20T10:30:00Z", "2026-11-20T10:31:00Z", 10, 11),
            ("2026-11-20t10:00:00z", "2026-11-20 11:00:00Z", 10, 11),
            ("2026-11-20T10:00:00.123456789Z", "2026-11-20T11:00:00-00:00", 10, 11),
        ],
    )
    def test_a_range_is_widened_to_full_hours(self, from_: str, to: str, start_hour: int, end_hour: int) -> None:
        query = asked(urlencode({"from": from_, "to": to}))
        assert query.start == datetime(2026, 11, 20, start_hour, tzinfo=UTC)
        assert query.end == datetime(2026, 11, 20, end_hour, tzinfo=UTC)

    @given(
        st.timedeltas(timedelta(), timedelta(days=1000)).map(lambda age: NOW - timedelta(days=1) - age),
        st.integers(-14 * 60, 14 * 60),
        st.booleans(),
    )
    def test_any_offset_names_the_same_instant_even_if_its_plus_came_as_a_space(
        self, instant: datetime, offset_minutes: int, encoded: bool
    ) -> None:
        """A plus in a query string means a space, and few people know; the time meant is clear all the same."""
        local = instant.astimezone(timezone(timedelta(minutes=offset_minutes))).isoformat()
        query = asked(f"from={quote(local) if encoded else local}&to=2026-11-20T00:00:00Z", max_days=4000)
        assert query.start == instant.replace(minute=0, second=0, microsecond=0)

    @pytest.mark.parametrize("name", ["from", "to"])
    @pytest.mark.parametrize(
        "value",
        [
            "yesterday",
            "2026-11-20",
            "2026-11-20T10:00:00",  # naive: whose 10 o'clock?
            "2026-11-20T10:00Z",
            "2026-11-20T10:00:00+0100",
            "2026-11-20T10:00:00+25:00",
            "2026-02-30T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-11-20T10:00:00Z; drop",
            "1732060800",
            "٢٠٢٦-11-20T10:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "1999-12-31T23:59:59Z",
            "2101-01-01T00:00:00Z",
        ],
    )
    def test_what_is_no_time_with_its_zone_is_refused_with_an_example(self, name: str, value: str) -> None:
        error = refused(urlencode({name: value}))
        assert (error.code, error.parameter) == ("invalid_parameter", name)
        assert "expected" in str(error)
        assert "2026-11-20T13:00:00Z" in str(error) or "2000 to 2100" in str(error)

    @pytest.mark.parametrize(
        "query",
        [
            "from=2026-11-20T10:00:00Z&to=2026-11-20T10:00:00Z",
            "from=2026-11-20T11:00:00Z&to=2026-11-20T10:00:00Z",
            "from=2026-11-20T11:00:00%2B02:00&to=2026-11-20T08:00:00Z",
            "from=2026-12-24T00:00:00Z",  # after now
        ],
    )
    def test_a_range_that_is_empty_or_reversed_is_refused(self, query: str) -> None:
        error = refused(query)
        assert (error.code, error.parameter) == ("invalid_range", "from")

    def test_a_range_may_be_as_long_as_the_bound_and_no_longer(self) -> None:
        exact = "from=2026-11-01T00:00:00Z&to=2026-11-08T00:00:00Z"
        assert asked(exact, max_days=7).end - asked(exact, max_days=7).start == timedelta(days=7)
        error = refused("from=2026-11-01T00:00:00Z&to=2026-11-09T00:00:00Z", max_days=7)
        assert (error.code, error.parameter) == ("range_too_long", "from")
        assert "8 days" in str(error)
        assert "7" in str(error)

    @pytest.mark.parametrize("days", [7, 800])
    def test_the_message_of_a_range_a_second_too_long_does_not_contradict_itself(self, days: int) -> None:
        """Not: the range is 7 days, the most is 7."""
        start = datetime(2024, 1, 1, tzinfo=UTC)
        end = start + timedelta(days=days, seconds=1)
        error = refused(urlencode({"from": start.isoformat(), "to": end.isoformat()}), max_days=days)
        assert str(error).count(str(days)) == 1


class TestUnknownParameters:
    @pytest.mark.parametrize(
        ("given_name", "meant"),
        [
            ("frm", "from"),
            ("From", "from"),
            ("too", "to"),
            ("granularty", "granularity"),
            ("groupby", "group_by"),
            ("group-by", "group_by"),
            ("models", "model"),
            ("apps", "app"),
            ("products", "product"),
            ("deploymnt", "deployment"),
        ],
    )
    def test_an_unknown_name_is_refused_with_the_nearest_valid_one(self, given_name: str, meant: str) -> None:
        error = refused(f"{given_name}=x")
        assert (error.code, error.parameter) == ("unknown_parameter", given_name)
        assert f"did you mean {meant}?" in str(error)

    @pytest.mark.parametrize(("given_name", "meant"), [("GROUP_BY", "group_by"), ("TO", "to"), ("groupBy", "group_by")])
    def test_a_name_in_another_case_is_near(self, given_name: str, meant: str) -> None:
        assert f"did you mean {meant}?" in str(refused(f"{given_name}=x"))

    def test_a_name_unlike_any_gets_the_list_of_all(self) -> None:
        error = refused("zzzzzzzz=1")
        assert error.code == "unknown_parameter"
        assert all(name in str(error) for name in ("from", "to", "granularity", "group_by", "app", "model", "product"))

    def test_a_very_long_name_is_not_repeated_whole(self) -> None:
        error = refused("x" * 5_000 + "=1")
        assert len(str(error)) < 400
        assert len(error.parameter or "") < 100

    @pytest.mark.parametrize("name", sorted(set(DIMENSIONS) - set(CONFIGURED)))
    def test_a_dimension_that_is_not_configured_is_answered_from_calls(self, name: str) -> None:
        value = {"status": "429", "stream": "true"}.get(name, "x")
        assert asked(f"{name}={value}").from_calls == asked(f"group_by=app,{name}").from_calls == (name,)

    def test_configured_dimensions_are_answered_from_sums(self) -> None:
        assert asked("group_by=app,model,deployment&product=x").from_calls == ()


class TestGranularity:
    @pytest.mark.parametrize("granularity", ["hour", "day", "month", "total"])
    def test_known(self, granularity: str) -> None:
        assert asked(f"granularity={granularity}").granularity == granularity

    @pytest.mark.parametrize("granularity", ["week", "Day", "1d", "hour,day"])
    def test_unknown(self, granularity: str) -> None:
        error = refused(f"granularity={granularity}")
        assert (error.code, error.parameter) == ("invalid_parameter", "granularity")
        assert "hour, day, month, total" in str(error)


class TestGroupBy:
    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("group_by=app", ("app",)),
            ("group_by=product,app", ("product", "app")),
            ("group_by=model, app", ("model", "app")),
            ("group_by=app&group_by=model", ("app", "model")),
            ("group_by=none", ()),
            ("group_by=app,model,deployment,product", ("app", "model", "deployment", "product")),
        ],
    )
    def test_known(self, query: str, names: tuple[str, ...]) -> None:
        assert asked(query).group_by == names

    @pytest.mark.parametrize("value", ["team", "", "app,", ",", "app,,model", "none,app", "app;model", "App"])
    def test_unknown(self, value: str) -> None:
        error = refused(urlencode({"group_by": value}))
        assert (error.code, error.parameter) == ("invalid_parameter", "group_by")
        assert "app, model, cost_center, deployment" in str(error)
        assert "none" in str(error)

    @pytest.mark.parametrize("query", ["group_by=app,app", "group_by=app&group_by=app", "group_by=app,model, app"])
    def test_twice(self, query: str) -> None:
        error = refused(query)
        assert (error.code, error.parameter) == ("invalid_parameter", "group_by")
        assert "twice" in str(error)


class TestZone:
    def test_a_zone_is_an_iana_name(self) -> None:
        assert asked("tz=Europe/Berlin").zone.key == "Europe/Berlin"
        assert asked("tz=Etc/GMT%2B5").zone == asked("tz=Etc/GMT+5").zone

    @pytest.mark.parametrize(
        ("value", "hint"),
        [
            ("europe/berlin", "did you mean Europe/Berlin?"),
            ("Europe/Berln", "did you mean Europe/Berlin?"),
            ("+01:00", "IANA name"),
            ("../../etc/passwd", "IANA name"),
            ("/etc/localtime", "IANA name"),
            ("Europe", "IANA name"),
            ("Europe/Berlin\x00", "IANA name"),
            ("x" * 2000, "IANA name"),
        ],
    )
    def test_what_is_none_is_refused_with_the_nearest(self, value: str, hint: str) -> None:
        error = refused(urlencode({"tz": value}))
        assert (error.code, error.parameter) == ("invalid_parameter", "tz")
        assert hint in str(error)

    def test_a_range_is_widened_to_full_hours_of_the_zone(self) -> None:
        query = asked("tz=Asia/Kolkata&from=2026-11-19T18:45:00Z&to=2026-11-20T18:30:00Z")
        assert query.start == datetime(2026, 11, 19, 18, 30, tzinfo=UTC)
        assert query.end == datetime(2026, 11, 20, 18, 30, tzinfo=UTC)


class TestOrderAndLimit:
    @pytest.mark.parametrize("figure", ["start", "calls", "total_tokens", "audio_seconds", "latency_ms_p95"])
    def test_any_figure_orders_a_minus_turns_it_round(self, figure: str) -> None:
        assert (asked(f"order_by={figure}").order_by, asked(f"order_by={figure}").descending) == (figure, False)
        assert (asked(f"order_by=-{figure}").order_by, asked(f"order_by=-{figure}").descending) == (figure, True)

    @pytest.mark.parametrize(
        ("value", "hint"), [("total_token", "total_tokens?"), ("app", "such as"), ("--calls", "-calls?")]
    )
    def test_what_is_no_figure_is_refused_with_the_nearest(self, value: str, hint: str) -> None:
        error = refused(f"order_by={value}")
        assert (error.code, error.parameter) == ("invalid_parameter", "order_by")
        assert hint in str(error)

    def test_a_limit_is_a_whole_number_within_the_bound(self) -> None:
        assert asked("limit=1").limit == 1
        assert asked("limit=1000").limit == 1000
        for value in ("0", "1001", "-1", "1.5", "ten", "٣", "1e2"):
            error = refused(urlencode({"limit": value}))
            assert (error.code, error.parameter) == ("invalid_parameter", "limit")
            assert "1 to 1000" in str(error)


class TestFilters:
    def test_a_filter_may_be_repeated_and_its_values_are_taken_as_they_are(self) -> None:
        query = asked("app=a,b&app=%20c%20&model=%3Dx&product=gold")
        assert query.filters == {
            "app": frozenset({"a,b", " c "}),
            "model": frozenset({"=x"}),
            "product": frozenset({"gold"}),
        }

    @pytest.mark.parametrize("name", ["app", "model", *CONFIGURED])
    @pytest.mark.parametrize("query", ["{0}=", "{0}", "{0}=x&{0}="])
    def test_an_empty_value_is_a_mistake_not_a_filter_for_nothing(self, name: str, query: str) -> None:
        error = refused(query.format(name))
        assert (error.code, error.parameter) == ("invalid_parameter", name)
        assert "empty" in str(error)

    def test_values_are_bounded(self) -> None:
        values = [f"app-{number}" for number in range(MAX_FILTER_VALUES + 1)]
        assert len(asked(urlencode({"app": values[:-1]}, doseq=True)).filters["app"]) == MAX_FILTER_VALUES
        error = refused(urlencode({"app": values}, doseq=True))
        assert (error.code, error.parameter) == ("invalid_parameter", "app")
        assert str(MAX_FILTER_VALUES) in str(error)


@pytest.mark.parametrize("name", ["from", "to", "granularity", "tz", "order_by", "limit"])
class TestSingleParameters:
    def test_empty(self, name: str) -> None:
        for query in (f"{name}=", name, f"{name}=%20"):
            error = refused(query)
            assert (error.code, error.parameter) == ("invalid_parameter", name)
            assert "empty" in str(error)

    def test_repeated(self, name: str) -> None:
        value = {"granularity": "day", "tz": "UTC", "order_by": "calls", "limit": "9"}.get(name, "2026-11-20T10:00:00Z")
        error = refused(urlencode([(name, value), (name, value)]))
        assert (error.code, error.parameter) == ("invalid_parameter", name)
        assert "2 times" in str(error)


@given(
    st.dictionaries(
        st.sampled_from(["from", "to", "granularity", "group_by", "app", "model", "product", "user", "code", "format"])
        | st.text(max_size=8),
        st.lists(
            st.text(max_size=30)
            | st.sampled_from(["hour", "app,model", "none", "2026-11-20T10:00:00Z"])
            | st.datetimes().map(lambda time: time.isoformat() + "Z")
            | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[ +-]\d\d:\d\d)", fullmatch=True),
            min_size=1,
            max_size=3,
        ),
        max_size=4,
    )
)
def test_whatever_is_asked_gets_a_query_or_an_error_with_a_code(parameters: dict[str, list[str]]) -> None:
    """No parameter can break the reader, and what it accepts lies on full hours within the bound."""
    try:
        query = usage_query(parameters, NOW, terms())
    except QueryError as error:
        assert error.code
        assert 400 <= error.status < 500
        assert len(str(error)) < 600
    else:
        assert query.start < query.end
        assert query.end - query.start <= timedelta(days=MAX_DAYS, hours=2)
        assert {(time.minute, time.second, time.microsecond) for time in (query.start, query.end)} == {(0, 0, 0)}
        assert len(set(query.group_by)) == len(query.group_by)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stream", "True"), ("status", "abc"), ("status", "20x"), ("usage_state", "bogus"), ("missing_reason", "x")],
)
def test_a_filter_that_can_find_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(QueryError, match="expected") as caught:
        filters_of({name: [value]}, (name,))
    assert (caught.value.code, caught.value.parameter) == ("invalid_parameter", name)


def test_figures_are_a_list_of_those_of_a_row() -> None:
    assert asked("figures=cost,%20latency_ms_p95").figures == {"cost", "latency_ms_p95"}
    assert asked("").figures == frozenset()


@pytest.mark.parametrize("value", ["costs", "cost,", "start", "latency_ms"])
def test_a_figure_that_no_row_has_is_refused(value: str) -> None:
    error = refused(f"figures={value}")
    assert (error.code, error.parameter) == ("invalid_parameter", "figures")
