"""Calls told in halves: each counted once, whichever half comes first, wherever, however often, and late."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services as app_services
from ledger import pending as pending_table
from ledger import settle as ledger_settle
from ledger.pending import Pending
from ledger.rows import call_of, sums_of
from ledger.store import Row, StoreBusy, TableStore
from local.azurite import Azurite
from models.call import Call
from models.errors import StoreUnavailable
from models.measures import Measures, measures_of, total
from models.origin import RawEvent
from pipeline import BatchReport, ingest, settle
from services import Services
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import ledger, no_wait

HOUR = timedelta(hours=1)
MONTH = "202611"


@asynccontextmanager
async def running(azurite: Azurite, **changes: str) -> AsyncIterator[Services]:
    """The app's services on tables of their own, expecting the gateway's logs."""
    environment = {
        "UsageStorage": azurite.connection_string,
        "USAGE_EVENTS_HUB": "usage-events",
        "GATEWAY_LOGS_HUB": "gateway-logs",
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
    }
    found = app_services.build(environment | changes)
    try:
        yield found
    finally:
        await found.close()


def again(found: Services) -> Services:
    """As a process that has seen nothing yet."""
    return app_services.build(
        {
            "UsageStorage": found.settings.tables_connection_string or "",
            "USAGE_EVENTS_HUB": "usage-events",
            "GATEWAY_LOGS_HUB": "gateway-logs",
            "TABLE_PREFIX": found.settings.table_prefix,
        }
    )


def policy(call: str, **changes: Any) -> dict[str, Any]:
    """What the policy of mode B sends."""
    told = {"request_id": call, "usage": None, "response_model": None, "usage_source": "gateway_log", "stream": True}
    return usage_event(**told | changes)


def llm_log(call: str, prompt: int = 10, completion: int = 5, **changes: object) -> dict[str, Any]:
    counts = {"promptTokens": prompt, "completionTokens": completion, "totalTokens": prompt + completion}
    told = {"correlationId": call.upper(), "modelName": "gpt-4o-2024-08-06", "deploymentName": "chat"}
    record = {"time": "2026-11-20T12:00:00.5Z", "category": "GatewayLlmLogs", "correlationId": call.upper()}
    return record | {"properties": {**told, **counts, **changes}}


def gateway_log(call: str, **changes: Any) -> dict[str, Any]:
    told = {"apimSubscriptionId": "sub-1", "productId": "gold", "apiId": "chat", "responseCode": 200}
    record = {"time": "2026-11-20T12:00:00.2Z", "category": "GatewayLogs", "correlationId": call}
    return record | {"properties": told | changes}


async def rows(found: Services, table: str, partition: str) -> list[Row]:
    store = TableStore(found.tables, found.settings.table_prefix + table)
    return [row async for row in store.range(partition, "", "~")]


async def counted(found: Services, app: str) -> dict[str, Call]:
    """The calls that are counted for an app, by request_id; the sums of every level are checked to be theirs."""
    stored = await rows(found, "usage", f"{app}|{MONTH}")
    calls = [call_of(row.columns) for row in stored if row.columns["RowKey"].startswith("c|")]
    expected = without_zeros(total(measures_of(call) for call in calls))
    for level in "hdm":
        sums = total(sums_of(row.columns) for row in stored if row.columns["RowKey"].startswith(f"{level}|"))
        assert without_zeros(sums) == expected, level
    return {call.request_id: call for call in calls if call.stage != "moved"}


def without_zeros(sums: Measures) -> Measures:
    return {name: amount for name, amount in sums.items() if amount}


def balanced(report: BatchReport | None) -> BatchReport:
    assert report is not None
    became = report.counted + report.duplicate + report.joined + report.pending + report.dead_lettered
    assert report.received == became, report
    return report


async def send(found: Services, *records: object, hub: str = "usage-events", number: int = 0) -> BatchReport:
    event = raw_event({"records": list(records)}, hub=hub, sequence_number=number)
    return balanced(await ingest([event], found, now=lambda: NOON))


def became(report: BatchReport) -> tuple[int, int, int, int]:
    return report.counted, report.duplicate, report.joined, report.pending


CALL = "0f8fad5b-d9cb-469f-a165-70867728950e"


async def test_a_policy_event_and_the_llm_log_are_one_call_whichever_comes_first(azurite: Azurite) -> None:
    for first, second in [(policy(CALL), llm_log(CALL)), (llm_log(CALL), policy(CALL))]:
        async with running(azurite) as found:
            assert became(await send(found, first)) == (0, 0, 0, 1)
            assert await counted(found, "app-1") == {}
            assert became(await send(found, second)) == (1, 0, 0, 0)
            assert became(await send(found, first, second)) == (0, 2, 0, 0)
            call = (await counted(found, "app-1"))[CALL]
            assert (call.usage.total_tokens, call.usage_state, call.model) == (15, "reported", "gpt-4o-2024-08-06")
            assert (call.deployment, call.product, call.stage) == ("chat", "gold", "logged")
            assert await counted(found, "unattributed") == {}


async def test_both_halves_in_one_batch_are_one_counted_and_one_joined(azurite: Azurite) -> None:
    async with running(azurite) as found:
        assert became(await send(found, llm_log(CALL), policy(CALL), llm_log(CALL))) == (1, 1, 1, 0)


async def test_the_rows_of_one_request_are_one_half_and_probes_are_none(azurite: Azurite) -> None:
    async with running(azurite) as found:
        nothing: dict[str, Any] = {"promptTokens": 0, "completionTokens": 0, "totalTokens": 0}
        message: dict[str, Any] = {
            "sequenceNumber": 1,
            "deploymentName": "",
            "modelName": "",
            "requestMessages": "secret",
            **nothing,
        }
        probe: dict[str, Any] = {"requestId": "", "modelName": "", "deploymentName": "", **nothing}
        report = await send(
            found,
            llm_log(CALL, **message),
            llm_log(CALL),
            llm_log(CALL, **message | {"sequenceNumber": 2}),
            llm_log("", **probe),
            policy(CALL),
            hub="gateway-logs",
        )
        assert (report.received, report.ignored, *became(report)) == (2, 3, 1, 0, 1, 0)
        assert (await counted(found, "app-1"))[CALL].usage.total_tokens == 15


async def test_rows_that_say_more_after_the_call_was_counted_correct_it_once(azurite: Azurite) -> None:
    """Whatever each of them says, in whatever order, and however often."""
    less, more = llm_log(CALL, 26, 0, modelName="", deploymentName=""), llm_log(CALL, 26, 431)
    for first, second, corrected in [(less, more, 1), (more, less, 0)]:
        async with running(azurite) as found:
            assert became(await send(found, policy(CALL, deployment=None), first)) == (1, 0, 1, 0)
            for number in range(2):
                report = await send(found, second, number=number)
                now = corrected if number == 0 else 0
                assert (report.corrected, report.joined, report.duplicate) == (now, now, 1 - now)
            assert (await send(found, first, number=3)).duplicate == 1
            call = (await counted(found, "app-1"))[CALL]
            assert (call.usage.prompt_tokens, call.usage.completion_tokens, call.usage.total_tokens) == (26, 431, 457)
            assert (call.model, call.deployment, call.stage) == ("gpt-4o-2024-08-06", "chat", "logged")


async def test_gateway_log_and_llm_log_join_without_any_policy_event(azurite: Azurite) -> None:
    async with running(azurite) as found:
        assert became(await send(found, gateway_log(CALL), hub="gateway-logs")) == (0, 0, 0, 1)
        assert became(await send(found, llm_log(CALL), hub="gateway-logs", number=1)) == (1, 0, 0, 0)
        call = (await counted(found, "sub-1"))[CALL]
        assert (call.usage.total_tokens, call.product, call.api, call.status) == (15, "gold", "chat", 200)


async def test_a_call_with_the_policys_own_usage_and_an_llm_log_is_counted_once(azurite: Azurite) -> None:
    whole = usage_event(request_id=CALL, usage={"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16})
    for first, second, then in [(whole, llm_log(CALL), (0, 0, 1, 0)), (llm_log(CALL), whole, (1, 0, 0, 0))]:
        async with running(azurite) as found:
            await send(found, first)
            assert became(await send(found, second)) == then
            await settle(found, now=lambda: NOON + 2 * HOUR)
            assert (await counted(found, "app-1"))[CALL].usage.total_tokens == 16
            assert await counted(found, "unattributed") == {}


async def test_a_policys_stream_without_usage_is_corrected_by_the_llm_log(azurite: Azurite) -> None:
    async with running(azurite) as found:
        assert became(await send(found, policy(CALL, usage_source=None))) == (1, 0, 0, 0)
        assert (await counted(found, "app-1"))[CALL].missing_reason == "not_requested"
        report = await send(found, llm_log(CALL))
        assert (report.corrected, *became(report)) == (1, 0, 0, 1, 0)
        call = (await counted(found, "app-1"))[CALL]
        assert (call.usage_state, call.missing_reason, call.usage.total_tokens) == ("reported", None, 15)


async def test_identity_alone_is_missing_after_the_deadline_and_corrected_once(azurite: Azurite) -> None:
    for half, app in [(policy(CALL), "app-1"), (gateway_log(CALL), "sub-1")]:
        async with running(azurite, JOIN_DEADLINE_SECONDS="60") as found:
            await send(found, half)
            await settle(found, now=lambda: NOON + timedelta(seconds=59))
            assert await counted(found, app) == {}
            report = await settle(found, now=lambda: NOON + timedelta(seconds=61))
            assert (report.missing, report.unattributed) == (1, 0)
            assert (await counted(found, app))[CALL].usage_state == "missing"
            for number in range(2):
                report = await settle(found, now=lambda: NOON + HOUR)
                assert (report.missing, report.unattributed) == (0, 0)
                batch = await send(found, llm_log(CALL), half, number=number)
                assert batch.corrected == (1, 0)[number]
            assert (await counted(found, app))[CALL].usage.total_tokens == 15


async def test_usage_alone_is_unattributed_after_the_deadline_and_moves_once(azurite: Azurite) -> None:
    for half, app in [(policy(CALL), "app-1"), (gateway_log(CALL), "sub-1")]:
        async with running(azurite) as found:
            await send(found, llm_log(CALL))
            report = await settle(found, now=lambda: NOON + HOUR)
            assert (report.missing, report.unattributed) == (0, 1)
            assert (await counted(found, "unattributed"))[CALL].usage.total_tokens == 15
            for number in range(2):
                batch = await send(found, half, llm_log(CALL), number=number)
                assert batch.counted == (1, 0)[number]
                assert await counted(found, "unattributed") == {}
                assert (await counted(found, app))[CALL].usage.total_tokens == 15


async def test_a_policy_event_that_comes_last_moves_the_call_to_who_pays(azurite: Azurite) -> None:
    for event in (policy(CALL), usage_event(request_id=CALL)):
        async with running(azurite) as found:
            await send(found, gateway_log(CALL), llm_log(CALL))
            assert set(await counted(found, "sub-1")) == {CALL}
            await send(found, event)
            assert await counted(found, "sub-1") == {}
            assert (await counted(found, "app-1"))[CALL].usage.total_tokens == 15


class Delivery(NamedTuple):
    hub: str
    partition: str
    records: list[dict[str, Any]]


TELLS = ["policy+llm_log", "gateway_log+llm_log", "policy+gateway_log+llm_log", "whole+llm_log", "policy", "llm_log"]
TELLS += ["gateway_log", "whole", "whole+gateway_log+llm_log", "other+policy+llm_log", "nameless+policy+llm_log"]
TELLS += ["nameless+gateway_log+llm_log", "nameless+other+gateway_log", "other+whole+nameless", "nameless"]
OWNERS = {"whole": "app-1", "policy": "app-1", "other": "sub-2", "gateway_log": "sub-1"}
USAGE = {"whole": 0, "other": 1000, "nameless": 2000, "llm_log": 3000}
"""Who tells usage, in the order in which it is believed if the caller's own record has none; and how much more."""


def rows_of_one_request(call: str, prompt: int, completion: int, random_: random.Random) -> list[dict[str, Any]]:
    """What the LLM log has of it: the counts on one row, or here and there, or growing; a model on another."""
    nameless = {"modelName": "", "deploymentName": ""}
    return random_.choice(
        [
            [llm_log(call, prompt, completion)],
            [llm_log(call, prompt, 0), llm_log(call, prompt, completion)],
            [llm_log(call, prompt, 0, **nameless), llm_log(call, 0, completion), llm_log(call, prompt - 1, completion)],
            [llm_log(call, 0, 0), llm_log(call, prompt, completion, **nameless)],
        ]
    )


def traffic(seed: int, calls: int) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The records of some calls, each at least once, and how many calls each app has in the end."""
    random_ = random.Random(seed)
    records: list[dict[str, Any]] = []
    apps: Counter[str] = Counter()
    for number in range(calls):
        call = str(UUID(int=random_.getrandbits(128)))
        kinds = random_.choice(TELLS).split("+")
        prompt = random_.randint(1, 10_000)
        for kind in kinds:
            match kind:
                case "llm_log":
                    *rows, record = rows_of_one_request(call, prompt + USAGE[kind], number, random_)
                    records += rows
                case "whole" | "other" | "nameless":
                    usage = {"prompt_tokens": prompt + USAGE[kind], "completion_tokens": number}
                    app = "app-1" if kind == "whole" else None
                    subscription = "sub-2" if kind == "other" else None
                    names = {"app_id": app, "subscription_id": subscription, "product_id": None}
                    record = usage_event(request_id=call, usage=usage, **names)
                case "policy":
                    record = policy(call)
                case _:
                    record = gateway_log(call)
            records += [record] * random_.choice([1, 1, 1, 2, 3])
        owner = next((app for kind, app in OWNERS.items() if kind in kinds), "unattributed")
        apps[owner] += 1
        usage_known = next((more for kind, more in USAGE.items() if kind in kinds), None)
        apps[f"{owner}:tokens"] += prompt + number + usage_known if usage_known is not None else 0
    random_.shuffle(records)
    return records, apps


def shuffled(deliveries: Sequence[list[RawEvent]], seed: int) -> list[list[RawEvent]]:
    return random.Random(seed).sample(deliveries, len(deliveries))


async def assert_counted(found: Services, expected: Counter[str]) -> None:
    for app in ("app-1", "sub-1", "sub-2", "unattributed"):
        calls = await counted(found, app)
        assert len(calls) == expected[app], app
        assert sum(call.usage.total_tokens or 0 for call in calls.values()) == expected[f"{app}:tokens"], app


def batches(records: Sequence[dict[str, Any]], seed: int) -> list[list[RawEvent]]:
    """The records in batches, each of one partition of either hub."""
    random_ = random.Random(seed)
    result: list[list[RawEvent]] = []
    left = list(records)
    while left:
        size = random_.randint(1, 12)
        chunk, left = left[:size], left[size:]
        hub, partition = random_.choice(["usage-events", "gateway-logs"]), str(random_.randint(0, 3))
        result.append([raw_event({"records": chunk}, hub=hub, partition=partition, sequence_number=len(result))])
    return result


@given(seed=st.integers(0, 10_000), data=st.data())
@settings(max_examples=10)
async def test_any_order_cut_replay_and_settlement_gives_the_same_totals(
    azurite: Azurite, seed: int, data: st.DataObject
) -> None:
    records, expected = traffic(seed, 12)
    deliveries = batches(records, seed)
    replayed = data.draw(st.lists(st.sampled_from(deliveries), max_size=5), "replayed")
    async with running(azurite) as found:
        process = found
        for number, batch in enumerate([*deliveries, *replayed]):
            balanced(await ingest(batch, process, now=lambda: NOON))
            if data.draw(st.integers(0, 4), f"settle after {number}") == 0:
                await settle(process, now=lambda: NOON + 2 * HOUR)
            if data.draw(st.integers(0, 4), f"new process after {number}") == 0:
                if process is not found:
                    await process.close()
                process = again(found)
        await settle(process, now=lambda: NOON + 2 * HOUR)
        await assert_counted(found, expected)
        if process is not found:
            await process.close()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=3)
async def test_parallel_deliveries_and_the_timer_at_the_same_time_count_once(azurite: Azurite, seed: int) -> None:
    records, expected = traffic(seed, 12)
    deliveries = batches(records, seed)
    async with running(azurite) as found:
        processes = [again(found) for _ in range(3)]

        async def one(process: Services, mine: Iterable[list[RawEvent]]) -> None:
            for batch in mine:
                balanced(await ingest(batch, process, now=lambda: NOON))
                await settle(process, now=lambda: NOON + 2 * HOUR)

        await asyncio.gather(*(one(process, shuffled(deliveries, seed + at)) for at, process in enumerate(processes)))
        await settle(found, now=lambda: NOON + 2 * HOUR)
        await assert_counted(found, expected)
        for process in processes:
            await process.close()


async def test_what_is_long_past_is_forgotten_and_what_waits_is_settled_first(azurite: Azurite) -> None:
    async with running(azurite, CALL_RETENTION_DAYS="1") as found:
        await send(found, policy(CALL), llm_log(str(UUID(int=1))), usage_event(), usage_event())
        later = NOON + timedelta(days=3)
        first = await settle(found, now=lambda: later)
        assert (first.missing, first.unattributed) == (1, 1)
        second = await settle(found, now=lambda: later)
        assert first.forgotten + second.forgotten == 4
        left = [row for bucket in "0123456789abcdef" for row in await rows(found, pending_table.TABLE, bucket)]
        assert left == []


async def test_without_the_gateways_logs_no_rows_are_written_for_whole_calls(azurite: Azurite) -> None:
    async with running(azurite, GATEWAY_LOGS_HUB="") as found:
        await send(found, usage_event(), number=1)
        left = [row for bucket in "0123456789abcdef" for row in await rows(found, pending_table.TABLE, bucket)]
        assert left == []


async def test_an_event_that_names_nobody_does_not_take_the_call_from_who_pays(azurite: Azurite) -> None:
    nameless = usage_event(request_id=CALL, app_id=None, subscription_id=None, product_id=None, usage=None)
    for late in (nameless, nameless | {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}):
        async with running(azurite) as found:
            await send(found, llm_log(CALL))
            await settle(found, now=lambda: NOON + HOUR)
            await send(found, gateway_log(CALL))
            await send(found, late)
            await send(found, late, llm_log(CALL), gateway_log(CALL))
            assert (await counted(found, "sub-1"))[CALL].usage.total_tokens == 15
            assert await counted(found, "unattributed") == {}


async def test_the_senders_own_usage_goes_before_the_logs_whichever_comes_first(azurite: Azurite) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 25}}
    own = usage_event(request_id=CALL, app_id=None, subscription_id="sub-1", usage=usage)
    for order in ([own, gateway_log(CALL), llm_log(CALL)], [gateway_log(CALL), llm_log(CALL), own]):
        async with running(azurite) as found:
            for record in [*order, *order]:
                await send(found, record)
            call = (await counted(found, "sub-1"))[CALL]
            assert (call.usage.total_tokens, call.usage.reasoning_tokens, call.stage) == (40, 25, "final")


async def test_reading_a_stored_response_is_not_charged_by_its_log(azurite: Azurite) -> None:
    async with running(azurite) as found:
        await send(found, policy(CALL, method="GET"), llm_log(CALL))
        await settle(found, now=lambda: NOON + 2 * HOUR)
        call = (await counted(found, "app-1"))[CALL]
        assert (call.missing_reason, call.usage.total_tokens) == ("not_metered", None)
        assert await counted(found, "unattributed") == {}


async def test_a_deadline_beyond_the_retention_still_settles_first(azurite: Azurite) -> None:
    async with running(azurite, JOIN_DEADLINE_SECONDS="604800", CALL_RETENTION_DAYS="1") as found:
        await send(found, policy(CALL))
        for day in (7, 8, 9):
            await settle(found, now=lambda day=day: NOON + timedelta(days=day))  # type: ignore[misc]
        assert (await counted(found, "app-1"))[CALL].usage_state == "missing"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 1}])
async def test_calls_of_two_apps_with_one_id_are_two_calls(azurite: Azurite, together: bool, usage: Any) -> None:
    """A sender that is no gateway of ours may number its calls."""
    calls = [usage_event(request_id="1", app_id=app, usage=usage, response_model=None) for app in ("app-1", "app-2")]
    async with running(azurite) as found:
        for _ in range(2):
            for batch in [calls] if together else [[call] for call in calls]:
                await send(found, *batch)
        assert set(await counted(found, "app-1")) == set(await counted(found, "app-2")) == {"1"}


class ExactlyThere(FaultyStore):
    """Faults only where one row is read or written: the timer's look at each bucket is the same request 16 times."""

    def range(
        self,
        partition_key: str,
        start: str,
        end: str,
        select: Sequence[str] = (),
        times: tuple[str, str] | None = None,
    ) -> AsyncIterator[Row]:
        return self._store.range(partition_key, start, end, select, times)


async def test_the_timer_does_all_that_is_due_in_rounds_while_it_has_time(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_settle, "MAX_LISTS", 1)
    async with running(azurite) as found:
        for number in range(40):
            await send(found, policy(str(UUID(int=number))), number=number)
        monkeypatch.setattr(ledger_settle, "MAX_SECONDS", -1.0)
        report = await settle(found, now=lambda: NOON + HOUR)
        assert report.left_over
        assert 0 < len(report.counted) <= 16
        monkeypatch.setattr(ledger_settle, "MAX_SECONDS", 45.0)
        rest = await settle(found, now=lambda: NOON + HOUR)
        assert not rest.left_over
        assert len(report.counted) + len(rest.counted) == 40


async def test_logs_that_come_without_their_setting_are_warned_of(
    azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(azurite, GATEWAY_LOGS_HUB="") as found:
        await send(found, policy(CALL))
        assert "GATEWAY_LOGS_HUB" not in caplog.text
        await send(found, llm_log(CALL))
        assert "GATEWAY_LOGS_HUB" in caplog.text


async def test_a_guid_is_one_call_whoever_tells_of_it_and_whenever(azurite: Azurite) -> None:
    """As when several policies of one gateway send an event, or one is sent again with the time of sending."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    of_app = usage_event(request_id=CALL, usage=usage)
    of_subscription = usage_event(request_id=CALL.upper(), app_id=None, subscription_id="sub-1", usage=usage)
    tomorrow = of_app | {"timestamp": "2026-11-19T12:00:00Z"}
    for order in ([of_app, of_subscription, tomorrow], [of_subscription, of_app, tomorrow]):
        async with running(azurite) as found:
            for record in [*order, *order]:
                await send(found, record)
            assert set(await counted(found, "app-1")) == {CALL}
            assert await counted(found, "sub-1") == {}


async def test_who_is_known_by_the_gateways_log_alone_pays_for_a_whole_call_too(azurite: Azurite) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    nameless = usage_event(request_id=CALL, app_id=None, subscription_id=None, product_id=None, usage=usage)
    for order in ([nameless, gateway_log(CALL)], [gateway_log(CALL), nameless]):
        async with running(azurite) as found:
            for record in [*order, llm_log(CALL, 1, 1), *order]:
                await send(found, record)
            assert (await counted(found, "sub-1"))[CALL].usage.total_tokens == 15
            assert await counted(found, "unattributed") == {}


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_fault_at_any_request_changes_nothing(azurite: Azurite, lost: str) -> None:
    """The halves come one after the other, a timer's run between them, each until it came through."""
    steps = [[llm_log(CALL)], [], [policy(CALL)], [gateway_log(CALL), llm_log(CALL)]]
    number = 0
    while True:
        number += 1
        fault = at(number)
        async with running(azurite) as found:
            before, after = (fault, never) if lost == "request" else (never, fault)
            meeting = ExactlyThere(found.pending.store, before, after)
            counting = ExactlyThere(found.usage, before, after)
            found.pending = Pending(meeting, deadline=HOUR, retention=timedelta(days=2), concurrency=4, sleep=no_wait)
            found.ledger = ledger(counting)
            for step in steps:
                for _ in range(2):
                    try:
                        await (send(found, *step) if step else settle(found, now=lambda: NOON + HOUR))
                    except (StoreUnavailable, StoreBusy):
                        continue
            assert (await counted(found, "app-1"))[CALL].usage.total_tokens == 15
            assert await counted(found, "unattributed") == await counted(found, "sub-1") == {}
            if number > max(meeting.requests, counting.requests):
                break
    assert number > 10
