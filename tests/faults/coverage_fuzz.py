"""The decoders under atheris, which looks for inputs that run code no input has run before.

    python -m tests.faults.coverage_fuzz --runs 200000        # a part of `make soak`

Ends with code 0 when nothing was found. What was found is printed, and kept as `crash-…` in the working directory.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["collectors", "models.event", "models.keys", "models.measures"]):
    from tests.faults.decoders import CHECKS

LONGEST_SECONDS = 120
"""Of the clock on the wall, so that a busy machine finds nothing; an input takes some milliseconds."""
MEMORY_MB = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200_000, help="inputs to try (%(default)s)")
    runs = parser.parse_args().runs
    checks = list(CHECKS.values())

    def one_input(data: bytes) -> None:
        """The first byte says which decoder."""
        if data:
            checks[data[0] % len(checks)][0](data[1:])

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for number, (_, seeds) in enumerate(checks):
            for place, seed in enumerate(seeds[:40]):
                (Path(folder) / f"{number}-{place}").write_bytes(bytes([number]) + seed)
        options = [f"-atheris_runs={runs}", "-max_len=20000", f"-timeout={LONGEST_SECONDS}"]
        options += [f"-rss_limit_mb={MEMORY_MB}", "-report_slow_units=1", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
