"""/api/prices: which price applies, what has none, and the operator's own with their history."""

from typing import Any

import pytest

from tests.api.asked import Reply, ask, ask_one
from tests.api.conftest import Configure
from tests.queries.filled import fill
from tests.support.events import usage_event

NOVEMBER = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
GOOD: dict[str, Any] = {"model": "gpt-4o*", "per_million": {"prompt_tokens": "2", "completion_tokens": "8"}}


async def price(name: str, method: str = "GET", body: object = None, query: str = "", **headers: str) -> Reply:
    sent = {header.replace("_", "-"): value for header, value in headers.items()}
    return await ask_one("price", "prices", "id", name, query, method=method, body=body, headers=sent)


async def cost() -> Any:
    return (await ask("usage", NOVEMBER | {"granularity": "month"})).json["totals"]["cost"]


@pytest.fixture
async def million(configure: Configure) -> None:
    """One call of a million prompt tokens in November, and one of a model that nobody knows."""
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    events = [usage_event(usage=usage), usage_event(usage=usage, response_model="somebody's", deployment="own")]
    await fill(await configure(), [(event, "0") for event in events])


class TestListing:
    async def test_each_model_has_its_prices_with_their_source_and_time(self, million: None) -> None:
        await price("contract", "PUT", GOOD | {"valid_from": "2026-11-10T00:00:00Z", "source": "contract 4711"})
        shown = (await ask("prices", NOVEMBER)).json
        assert shown["currency"] == "USD"
        assert shown["catalogue"].startswith("genai-prices 0.2.")
        named = {model["model"]: model for model in shown["models"]}
        assert (named["somebody's"]["deployments"], named["somebody's"]["prices"]) == (["own"], [])
        own, listed = named["gpt-4o-2024-08-06"]["prices"]
        assert own == {
            "source": "prices/contract: contract 4711",
            "scope": {},
            "valid_from": "2026-11-10T00:00:00Z",
            "valid_to": None,
            "per_million": {"prompt_tokens": "2", "completion_tokens": "8"},
            "approximations": {},
        }
        assert (listed["valid_from"], listed["valid_to"], listed["per_million"]["prompt_tokens"]) == (None, None, "2.5")
        assert "gpt-4o (azure, at the price of openai)" in listed["source"]
        assert [each["id"] for each in shown["own"]] == ["contract"]

    async def test_at_a_time_only_what_applies_then_is_shown(self, million: None) -> None:
        await price("contract", "PUT", GOOD | {"valid_from": "2026-11-10T00:00:00Z"})
        for at, count in (("2026-11-09T23:00:00Z", 1), ("2026-11-10T00:00:00Z", 2)):
            shown = (await ask("prices", {"model": "gpt-4o", "at": at})).json
            assert [len(model["prices"]) for model in shown["models"]] == [count]

    async def test_a_model_that_had_no_calls_can_be_asked_for(self, configure: Configure) -> None:
        await configure()
        (model,) = (await ask("prices", {"model": "gemini-2.5-pro"})).json["models"]
        assert list(model["prices"][0]["approximations"]) == ["long_prompts"]
        assert (await ask("prices", {"model": "nobody's"})).json["models"][0]["prices"] == []

    async def test_what_has_no_price_is_listed_with_how_much_it_is(self, million: None) -> None:
        shown = (await ask("prices", NOVEMBER | {"missing": "1"})).json
        assert shown["missing"] == [
            {
                "model": "somebody's",
                "deployment": "own",
                "calls": 1,
                "unpriced_tokens": 1_000_000,
                "unpriced_audio_seconds": 0,
            }
        ]
        await price("own", "PUT", GOOD | {"model": "somebody's", "scope": {"deployment": "own"}})
        assert (await ask("prices", NOVEMBER | {"missing": "1"})).json["missing"] == []

    async def test_of_the_calls_without_a_price_only_those_with_usage_are_told(self, configure: Configure) -> None:
        """A price from the 10th on, and calls before and after it, one of which reported nothing."""
        usage = {"prompt_tokens": 10, "completion_tokens": 0}
        days = {"05": usage, "06": None, "12": usage}
        events = [
            usage_event(usage=told, response_model="somebody's", timestamp=f"2026-11-{day}T00:00:00Z")
            for day, told in days.items()
        ]
        await fill(await configure(), [(event, "0") for event in events])
        await price("own", "PUT", GOOD | {"model": "somebody's", "valid_from": "2026-11-10T00:00:00Z"})
        (row,) = (await ask("prices", NOVEMBER | {"missing": "1"})).json["missing"]
        assert (row["calls"], row["unpriced_tokens"]) == (1, 10)

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ("missing=2", "missing"),
            ("missing=", "missing"),
            ("at=2026-11-01T00:30:00Z", "at"),
            ("at=now", "at"),
            ("modle=x", "modle"),
            ("model=", "model"),
            ("from=2026-12-01T00:00:00Z&to=2026-11-01T00:00:00Z", "from"),
            ("missing=1&from=2020-01-01T00:00:00Z", "from"),
        ],
    )
    async def test_mistakes_are_named(self, configure: Configure, query: str, parameter: str) -> None:
        await configure()
        reply = await ask("prices", query)
        assert (reply.status, reply.error["parameter"]) == (400, parameter)

    async def test_without_a_catalogue_there_is_none(self, configure: Configure) -> None:
        await configure(PRICE_PROVIDERS="")
        shown = (await ask("prices", {"model": "gpt-4o"})).json
        assert (shown["catalogue"], shown["models"][0]["prices"]) == (None, [])


class TestOwn:
    async def test_entering_and_correcting_a_price_corrects_history_and_keeps_its_own(self, million: None) -> None:
        assert await cost() == "2.5"
        made = await price("contract", "PUT", GOOD)
        assert (made.status, made.headers["ETag"], made.json["version"]) == (201, '"1"', 1)
        assert await cost() == "2"
        per_million = {"prompt_tokens": "1.99", "completion_tokens": "8"}
        edited = await price("contract", "PUT", GOOD | {"per_million": per_million})
        assert (edited.status, edited.headers["ETag"]) == (200, '"2"')
        assert await cost() == "1.99"
        kept = await price("contract")
        assert [one["per_million"]["prompt_tokens"] for one in kept.json["history"]] == ["2", "1.99"]
        assert [one["version"] for one in kept.json["history"]] == [1, 2]
        assert {name: kept.json[name] for name in edited.json} == edited.json

    async def test_putting_the_same_again_changes_nothing(self, configure: Configure) -> None:
        await configure()
        first = await price("contract", "PUT", GOOD)
        again = await price("contract", "PUT", GOOD, if_match='"7"')
        assert (again.status, again.json) == (200, first.json)

    async def test_deleting_ends_validity_and_what_was_charged_stays(self, million: None) -> None:
        await price("contract", "PUT", GOOD)
        ended = await price("contract", "DELETE", query="valid_to=2026-11-20T13:00:00Z")
        assert (ended.status, ended.json["valid_to"]) == (200, "2026-11-20T13:00:00Z")
        assert await cost() == "2"
        await price("contract", "DELETE", query="valid_to=2026-11-20T12:00:00Z")
        assert await cost() == "2.5"
        assert len((await price("contract")).json["history"]) == 3

    async def test_a_price_that_ends_before_it_began_never_applies(self, million: None) -> None:
        await price("mistake", "PUT", GOOD | {"valid_from": "2026-11-01T00:00:00Z"})
        ended = await price("mistake", "DELETE", query="valid_to=2026-10-01T00:00:00Z")
        assert ended.json["valid_from"] == ended.json["valid_to"] == "2026-11-01T00:00:00Z"
        assert await cost() == "2.5"

    async def test_by_default_it_ends_with_this_hour_and_no_later_than_it_did(self, configure: Configure) -> None:
        await configure()
        await price("a", "PUT", GOOD)
        assert (await price("a", "DELETE")).json["valid_to"].endswith(":00:00Z")
        await price("b", "PUT", GOOD | {"valid_to": "2026-01-01T00:00:00Z"})
        again = await price("b", "DELETE")
        assert (again.json["valid_to"], again.json["version"]) == ("2026-01-01T00:00:00Z", 1)

    async def test_a_version_that_is_not_the_one_read_is_not_overwritten(self, configure: Configure) -> None:
        await configure()
        assert (await price("a", "PUT", GOOD, if_match="*")).status == 412
        await price("a", "PUT", GOOD, if_none_match="*")
        refused = await price("a", "PUT", GOOD | {"source": "x"}, if_none_match="*")
        assert (refused.status, refused.error["code"], refused.error["parameter"]) == (
            412,
            "precondition_failed",
            "If-None-Match",
        )
        assert (await price("a", "PUT", GOOD | {"source": "x"}, if_match='"1"')).headers["ETag"] == '"2"'
        for method in ("PUT", "DELETE"):
            refused = await price("a", method, GOOD | {"source": "y"}, if_match='"1"')
            assert (refused.status, refused.error["parameter"]) == (412, "If-Match")
        assert (await price("a")).json["version"] == 2

    async def test_what_is_not_there_is_404(self, configure: Configure) -> None:
        await configure()
        for method in ("GET", "DELETE"):
            assert ((reply := await price("a", method)).status, reply.error["code"]) == (404, "not_found")

    @pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "-a", "x" * 65, "a|b", "."])
    async def test_an_id_is_plain(self, configure: Configure, name: str) -> None:
        await configure()
        reply = await price(name or " ", "PUT", GOOD)
        assert (reply.status, reply.error["parameter"]) == (400, "id")

    @pytest.mark.parametrize(
        ("body", "status", "parameter"),
        [
            (b"", 400, None),
            (b"{", 400, None),
            (b"[]", 400, None),
            (b"[" * 10_000, 400, None),
            (b'{"model": NaN}', 400, None),
            (b'{"model": "x", "per_million": {"prompt_tokens": 1' + b"0" * 5000 + b"}}", 400, None),
            (b" " * 70_000, 413, None),
            (GOOD | {"per_million": {"prompt_tokens": 2.5}}, 400, "per_million.prompt_tokens"),
            (GOOD | {"scope": {"region": "westeurope"}}, 400, "scope.region"),
            (GOOD | {"valid_from": "tomorrow"}, 400, "valid_from"),
        ],
    )
    async def test_a_body_that_is_no_price_is_refused_and_nothing_is_kept(
        self, configure: Configure, body: object, status: int, parameter: str | None
    ) -> None:
        await configure()
        reply = await price("a", "PUT", body)
        assert reply.status == status
        assert parameter is None or reply.error["parameter"] == parameter
        assert (await price("a")).status == 404
