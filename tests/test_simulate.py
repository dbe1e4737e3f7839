"""docs/scale.md shows what `make simulate` prints now."""

from pathlib import Path

from benchmarks.simulate import Load, collector, planned, report

DOCS = Path(__file__).resolve().parents[1] / "docs/scale.md"


def test_the_tables_are_those_of_the_docs() -> None:
    shown = DOCS.read_text("utf-8").split("<!-- make simulate -->\n")[1].split("<!-- end -->")[0]
    assert shown == report(), "copy what `make simulate` prints to docs/scale.md"


def test_a_batch_is_what_the_ledger_plans_of_it() -> None:
    one = planned(1, 1)
    assert (one.entities, one.transactions) == (4, 1)  # the call, its hour, its day, its month
    assert planned(1000, 1).transactions == 11  # of 97 calls and three sums, but where a model ends


def test_fuller_batches_need_less() -> None:
    at_once, waiting = (collector(5000, 100, Load(5000, 100, wait=wait)) for wait in (0, 5))
    assert waiting.requests < at_once.requests
    assert waiting.entities < at_once.entities
