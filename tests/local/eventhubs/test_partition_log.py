"""The log on disk: order, positions, restarts, and what a killed process may leave behind."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.eventhubs import EndpointError, HubSpec
from local.eventhubs.data_dir import DataDirectory
from local.eventhubs.messages import Stamp
from local.eventhubs.partition_log import PartitionLog


def label(message: bytes, stamp: Stamp) -> bytes:
    return b"%d@%d %s" % (stamp.sequence_number, stamp.offset, message)


def append(log: PartitionLog, *messages: bytes, now_ms: int = 1000) -> None:
    log.append(messages, now_ms, label)


def unexpected(line: str) -> None:
    raise AssertionError(line)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partition-0.log"


def test_events_come_back_in_order_after_a_restart(path: Path) -> None:
    log = PartitionLog(path, unexpected)
    assert log.last is None
    append(log, b"a", b"b")
    append(log, b"c", now_ms=2000)
    before, last = log.read(0, 10, 10_000), log.last
    log.close()
    again = PartitionLog(path, unexpected)
    assert again.read(0, 10, 10_000) == before
    assert [message.split()[1] for message in before] == [b"a", b"b", b"c"]
    assert again.last == last == Stamp(2, last.offset, 2000)  # type: ignore[attr-defined]
    append(again, b"d", now_ms=3000)
    assert again.read(3, 1, 1)[0].startswith(b"3@")
    again.close()


def test_read_keeps_to_its_limits_but_always_moves(path: Path) -> None:
    log = PartitionLog(path, unexpected)
    append(log, *[b"x" * 100] * 10)
    assert len(log.read(0, 3, 10_000)) == 3
    assert len(log.read(0, 10, 300)) == 2
    assert len(log.read(0, 10, 1)) == 1
    assert len(log.read(8, 10, 10_000)) == 2
    assert log.read(10, 10, 10_000) == []
    log.close()


def test_find(path: Path) -> None:
    log = PartitionLog(path, unexpected)
    for now_ms in (1000, 2000, 2000, 3000):
        append(log, b"x", now_ms=now_ms)
    offsets = [int(message.split(b" ")[0].split(b"@")[1]) for message in log.read(0, 4, 10_000)]
    assert [log.find("offset", offset, inclusive=True) for offset in offsets] == [0, 1, 2, 3]
    assert [log.find("offset", offset, inclusive=False) for offset in offsets] == [1, 2, 3, 4]
    assert log.find("offset", -1, inclusive=False) == 0
    assert log.find("sequence-number", 1, inclusive=False) == 2
    assert log.find("sequence-number", 1, inclusive=True) == 1
    assert log.find("sequence-number", -5, inclusive=True) == 0
    assert log.find("enqueued-time", 2000, inclusive=True) == 1
    assert log.find("enqueued-time", 2000, inclusive=False) == 3
    assert log.find("enqueued-time", 9000, inclusive=False) == 4
    log.close()


def test_enqueued_times_never_go_backwards(path: Path) -> None:
    log = PartitionLog(path, unexpected)
    append(log, b"x", now_ms=5000)
    append(log, b"x", now_ms=1000)
    assert log.last is not None
    assert log.last.enqueued_ms == 5000
    log.close()


@given(cut=st.integers(1, 60))
def test_a_torn_last_record_is_cut_off(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / "partition-0.log"
    log = PartitionLog(path, unexpected)
    append(log, b"kept")
    append(log, b"x" * 50)  # a record of more than 60 bytes
    log.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    reports: list[str] = []
    log = PartitionLog(path, reports.append)
    assert len(log) == 1
    assert len(reports) == 1
    assert "\n" not in reports[0]
    append(log, b"next")
    log.close()
    log = PartitionLog(path, unexpected)
    assert [message.split()[1] for message in log.read(0, 10, 10_000)] == [b"kept", b"next"]
    log.close()


def test_damage_before_the_last_record_is_not_passed_over(path: Path) -> None:
    log = PartitionLog(path, unexpected)
    append(log, b"first", b"second")
    log.close()
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(EndpointError, match="damaged at byte 0"):
        PartitionLog(path, unexpected)
    data[30] ^= 1
    data[0] = 0xFF  # a length no record has
    path.write_bytes(data)
    with pytest.raises(EndpointError, match="damaged at byte 0"):
        PartitionLog(path, unexpected)


def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    with pytest.raises(EndpointError, match="in use by another"):
        DataDirectory(tmp_path)
    data.close()
    DataDirectory(tmp_path).close()


def test_partitions_may_be_added_but_not_taken_away(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    hub = data.open_hub(HubSpec("hub", 2), 1000)
    hub.close()
    hub = data.open_hub(HubSpec("hub", 3), 2000)
    assert [partition.id for partition in hub.partitions] == ["0", "1", "2"]
    assert hub.created_ms == 1000
    hub.close()
    with pytest.raises(EndpointError, match="has 3 partitions"):
        data.open_hub(HubSpec("hub", 2), 3000)
    (tmp_path / "hub" / "hub.json").write_text("{}")
    with pytest.raises(EndpointError, match="cannot be read"):
        data.open_hub(HubSpec("hub", 3), 3000)
    data.close()


def test_hub_specs() -> None:
    assert HubSpec.parse("hub") == HubSpec("hub", 4, ())
    assert HubSpec.parse("hub:2:a,b") == HubSpec("hub", 2, ("a", "b"))
    for text in ("", "../hub", "hub:x", "hub:0"):
        with pytest.raises(EndpointError):
            HubSpec.parse(text)


def test_the_same_key_goes_to_the_same_partition(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    hub = data.open_hub(HubSpec("hub", 4), 1000)
    keys = [f"key-{number}" for number in range(100)]
    assert [hub.partition_for(key).id for key in keys] == [hub.partition_for(key).id for key in keys]
    assert {hub.partition_for(key).id for key in keys} == {"0", "1", "2", "3"}
    assert [hub.partition_for(None).id for _ in range(5)] == ["0", "1", "2", "3", "0"]
    hub.close()
    data.close()
