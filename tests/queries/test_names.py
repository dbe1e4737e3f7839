"""queries.names: a question reads the apps that its filters, its cost centres and its caller leave, all at once."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from queries.names import Names, narrowed
from queries.question import UsageQuery

NAMES = Names(cost_centers={"a": "1", "b": "1", "c": "2"})
apps = st.none() | st.frozensets(st.sampled_from("abcd"))


@given(asked=apps, allowed=apps, centers=st.none() | st.frozensets(st.sampled_from("123"), min_size=1))
def test_only_what_all_of_them_leave(
    asked: frozenset[str] | None, allowed: frozenset[str] | None, centers: frozenset[str] | None
) -> None:
    filters = {name: values for name, values in (("app", asked), ("cost_center", centers)) if values is not None}
    query = UsageQuery(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), "day", (), filters)
    left = narrowed(query, NAMES, allowed).filters.get("app")
    if asked is allowed is centers is None:
        assert left is None
        return
    assert left == frozenset(
        app
        for app in "abcd"
        if (asked is None or app in asked)
        and (allowed is None or app in allowed)
        and (centers is None or NAMES.cost_centers.get(app) in centers)
    )
