"""queries.buckets: by whose rules days begin."""

import subprocess
import sys
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("zone", ["Africa/Casablanca", "America/Vancouver", "Europe/Berlin"])
def test_zones_are_those_of_the_locked_package_whatever_the_machine_has(zone: str, tmp_path: Path) -> None:
    """A machine whose image says that all zones are UTC: it would be asked first."""
    machines = tmp_path / zone
    machines.parent.mkdir(parents=True)
    machines.write_bytes(resources.files("tzdata").joinpath("zoneinfo", "UTC").read_bytes())
    asked = [f"datetime({year}, {month}, 2, tzinfo=UTC)" for year in (2026, 2027) for month in range(1, 13)]
    code = (
        "from datetime import UTC, datetime\nfrom queries.buckets import zone_named, zone_text\n"
        f"print([zone_text(each, zone_named({zone!r})) for each in ({', '.join(asked)})])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONTZPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    with resources.files("tzdata").joinpath("zoneinfo", zone).open("rb") as rules:
        right = ZoneInfo.from_file(rules)
    times = [datetime(year, month, 2, tzinfo=UTC) for year in (2026, 2027) for month in range(1, 13)]
    assert answer.stdout.strip() == str([time.astimezone(right).isoformat() for time in times])
