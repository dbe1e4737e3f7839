"""An estimate in the tables: beside what was reported, and gone when usage is reported after all."""

import pytest

from ledger.join import NOTHING, judge, learn
from ledger.rows import call_columns, call_of
from local.azurite import Azurite
from models.call import Call
from models.half import Half
from models.usage import Estimate
from tests.support.ledger import WRITER, assert_counted_once, call, fresh_table, ledger, rows_of


def without_usage(estimate: Estimate | None) -> Call:
    made = call(request_id="r", stream=True, usage=None)
    return made._replace(usage_state="estimated", estimate=estimate) if estimate else made


@pytest.mark.parametrize("estimate", [None, Estimate(None, 5), Estimate(24, None), Estimate(0, 0), Estimate(24, 5)])
async def test_a_call_row_holds_the_estimate_as_it_is(azurite: Azurite, estimate: Estimate | None) -> None:
    made = without_usage(estimate)
    async with fresh_table(azurite.connection_string) as table:
        await ledger(table).commit([made], WRITER)
        await assert_counted_once(table, [made])
        (row,) = [row for row in await rows_of(table, "app-1|202611") if row.columns["RowKey"].startswith("c|")]
    assert call_of(row.columns) == made


def test_an_estimate_has_columns_of_its_own() -> None:
    columns = call_columns(without_usage(Estimate(None, 5)))
    assert {name for name in columns if "tokens" in name} == {"estimated_completion_tokens", "estimated_total_tokens"}


@pytest.mark.parametrize("usage_comes_first", [True, False])
def test_usage_that_the_gateways_log_reports_takes_the_estimates_place(usage_comes_first: bool) -> None:
    halves = [
        Half("policy", without_usage(Estimate(24, 5)), waits=True),
        Half("llm_log", call(request_id="r", app_id=None), waits=True),
    ]
    counted = judge(learn(NOTHING, reversed(halves) if usage_comes_first else halves)).call
    assert counted is not None
    assert (counted.usage_state, counted.missing_reason, counted.estimate) == ("reported", None, None)
    assert counted.usage.total_tokens == 15
