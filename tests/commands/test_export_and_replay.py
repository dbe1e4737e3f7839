"""An export, its import and a replay from where its header says: every call is there, once."""

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from commands.__main__ import main
from commands.backup import Backup
from commands.replay_from import CLOCKS_DIFFER, of_partition
from hub_state import PartitionState
from ledger.progress import Reached
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint, HubSpec
from tests.commands.test_redrive_and_replay import HUB, collect_live, held, send, totals
from tests.queries.filled import environment
from tests.support.events import usage_event

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as in tests/api/test_events.py
BEGUN = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[EventHubsEndpoint]:
    with EventHubsEndpoint(tmp_path / "hub", [HubSpec(HUB, 2, ("usage-collector",))]) as endpoint:
        yield endpoint


@pytest.mark.parametrize("counted", [{"0": 3, "1": 5}, {"0": 4, "1": 0}, {"0": 99, "1": 2}])
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
    assert before < 40
    [line] = [line for line in capsys.readouterr().out.splitlines() if " replay " in line]
    assert main(shlex.split(line)[3:]) == 0
    assert totals()["calls"] == 40
    assert main(["replay"]) == 0
    assert totals()["calls"] == 40


def test_the_time_of_a_partition() -> None:
    state = PartitionState("0", False, 0, 9, BEGUN - timedelta(days=2))
    assert of_partition(state._replace(is_empty=True), None, BEGUN) == BEGUN - CLOCKS_DIFFER
    assert of_partition(state, None, BEGUN) is None
    assert of_partition(state, Reached(state.last_enqueued_time, 9), BEGUN) == BEGUN - CLOCKS_DIFFER
    assert of_partition(state, Reached(state.last_enqueued_time, 8), BEGUN) == state.last_enqueued_time
    assert of_partition(state, Reached(BEGUN - timedelta(days=3), 4), BEGUN) == BEGUN - timedelta(days=3)
