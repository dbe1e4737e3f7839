"""An export, its import and a replay from where its header says: every call is there, once."""

import shlex
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backlog import look
from commands.__main__ import main
from commands.backup import Backup
from commands.replay_from import CLOCKS_DIFFER, of_partition
from hub_state import PartitionState
from ledger.progress import Reached
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint, HubSpec
from services import Services
from tests.commands.test_redrive_and_replay import HUB, collect_live, held, send, totals, with_app
from tests.queries.filled import environment
from tests.support.events import usage_event

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as in tests/api/test_events.py
BEGUN = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[EventHubsEndpoint]:
    with EventHubsEndpoint(tmp_path / "hub", [HubSpec(HUB, 2, ("usage-collector",))]) as endpoint:
        yield endpoint


@pytest.mark.parametrize("counted", [{"0": 3, "1": 5}, {"0": 4, "1": 0}, {"0": 99, "1": 2}, {"0": 99, "1": 99}])
def test_events_that_waited_in_the_hub_come_with_the_replay(
    azurite: Azurite,
    hub: EventHubsEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    counted: dict[str, int],
) -> None:
    """All were enqueued before the export began, and some were not counted by then."""
    for name, value in environment(azurite, EventHubConnection=hub.connection_string()).items():
        monkeypatch.setenv(name, value)
    send(hub, *(usage_event(request_id=f"r{number}") for number in range(40)))
    collect_live(hub, lambda event: event.origin.sequence_number < counted[event.origin.partition])
    assert main(["export", "--to", str(tmp_path / "e")]) == 0
    last = [
        event.origin.enqueued_time
        for event in held(hub)
        if event.origin.sequence_number == counted[event.origin.partition] - 1
    ]
    told = Backup(tmp_path / "e").read()[0].replay_from_utc[HUB]
    if 0 in counted.values():
        assert told is None
    else:
        assert told is not None
        all_of_one = 99 in counted.values()  # of which those are lacking that come after the export began
        begun = datetime.fromisoformat(Backup(tmp_path / "e").read()[0].begun_utc)
        assert datetime.fromisoformat(told) == (begun - CLOCKS_DIFFER if all_of_one else min(last))

    monkeypatch.setenv("TABLE_PREFIX", "second" + environment(azurite)["TABLE_PREFIX"])
    assert main(["import", "--from", str(tmp_path / "e")]) == 0
    before = totals()["calls"]
    assert (before < 40) == any(number < 99 for number in counted.values())
    lags = with_app(behind)
    of_each = Counter(event.origin.partition for event in held(hub))
    for partition, (events, seconds) in lags.items():  # as it was when the export began
        assert events == max(of_each[partition] - counted[partition], 0)
        assert (seconds is None) == (counted[partition] == 0)
    assert sum(events for events, _ in lags.values()) == 40 - before
    [line] = [line for line in capsys.readouterr().out.splitlines() if " replay " in line]
    assert main(shlex.split(line)[3:]) == 0
    assert totals()["calls"] == 40
    assert with_app(behind) == {"0": (0, 0), "1": (0, 0)}
    assert main(["replay"]) == 0
    assert totals()["calls"] == 40


async def behind(found: Services) -> dict[str, tuple[int, float | None]]:
    """Events and seconds of each partition."""
    return {lag.partition: (lag.events, lag.seconds) for lag in (await look(found)).lags}


def test_a_replay_says_how_far_a_partition_is_counted_only_where_it_knows(
    azurite: Azurite, hub: EventHubsEndpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(azurite, EventHubConnection=hub.connection_string()).items():
        monkeypatch.setenv(name, value)
    send(hub, *(usage_event(request_id=f"r{number}") for number in range(40)))
    of_each = Counter(event.origin.partition for event in held(hub))
    last = of_each["0"] - 1
    assert main(["replay", "--partition", "0", "--from-sequence", "2"]) == 0
    assert with_app(behind) == {"0": (last + 1, None), "1": (of_each["1"], None)}  # two before it are not counted
    assert main(["replay", "--partition", "0", "--to-sequence", "4"]) == 0
    assert with_app(behind)["0"][0] == last - 4
    assert main(["replay", "--partition", "0", "--from-sequence", "6"]) == 0
    assert with_app(behind)["0"][0] == last - 4
    assert main(["replay", "--partition", "0", "--from-sequence", "5"]) == 0
    assert with_app(behind)["0"] == (0, 0)
    assert main(["replay", "--partition", "0", "--to-sequence", "4"]) == 0  # never back
    assert with_app(behind)["0"] == (0, 0)
    # The app's own reader is behind: that is what is to be seen, though the replay counts what it lacks.
    collect_live(hub, lambda event: event.origin.partition == "1" and event.origin.sequence_number < 3)
    assert main(["replay"]) == 0
    assert totals()["calls"] == 40
    assert with_app(behind)["1"][0] == of_each["1"] - 3


def test_an_import_that_is_not_whole_says_nothing_of_how_far_the_hub_is_counted(
    azurite: Azurite, hub: EventHubsEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment(azurite, EventHubConnection=hub.connection_string()).items():
        monkeypatch.setenv(name, value)
    send(hub, *(usage_event(request_id=f"r{number}") for number in range(10)))
    collect_live(hub)
    assert main(["export", "--to", str(tmp_path / "e")]) == 0
    for words in (["--table", "usage"], []):
        monkeypatch.setenv("TABLE_PREFIX", environment(azurite)["TABLE_PREFIX"])
        if not words:
            next((tmp_path / "e/usage").iterdir()).write_bytes(b"")
        assert main(["import", "--from", str(tmp_path / "e"), *words]) == (0 if words else 1)
        assert [seconds for events, seconds in with_app(behind).values() if events] == [None, None]


def test_the_time_of_a_partition() -> None:
    state = PartitionState("0", False, 0, 9, BEGUN - timedelta(days=2))
    assert of_partition(state._replace(is_empty=True), None, BEGUN) == BEGUN - CLOCKS_DIFFER
    assert of_partition(state, None, BEGUN) is None
    assert of_partition(state, Reached(state.last_enqueued_time, 9), BEGUN) == BEGUN - CLOCKS_DIFFER
    assert of_partition(state, Reached(state.last_enqueued_time, 8), BEGUN) == state.last_enqueued_time
    assert of_partition(state, Reached(BEGUN - timedelta(days=3), 4), BEGUN) == BEGUN - timedelta(days=3)
