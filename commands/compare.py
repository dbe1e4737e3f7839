"""A partition of an export beside the same one in the table, row by row, and whether its rows may come in.

Most rows are told by their keys. The same sums can stand in other rows, though, since each writer has its own and an
export that met calls being counted writes what it added up as one of its own (ledger/snapshot.py). So in table `usage`
rows come in only beside rows of the very same export: what an import that was stopped had brought in. If there is
anything else, it is either the same over all writers, and there is nothing to bring in, or it differs.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date

from ledger import directory, rows
from ledger.rows import cell_key, day_of
from ledger.snapshot import measures_in
from ledger.store import Entity
from models.measures import Measures, add, negative


@dataclass(slots=True)
class Compared:
    """Rows that are the `same`, `missing` in the table, `different` there (their keys) or `only_there`. Of table
    `usage` also how many `calls` of the file are missing or different, and by hour, day and month what the `sums` of
    the file are more than those of the table, and on which `days` its calls are; those that
    the purge has behind it are `late`."""

    table: str
    same: int = 0
    missing: int = 0
    different: list[str] = field(default_factory=list)
    only_there: int = 0
    calls: int = 0
    sums: dict[str, Measures] = field(default_factory=lambda: defaultdict(dict))
    days: set[date] = field(default_factory=set)
    late: set[date] = field(default_factory=set)

    def take(self, wanted: Entity | None, there: Entity | None) -> None:
        """A row of the file, and the one of the table with its key; one of the two may be None."""
        key: str = (wanted or there or {})["RowKey"]
        if self.table == rows.TABLE and wanted is not None and key.startswith("c|"):
            self.days.add(day_of(key))
        if wanted is not None and wanted == there:
            self.same += 1
            return
        if wanted is None:
            self.only_there += 1
        elif there is None:
            self.missing += 1
        else:
            self.different.append(key)
        if self.table != rows.TABLE:
            return
        if key.startswith("c|"):
            self.calls += wanted is not None
            return
        if wanted is not None:
            add(self.sums[cell_key(key)], measures_in(wanted))
        if there is not None:
            add(self.sums[cell_key(key)], negative(measures_in(there)))

    @property
    def other_sums(self) -> list[str]:
        """The hours, days and months whose sums, over all writers, are not the same."""
        return [cell for cell, sums in self.sums.items() if any(sums.values())]

    @property
    def is_refused(self) -> bool:
        """Whether nothing may be written: what is there is neither the same nor a part of it."""
        if self.table == directory.TABLE:  # each row stands for itself: the others come in
            return False
        if self.table == rows.TABLE:
            is_part = not self.different and not self.only_there
            return not is_part and (self.calls > 0 or bool(self.other_sums))
        return bool(self.different)

    @property
    def comes_in(self) -> bool:
        """Whether the rows that are missing are to be inserted."""
        if self.table == rows.TABLE and (self.different or self.only_there):
            return False
        return self.missing > 0 and not self.is_refused
