"""What the collector says it has counted: asked over HTTP, as any client would, and of its table of dead letters."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient

from local.processes import PartError
from local.sample.truth import Counts

DEAD_LETTER_TABLE = "deadletters"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy: it is on this machine


class Counted(NamedTuple):
    """Totals per app in the range, and the number of records set aside."""

    apps: Mapping[str, Counts]
    dead_letters: int

    @property
    def totals(self) -> Counts:
        return Counts.total(self.apps.values())

    def since(self, before: "Counted") -> "Counted":
        grown = {app: counts - before.apps.get(app, Counts()) for app, counts in self.apps.items()}
        return Counted(
            {app: counts for app, counts in grown.items() if counts != Counts()},
            self.dead_letters - before.dead_letters,
        )


@dataclass(frozen=True)
class Collector:
    """The running collector, asked about whole hours from `start` until `end`."""

    base_url: str
    storage: str
    start: datetime
    end: datetime

    def counted(self) -> Counted:
        rows = self.usage("app")["rows"]
        return Counted({row["app"]: Counts.of_row(row) for row in rows}, self._dead_letters())

    def usage(self, group_by: str) -> dict[str, Any]:
        """The answer of `/api/usage` for the whole range. Raises PartError when there is none."""
        query = {"from": _rfc3339(self.start), "to": _rfc3339(self.end), "granularity": "total", "group_by": group_by}
        try:
            with _DIRECT.open(f"{self.base_url}/api/usage?{urllib.parse.urlencode(query)}", timeout=30) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as exc:
            text = exc.read().decode("utf-8", "replace")[:300]
            raise PartError(f"/api/usage answered with status {exc.code}: {text}") from exc
        except (OSError, ValueError) as exc:
            raise PartError(f"/api/usage did not answer: {exc}") from exc

    def _dead_letters(self) -> int:
        with TableClient.from_connection_string(self.storage, DEAD_LETTER_TABLE) as table:
            try:
                return sum(1 for _ in table.list_entities(select=["PartitionKey", "RowKey"]))
            except ResourceNotFoundError:
                return 0


def hours_around(now: datetime, back: timedelta) -> tuple[datetime, datetime]:
    """The whole hours that hold `now - back` until `now`, and one more for what arrives meanwhile."""
    hour = timedelta(hours=1)
    start = (now - back).replace(minute=0, second=0, microsecond=0)
    return start, now.replace(minute=0, second=0, microsecond=0) + 2 * hour


def _rfc3339(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
