"""Whether an app is within its budgets."""

import json
from typing import Any

import pytest

from api.openapi.budget_shapes import BudgetStatusAnswer
from budgets.status import status
from ledger.budgets import BudgetNotes
from local.azurite import Azurite
from models.registry import AppEntry
from tests.budgets.evaluating import DAY, app, at, enter, run, used
from tests.support.faulty import FaultyStore


async def test_an_app_is_within_all_budgets_that_cover_it_or_not(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await services.apps.put("search", AppEntry(cost_center="4711").columns(), None)
        await enter(services, "own", app="search", limit=700)
        await enter(services, "center", cost_center="4711", limit=800)
        await enter(services, "model", app="search", model="m", limit=1)
        await used(services, 600, f"{DAY}T10:00", response_model="m")
        await run(services, f"{DAY}T12:00")
        noon = at(f"{DAY}T12:01")
        found = await status(services, "search", True, noon)
        assert (found["state"], found["until"], found["age_seconds"]) == ("within", None, 60)
        assert {each["id"]: each["state"] for each in found["budgets"]} == {
            "own": "within",
            "center": "within",
            "model": "exceeded",
        }
        assert (await status(services, "other", True, noon))["state"] == "no_budget"

        await used(services, 100, f"{DAY}T12:02")
        await run(services, f"{DAY}T12:05")
        found = await status(services, "search", True, at(f"{DAY}T12:06"))
        assert (found["state"], found["until"]) == ("exceeded", "2024-03-01T00:00:00Z")
        # The next day nothing is known until the timer has run: nobody is refused for yesterday's use.
        assert (await status(services, "search", True, at("2024-03-01T00:01")))["state"] == "unknown"
        limited = await status(services, "search", False, noon)
        assert {each["id"] for each in limited["budgets"]} == {"own", "model"}
        assert limited["state"] == "exceeded"


@pytest.mark.parametrize("of", [{}, {"cost_center": "4711"}])
async def test_what_a_caller_may_not_see_decides_all_the_same(azurite: Azurite, of: dict[str, str]) -> None:
    async with app(azurite) as services:
        await services.apps.put("search", AppEntry(cost_center="4711").columns(), None)
        await enter(services, "own", app="search", limit=700)
        await enter(services, "wider", **of, limit=500)
        await used(services, 600, f"{DAY}T10:00")
        await run(services, f"{DAY}T12:00")
        whole, limited = [await status(services, "search", sees_all, at(f"{DAY}T12:01")) for sees_all in (True, False)]
        assert (limited["state"], limited["until"]) == ("exceeded", "2024-03-01T00:00:00Z")
        assert [each["id"] for each in limited["budgets"]] == ["own"]
        assert {**limited, "budgets": whole["budgets"]} == whole


async def test_at_most_sixteen_are_shown_those_that_decide_first(azurite: Azurite) -> None:
    async with app(azurite) as services:
        for number in range(18):
            await enter(services, f"all-{number}", limit=500 if number == 17 else 1000)
            await enter(services, f"own-{number}", app="search")
        await used(services, 600, f"{DAY}T10:00")
        await run(services, f"{DAY}T12:00")
        found, limited = [await status(services, "search", sees, at(f"{DAY}T12:01")) for sees in (True, False)]
        assert (found["state"], found["budgets"][0]["id"], len(found["budgets"])) == ("exceeded", "all-17", 16)
        assert {each["covers"] for each in limited["budgets"]} == {"app"}
        assert len(limited["budgets"]) == 16


LATER_VERSION = {"period": "week", "unit": "tokens", "limit": "10", "thresholds": [50]}
"""Of a budget, as a later version of this app may have written it."""


@pytest.mark.parametrize(
    ("of", "states"),
    [
        ({"app": "search"}, ("unknown", "within", "exceeded")),
        ({"cost_center": "4711"}, ("unknown", "within", "exceeded")),
        ({"apps": ["search"]}, ("unknown", "unknown", "exceeded")),  # nobody can tell whom it covers
        ({"app": "search", "model": "m"}, ("within", "within", "exceeded")),
    ],
)
async def test_a_budget_that_cannot_be_read_is_not_known(
    azurite: Azurite, of: dict[str, Any], states: tuple[str, ...]
) -> None:
    async with app(azurite) as services:
        await services.apps.put("search", AppEntry(cost_center="4711").columns(), None)
        for name in ("search", "shop", "spent"):
            await enter(services, f"good-{name}", app=name, limit=500)
        await services.budgets.edit("bad", lambda _: {**LATER_VERSION, **of}, at("2024-02-28"))
        await used(services, 600, f"{DAY}T10:00", app_id="spent")
        report = await run(services, f"{DAY}T12:00")
        assert (report.budgets, report.failed) == (4, 1)
        found = [await status(services, name, True, at(f"{DAY}T12:01")) for name in ("search", "shop", "spent")]
        assert tuple(each["state"] for each in found) == states
        [bad] = [each for each in found[0]["budgets"] if each["id"] == "bad"]
        assert (bad["state"], bad["version"], bad["limit"], bad["period_end"]) == ("unknown", 1, None, None)
        BudgetStatusAnswer.model_validate_json(json.dumps(found[0]))


async def test_a_budget_that_cannot_be_read_is_all_there_is(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await services.budgets.edit("bad", lambda _: {**LATER_VERSION, "app": "search"}, at("2024-02-28"))
        await run(services, f"{DAY}T12:00")
        states = [(await status(services, name, True, at(f"{DAY}T12:01")))["state"] for name in ("search", "shop")]
        assert states == ["unknown", "no_budget"]


async def test_a_budget_of_everything_covers_apps_that_the_timer_never_saw(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "all", limit=500)
        await used(services, 600, f"{DAY}T10:00")
        await run(services, f"{DAY}T12:00")
        found = await status(services, "brand new", True, at(f"{DAY}T12:01"))
        assert (found["state"], [each["covers"] for each in found["budgets"]]) == ("exceeded", ["everything"])


async def test_long_names_of_models_do_not_keep_it_from_being_noted(azurite: Azurite) -> None:
    """What decides is noted before the others."""
    async with app(azurite) as services:
        await enter(services, "own", app="search", limit=700)
        for number in range(16):
            await enter(services, f"b{number}", app="search", model=f"{number:02}" + "\N{GRINNING FACE}" * 254, limit=1)
        await used(services, 701, f"{DAY}T10:00")
        for minute in ("00", "05"):
            await run(services, f"{DAY}T12:{minute}")
        found = await status(services, "search", True, at(f"{DAY}T12:06"))
        assert (found["state"], found["age_seconds"], found["budgets"][0]["id"]) == ("exceeded", 60, "own")
        assert 5 < len(found["budgets"]) < 16


async def test_it_is_one_point_read(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "all")
        await enter(services, "own", app="search")
        await run(services, f"{DAY}T12:00")
        store = FaultyStore(services.budget_notes._store, lambda number: None)
        services.budget_notes = BudgetNotes(store)
        await status(services, "search", True, at(f"{DAY}T12:01"))
        first = store.requests
        for name in ("search", "other", "search"):
            await status(services, name, True, at(f"{DAY}T12:01"))
        assert (first, store.requests - first) == (2, 3)


async def test_what_covers_an_app_no_more_is_forgotten(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "own", app="search", limit=1)
        await used(services, 600, f"{DAY}T10:00")
        await run(services, f"{DAY}T12:00")
        await enter(services, "own", edited=f"{DAY}T12:01", app="other", limit=1)
        await run(services, f"{DAY}T12:05")
        assert (await status(services, "search", True, at(f"{DAY}T12:06")))["state"] == "no_budget"
