"""forget: what was deleted is gone everywhere, all other sums are what they were, and nothing is counted again."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import commands.forget
from commands.__main__ import main
from ledger.directory import Directory
from ledger.forget import Whom, forget_in
from ledger.forget_records import forget_halves, forget_letters
from ledger.rows import sums_of
from ledger.verify import verify
from local.azurite import Azurite
from models.call import Call
from models.measures import Measures, total
from pipeline import ingest, purge, settle
from services import Services, build
from tests.queries.filled import environment
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyWholeStore
from tests.support.tables import app, everything

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
DIMENSIONS = "deployment,user,client_ip"
APP, USER, IP = "forget-me", "ann@example.com", "10.9.8.7"


def records() -> list[dict[str, Any]]:
    """Calls of two apps and two users, of a day's hours."""
    return [
        usage_event(
            request_id=f"r-{number}",
            app_id=APP if number % 2 else "other",
            user_id=USER if number % 3 else "bob",
            client_ip=IP if number % 3 else "10.0.0.1",
            timestamp=(NOON - timedelta(hours=number)).isoformat(),
            deployment=f"d{number % 2}",
            usage=None if number % 5 == 4 else {"prompt_tokens": number, "completion_tokens": 1},
        )
        for number in range(24)
    ]


def late() -> list[dict[str, Any]]:
    """The usage of those that had none."""
    return [each | {"usage": {"prompt_tokens": 7, "completion_tokens": 1}} for each in records() if not each["usage"]]


async def count(found: Services, events: list[dict[str, Any]], partition: str = "0", at: datetime = NOON) -> Any:
    return await ingest(
        [raw_event(each, partition=partition, sequence_number=n, enqueued=at) for n, each in enumerate(events)],
        found,
        now=lambda: at,
    )


async def sums(found: Services, app_name: str, month: str = "202611") -> dict[str, Measures]:
    """Over each level."""
    rows = [row.columns async for row in found.usage.range(f"{app_name}|{month}", "d|", "n")]
    levels = {level: total(sums_of(row) for row in rows if row["RowKey"].startswith(level)) for level in "hdm"}
    return {level: {name: amount for name, amount in each.items() if amount} for level, each in levels.items()}


async def assert_gone(found: Services, *texts: str, keys: bool = False) -> None:
    for table in found.stores:
        for key, row in (await everything(found, table)).items():
            told = repr({name: value for name, value in row.items() if name not in ("PartitionKey", "RowKey", "app")})
            assert not [text for text in texts if text in told], (table, key, told)
            assert not keys or not [text for text in texts if text in repr(key)], (table, key)


async def run(found: Services, whom: Whom) -> None:
    for partition in ("other|202611", f"{APP}|202611"):
        if whom.app in (None, partition.partition("|")[0]):
            done = await forget_in(found.usage, partition, whom, LONG_AGO, True)
            assert not done.left_over
    await forget_letters(found.stores["deadletters"], whom, True)

    async def none(call: Call) -> bool:
        return False

    await forget_halves(found.stores["pending"], whom, True, none)


async def test_an_app_is_gone_and_its_calls_are_not_counted_again(azurite: Azurite) -> None:
    async with app(azurite, AGGREGATE_DIMENSIONS=DIMENSIONS, GATEWAY_LOGS_HUB="logs") as found:
        await count(found, records())
        before = await everything(found, "usage")
        await run(found, Whom(app=APP))
        after = await everything(found, "usage")
        assert {key: row for key, row in after.items() if key[0].startswith("other")} == {
            key: row for key, row in before.items() if key[0].startswith("other")
        }
        own = [key for key in after if key[0].startswith(APP)]
        assert own == [key for key in before if key[0].startswith(APP) and key[1].startswith("c|")]
        for key in own:
            assert not {"user", "client_ip", "deployment", "product", "model", "duration_ms"} & set(after[key])
        report = await count(found, records())  # the same again, by a process that knows the sums
        assert report.duplicate == report.received == 24
        assert await everything(found, "usage") == after
        verified = await verify(found.usage, APP, "202611", LONG_AGO)
        assert (verified.calls, verified.aggregates, verified.differences) == (12, 0, [])
        await count(found, late(), "1")  # usage that comes late corrects calls of others only
        assert (await sums(found, APP)) == {"h": {}, "d": {}, "m": {}}
        assert (await count(found, [usage_event(app_id=APP)], "1")).counted == 1  # it may come back
        assert (await sums(found, APP))["m"]["calls"] == 1


async def test_of_a_user_the_sums_stay_and_the_name_goes(azurite: Azurite) -> None:
    async with app(azurite, AGGREGATE_DIMENSIONS=DIMENSIONS, GATEWAY_LOGS_HUB="logs") as found:
        await count(found, records())
        bad = usage_event(user_id=USER, status="many")
        harmless = usage_event(user_id=f"{USER}.org", status="many")
        await count(found, [bad, harmless, usage_event(user_id=USER, usage=None, usage_source="gateway_log")], "1")
        expected = {name: await sums(found, name) for name in ("other", APP)}
        await run(found, Whom(user=USER))
        assert {name: await sums(found, name) for name in ("other", APP)} == expected
        letters = await everything(found, "deadletters")
        assert len(letters) == 1
        for name in ("other", APP):
            assert (await verify(found.usage, name, "202611", LONG_AGO)).differences == []
        for table in ("usage", "pending"):
            told = repr((await everything(found, table)).values())
            assert (USER in told, IP in told, "bob" in told) == (False, False, True), table
        assert (await count(found, records())).duplicate == 24
        assert USER not in repr(await everything(found, "usage"))


async def test_sums_of_calls_that_are_no_longer_kept_go_too(azurite: Azurite) -> None:
    """A month of which the first days are purged: its sums are more than its calls."""
    async with app(azurite, AGGREGATE_DIMENSIONS=DIMENSIONS, CALL_RETENTION_DAYS="5") as found:
        old = [each | {"request_id": f"old-{n}"} for n, each in enumerate(records())]
        for each in old:
            each["timestamp"] = (datetime.fromisoformat(each["timestamp"]) - timedelta(days=15)).isoformat()
        await count(found, old, at=NOON - timedelta(days=15))
        await count(found, records(), "1")
        await purge(found, now=lambda: NOON)
        kept_since = await Directory(found.stores["directory"]).known_since()
        assert kept_since > NOON - timedelta(days=10)
        before = await sums(found, "other")
        whom = Whom(user=USER)
        for partition in (f"{APP}|202611", "other|202611"):
            assert not (await forget_in(found.usage, partition, whom, kept_since, True)).left_over
        assert await sums(found, "other") == before
        await assert_gone(found, USER, IP)
        assert not (await forget_in(found.usage, f"{APP}|202611", Whom(app=APP), kept_since, True)).left_over
        assert {key[1][0] for key in await everything(found, "usage") if key[0].startswith(APP)} == {"c"}
        assert await sums(found, "other") == before


class Killed(BaseException):
    """The process ends."""


@pytest.mark.parametrize("whom", [Whom(app=APP), Whom(user=USER)], ids=["app", "user"])
async def test_killed_at_any_request_it_is_gone_on_with(azurite: Azurite, whom: Whom) -> None:
    """One run after another dies, each one request later; between them the totals are right at any time."""
    async with app(azurite, AGGREGATE_DIMENSIONS=DIMENSIONS) as found:
        await count(found, records()[:8])
        store, partition = found.stores["usage"], f"{APP}|202611"
        expected = {"h": {}, "d": {}, "m": {}} if whom.app else await sums(found, APP)
        place, done = 0, False
        while not done:
            place += 3
            left = itertools.count(place, -1)

            def die(_: int, left: Iterator[int] = left) -> None:
                if next(left) == 1:
                    raise Killed

            with contextlib.suppress(Killed):
                await forget_in(FaultyWholeStore(store, die), partition, whom, LONG_AGO, True)
                done = True
            found_sums = await sums(found, APP)
            assert found_sums["h"] == found_sums["d"] == found_sums["m"]
            assert (await verify(found.usage, APP, "202611", LONG_AGO)).differences == []
        assert place > 9
        assert await sums(found, APP) == expected


async def test_while_the_app_counts_nothing_is_lost_or_doubled(azurite: Azurite) -> None:
    async with app(azurite, AGGREGATE_DIMENSIONS=DIMENSIONS) as found:
        await count(found, records())
        other = await sums(found, "other")
        stop = False
        sent = 0

        async def traffic() -> None:
            nonlocal sent
            while not stop:
                events = [usage_event(request_id=f"n-{sent}-{n}", app_id=APP, user_id=USER) for n in range(3)]
                report = await count(found, [*events, *late()], "0")
                assert report.counted == 3
                sent += 3

        running = asyncio.ensure_future(traffic())
        for _ in range(2):
            await forget_in(found.usage, f"{APP}|202611", Whom(user=USER), LONG_AGO, True)
            await forget_in(found.usage, f"{APP}|202611", Whom(app=APP), LONG_AGO, True)
        stop = True
        await running
        verified = await verify(found.usage, APP, "202611", LONG_AGO)
        assert verified.differences == []
        await forget_in(found.usage, f"{APP}|202611", Whom(app=APP), LONG_AGO, True)
        assert await sums(found, APP) == {"h": {}, "d": {}, "m": {}}
        assert sent > 0
        assert {level: each["calls"] for level, each in (await sums(found, "other")).items()} == {
            level: each["calls"] for level, each in other.items()
        }


def test_the_command_says_what_it_would_do_and_does_it_with_yes(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = environment(azurite, AGGREGATE_DIMENSIONS=DIMENSIONS, CALL_RETENTION_DAYS="5", GATEWAY_LOGS_HUB="logs")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    async def fill() -> dict[str, Any]:
        found = build(settings)
        then = NOON - timedelta(days=60)
        old = [e | {"request_id": f"old-{n}", "timestamp": then.isoformat()} for n, e in enumerate(records())]
        await count(found, old, at=then)
        await purge(found, now=lambda: NOON)
        await count(found, [*records(), usage_event(app_id=APP, status="many")], "1")
        await settle(found, now=lambda: NOON + timedelta(hours=2))
        await found.apps.put(APP, {"display_name": "Me", "owner": "x", "cost_center": None}, None)
        rows = {name: await everything(found, name) for name in found.stores}
        await found.close()
        return rows

    async def read() -> dict[str, Any]:
        found = build(settings)
        rows = {name: await everything(found, name) for name in found.stores}
        await found.close()
        return rows

    before = asyncio.run(fill())
    assert main(["forget", "--app", APP]) == 0
    assert capsys.readouterr().out.startswith("to forget: 12 calls, 1 dead letters, ")
    assert {k: v for k, v in asyncio.run(read()).items() if k != "directory"} == {
        k: v for k, v in before.items() if k != "directory"
    }
    assert main(["forget", "--app", APP, "--yes"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("forgotten: 12 calls, 1 dead letters, ")
    assert "not looked in: alerts, budgets, models, prices" in told
    after = asyncio.run(read())
    own = {key[0] for key in (*after["usage"], *after["directory"]) if APP in "".join(key)}
    assert own == {f"{APP}|202611", "apps|202611"}  # of the month whose calls are kept: marks
    assert after["apps"] == after["deadletters"] == {}
    assert main(["forget", "--app", APP, "--yes"]) == 0
    assert capsys.readouterr().out.startswith("forgotten: 0 calls, 0 dead letters, 0 halves of calls, 0 entries")
    assert main(["forget", "--user", USER, "--yes"]) == 0
    assert USER not in repr(asyncio.run(read()))
    assert main(["forget", "--user", ""]) == 2
    capsys.readouterr()
    for words in (["--user", USER], ["--app", "nobody"], ["--user", "nobody", "--yes"], ["--app", "nobody", "--yes"]):
        assert main(["forget", *words]) == 1
        assert capsys.readouterr().out.startswith(f"nothing found of '{words[1]}': 0 calls")


@pytest.fixture
def settings(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """In the environment, as the command finds them."""
    values = environment(azurite, AGGREGATE_DIMENSIONS=DIMENSIONS, GATEWAY_LOGS_HUB="logs")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def with_app(settings: dict[str, str], do: Callable[[Services], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        found = build(settings)
        try:
            return await do(found)
        finally:
            await found.close()

    return asyncio.run(run())


@pytest.mark.parametrize(("passes", "status"), [(3, 0), (99, 1)])
def test_calls_that_come_behind_the_place_that_is_read_are_found_by_the_next_pass(
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    passes: int,
    status: int,
) -> None:
    """In each of the first passes a call is counted in a partition that was just read."""
    with_app(settings, lambda found: count(found, records()))
    real = forget_in
    sent = 0

    async def then_a_call(store: Any, partition: str, *rest: Any) -> Any:
        nonlocal sent
        done = await real(store, partition, *rest)
        if partition.startswith(APP) and sent < passes:
            sent += 1
            more = usage_event(request_id=f"n-{sent}", app_id=APP, user_id=USER)
            found = build(settings)
            assert (await count(found, [more])).counted == 1
            await found.close()
        return done

    monkeypatch.setattr(commands.forget, "forget_in", then_a_call)
    assert main(["forget", "--user", USER, "--yes"]) == status
    told = capsys.readouterr().out
    assert ("run it again" in told) == (status == 1)
    rows = with_app(settings, lambda found: everything(found, "usage"))
    assert (USER in repr(rows)) == (status == 1)
    assert sent == min(passes, commands.forget.MAX_PASSES)


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "told"])
def test_a_log_that_comes_later_does_not_bring_an_app_back(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], empty: bool
) -> None:
    """Of a call whose half waits, with something to forget in it and without."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(3)]
    nothing = dict.fromkeys(("product_id", "subscription_id", "subscription_name", "api_id"), None) if empty else {}
    waiting = [
        usage_event(request_id=each, app_id=APP, usage=None, usage_source="gateway_log", **nothing) for each in ids
    ]
    assert with_app(settings, lambda found: count(found, waiting)).pending == 3
    assert main(["forget", "--app", APP]) == 0
    assert main(["forget", "--app", APP, "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("forgotten: 0 calls, 0 dead letters, 3 halves of calls")
    logs = [
        {
            "time": NOON.isoformat(),
            "category": "GatewayLlmLogs",
            "correlationId": each,
            "properties": {"correlationId": each, "modelName": "gpt-4o", "promptTokens": 5, "completionTokens": 6,
                           "totalTokens": 11, "sequenceNumber": 0},
        }
        for each in ids[:2]
    ]  # fmt: skip

    async def later(found: Services) -> Any:
        report = await count(found, [{"records": logs}])
        await settle(found, now=lambda: NOON + timedelta(hours=3))
        await count(found, waiting)
        return report

    report = with_app(settings, later)
    assert (report.received, report.counted, report.dead_lettered) == (2, 0, 0)
    rows = with_app(settings, lambda found: everything(found, "usage"))
    assert {key[1][0] for key in rows} == {"c"}
    assert len(rows) == 3
    assert all(row["forgotten"] for row in rows.values())
    assert main(["forget", "--app", APP, "--yes"]) == 0
    assert capsys.readouterr().out.startswith("forgotten: 0 calls, 0 dead letters, 0 halves of calls")
