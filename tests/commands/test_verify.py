"""`python -m commands verify`, as an operator runs it; what it compares is tested in tests/ledger/test_verify.py."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import services
from commands.__main__ import main
from ledger.store import Write
from local.azurite import Azurite
from pipeline import ingest, purge
from tests.queries.filled import environment
from tests.support.events import raw_event, usage_event

NOW = datetime.now(UTC)


def test_it_says_which_sums_differ_and_fails(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(azurite).items():
        monkeypatch.setenv(name, value)
    asyncio.run(_count("app-1", "app-2"))
    month = ["--month", f"{NOW:%Y%m}"]
    assert main(["verify", *month]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 calls, 6 aggregates compared, 0 differences"
    asyncio.run(_lose_a_call("app-2"))
    assert main(["verify", *month]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("app-1: agrees (2 calls, 3 aggregates)")
    assert "app-2: 18 DIFFERENCES (1 calls, 3 aggregates)" in told[1]  # 6 sums of an hour, a day and a month
    assert [line for line in told if line.strip().startswith("h|") and "calls 15, aggregates 30" in line]
    assert main(["verify", *month, "--app", "app-1"]) == 0
    assert main(["verify", "--month", "2026-11"]) == 2


async def _count(*apps: str) -> None:
    app = services.build(os.environ)
    events = [usage_event(app_id=each, timestamp=NOW.isoformat()) for each in apps for _ in range(2)]
    await ingest(
        [raw_event(each, sequence_number=n, enqueued=NOW) for n, each in enumerate(events)], app, now=lambda: NOW
    )
    await app.close()


async def _lose_a_call(name: str) -> None:
    """As no part of the product does."""
    app = services.build(os.environ)
    row = await anext(app.usage.range(f"{name}|{NOW:%Y%m}", "c|", "c|~", ["PartitionKey", "RowKey"]))
    await app.usage.submit([Write(row.columns, "*", delete=True)])
    await app.close()


def test_an_app_that_is_not_there_is_an_error(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(azurite).items():
        monkeypatch.setenv(name, value)
    assert main(["verify", "--app", "app-typo"]) == 2
    assert "--app is 'app-typo': the directory of" in capsys.readouterr().err


def test_it_does_not_miss_the_calls_that_a_shorter_retention_deleted(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(azurite, CALL_RETENTION_DAYS="1").items():
        monkeypatch.setenv(name, value)
    month = f"{NOW - timedelta(days=5):%Y%m}"

    async def count_and_purge() -> None:
        app = services.build(os.environ)
        times = [NOW - timedelta(days=days) for days in (5, 0)]
        for number, time in enumerate(times):
            event = raw_event(usage_event(timestamp=time.isoformat()), sequence_number=number, enqueued=time)
            await ingest([event], app, now=lambda time=time: time)  # type: ignore[misc]
        assert (await purge(app, now=lambda: NOW)).deleted == 1
        await app.close()

    asyncio.run(count_and_purge())
    monkeypatch.setenv("CALL_RETENTION_DAYS", "90")
    assert main(["verify", "--month", month]) == 0
    assert "before the calls that are kept" in capsys.readouterr().out


SETTINGS = ['\ufeff{"Values": {"USAGE_EVENTS_HUB": "usage-events"}}', "{}", "[]", '{"Values": {"A": 1}}', "no json"]


@pytest.mark.parametrize("text", SETTINGS)
def test_a_file_of_settings_is_read_or_refused(
    azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    for name, value in environment(azurite).items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "local.settings.json"
    path.write_text(text, "utf-8")
    assert main(["--settings", str(path), "verify"]) == (0 if text == SETTINGS[0] else 2)
    assert text == SETTINGS[0] or f"--settings {path}" in capsys.readouterr().err
