"""One version of the app takes the place of another under traffic, and back: nothing is lost, nothing is doubled.

previous.tar.xz has what is deployed of the version before (PREVIOUS), unversioned.tar.xz that of the time before the
tables had a schema version (UNVERSIONED): a clone of CI has no history to take them from. CONTRIBUTING.md says how to
make the next one.
"""

import contextlib
import signal
import tarfile
from datetime import UTC, datetime
from pathlib import Path

from azure.data.tables import TableClient

from ledger.schema import VERSION
from local.parts import ROOT
from local.processes import PartError
from tests.faults.soak import BATCH, Fleet, Sender, wait_until_counted
from tests.faults.traffic import Traffic
from tests.support.audit import assert_exact

PREVIOUS = "f0acc4e"
UNVERSIONED = "de18c39"
RATE = 10
"""Events a second."""
EVENTS_BETWEEN = 20
"""Sent before the next one is deployed."""
PATIENCE_SECONDS = 5.0


def unpacked(folder: Path, name: str) -> Path:
    with tarfile.open(Path(__file__).with_name(f"{name}.tar.xz")) as archive:
        archive.extractall(folder / name, filter="data")
    return folder / name


def test_a_version_replaces_another_under_traffic_and_back(tmp_path: Path) -> None:
    """One host after the other, so that two versions count side by side; one of them is killed, not stopped."""
    unversioned, previous = unpacked(tmp_path, "unversioned"), unpacked(tmp_path, "previous")
    assert not (unversioned / "ledger/schema.py").exists(), "this is no version before the schema's"
    assert (previous / "alerts").exists(), "this is no version of the last release"
    traffic = Traffic(7, datetime.now(UTC), orphans=0)
    with Fleet(tmp_path / "data", lambda azurite: azurite.connection_string, unversioned) as fleet:
        sender = Sender(fleet.hub, traffic, RATE)
        sender.start()
        let_both_count(sender, fleet)
        fleet.deploy(0, previous)
        let_both_count(sender, fleet)
        fleet.deploy(1, ROOT, signal.SIGKILL)
        let_both_count(sender, fleet)
        fleet.deploy(0, ROOT)
        fleet.deploy(1, unversioned)
        let_both_count(sender, fleet)
        fleet.deploy(1, previous)
        let_both_count(sender, fleet)
        fleet.deploy(1, ROOT)
        sender.finish()
        wait_until_counted(fleet, traffic.sent)
        for host in fleet.hosts:
            fleet.end(host, signal.SIGTERM)
        assert_exact(fleet.azurite.connection_string, traffic.sent)
        with TableClient.from_connection_string(fleet.azurite.connection_string, "directory") as directory:
            noted = directory.get_entity("schema", "tables")
        assert (noted["newest"].value, noted["oldest"].value) == (VERSION, 1)
    print(f"{traffic.calls} calls in {sender.events} events, of the hosts' logs: {dict(fleet.seen)}")
    assert fleet.seen["batches"] > 5


def let_both_count(sender: Sender, fleet: Fleet) -> None:
    """Until more was sent, and each host has counted a batch since it started; one that owns no partition has none."""
    enough = sender.events + EVENTS_BETWEEN
    while sender.events < enough:
        sender.join(0.2)
        assert sender.is_alive()
    for host in fleet.hosts:
        with contextlib.suppress(PartError):
            host.wait_for(BATCH.pattern, PATIENCE_SECONDS)
