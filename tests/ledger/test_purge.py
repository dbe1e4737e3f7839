"""Call rows past their retention are deleted, bounded in each run; aggregates and all else stay."""

from datetime import date, datetime, timedelta
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableServiceClient

from ledger import purge
from ledger.directory import Directory
from ledger.rows import sums_of
from ledger.store import TableStore
from local.azurite import Azurite
from models.call import Call
from models.measures import measures_of, total
from tests.support.events import NOON
from tests.support.ledger import WRITER, call, ledger, rows_of

AFTER = NOON + timedelta(days=40)


def calls_on(day: date, count: int, app: str = "app-1") -> list[Call]:
    moment = datetime(day.year, day.month, day.day, 23, 59, tzinfo=NOON.tzinfo)
    return [call(app_id=app)._replace(timestamp=moment) for _ in range(count)]


async def test_it_deletes_exactly_the_days_that_are_past_and_goes_on_where_it_stopped(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "MAX_ROWS", 100)
    old = [*calls_on(date(2026, 10, 31), 120), *calls_on(date(2026, 11, 3), 130, "b"), *calls_on(date(2026, 11, 4), 3)]
    kept = [*calls_on(date(2026, 11, 5), 2), *calls_on(date(2026, 11, 6), 2, "b"), *calls_on(date(2026, 12, 1), 1)]
    async with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        usage = TableStore(service, f"t{uuid4().hex}")
        directory = TableStore(service, f"t{uuid4().hex}")
        await Directory(directory).enter(old + kept)
        await ledger(usage).commit(old + kept, WRITER)
        oldest = datetime(2026, 11, 6, 15, tzinfo=NOON.tzinfo)
        deleted = []
        while True:  # each run as another process
            report = await purge.purge_calls(usage, Directory(directory), oldest)
            deleted.append(report.deleted)
            assert await Directory(directory).known_since() > old[0].timestamp  # noted before the first row went
            if not report.left_over:
                break
        assert sum(deleted) == len(old)
        assert max(deleted) <= 100 + 8 * 100
        assert len(deleted) > 1
        left = {
            row.columns["request_id"]
            for app, month in (("app-1", "202610"), ("app-1", "202611"), ("app-1", "202612"), ("b", "202611"))
            for row in await rows_of(usage, f"{app}|{month}")
            if row.columns["RowKey"].startswith("c|")
        }
        assert left == {each.request_id for each in kept}
        for app in ("app-1", "b"):
            months = [row for month in ("202610", "202611", "202612") for row in await rows_of(usage, f"{app}|{month}")]
            sums = total(sums_of(row.columns) for row in months if row.columns["RowKey"].startswith("m|"))
            assert sums == total(measures_of(each) for each in old + kept if each.app == app)
        assert (await purge.purge_calls(usage, Directory(directory), oldest)).deleted == 0
        assert await Directory(directory).purged_through() == date(2026, 11, 4)
        assert (await purge.purge_calls(usage, Directory(directory), AFTER)).deleted == len(kept)
