"""Every decoder, given what nobody would send: no exception but the declared one, no hang, bounded memory.

`make test` tries a few thousand inputs, `make soak` a million (HYPOTHESIS_PROFILE=soak, again and again) and tells
which took longest.
"""

import json
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import services as app_services
from local.azurite import Azurite
from local.parts import GATEWAY_LOGS_HUB, USAGE_HUB
from pipeline import ingest
from services import Services
from tests.faults.decoders import BODIES, CHECKS, EVENTS
from tests.faults.mutations import KINDS, TOKENS, Change, mutate
from tests.support.events import NOON, raw_event, usage_event

CASES = 2 * settings().max_examples
"""Per check: 200, in a soak 10,000."""

part = st.integers(0, 65_535)
changes = st.lists(st.builds(Change, st.sampled_from(list(KINDS)), part, part, part), max_size=4)
slowest: dict[str, tuple[float, bytes]] = {}


@pytest.fixture(scope="module", autouse=True)
def _tell_the_slowest() -> Iterator[None]:
    yield
    for name, (seconds, body) in sorted(slowest.items()):
        print(f"{name}: {CASES} cases, the slowest took {seconds * 1000:.1f} ms for {len(body)} bytes: {body[:60]!r}…")


def seconds_taken(check: Callable[[bytes], None], body: bytes) -> float:
    started = time.process_time()
    check(body)
    return time.process_time() - started


@pytest.mark.parametrize("name", list(CHECKS))
def test_no_input_breaks(name: str) -> None:
    check, seeds = CHECKS[name]

    @settings(max_examples=CASES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(seed=st.sampled_from(seeds) | st.binary(max_size=40), changed=changes)
    def run(seed: bytes, changed: list[Change]) -> None:
        body = mutate(seed, changed, EVENTS)
        longest = slowest.get(name, (0.0, b""))[0]
        taken = seconds_taken(check, body)
        if taken > longest and (taken := min(taken, seconds_taken(check, body))) > longest:  # garbage is collected once
            slowest[name] = taken, body

    run()


@pytest.fixture(scope="module")
async def services(azurite: Azurite) -> AsyncIterator[Services]:
    environment = {"UsageStorage": azurite.connection_string, "TABLE_PREFIX": f"z{uuid4().hex[:16]}"}
    hubs = {"USAGE_EVENTS_HUB": USAGE_HUB, "GATEWAY_LOGS_HUB": GATEWAY_LOGS_HUB}
    found = app_services.build(environment | hubs)
    yield found
    await found.close()


@settings(max_examples=CASES // 20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(odd=st.lists(st.tuples(st.sampled_from(EVENTS), changes), min_size=1, max_size=6))
async def test_whatever_is_read_can_be_stored(services: Services, odd: list[tuple[bytes, list[Change]]]) -> None:
    """Batches of odd events into tables, twice: each record has one outcome, and the second time none counts."""
    good = json.dumps(usage_event()).encode()
    bodies = [good, *(mutate(seed, changed, EVENTS) for seed, changed in odd)]
    batch = [raw_event(body, sequence_number=number) for number, body in enumerate(bodies)]
    first, second = [await ingest(batch, services, now=lambda: NOON) for _ in range(2)]
    assert first is not None
    assert second is not None
    for report in (first, second):
        outcomes = report.counted + report.duplicate + report.joined + report.pending + report.dead_lettered
        assert report.received == outcomes, report
    assert first.counted >= 1
    assert second.counted == second.corrected == second.pending == 0
    assert second.dead_lettered == first.dead_lettered


# ------------------------------------------------------------------------------------------- work grows with the input


def lines_run(function: Callable[[], Any]) -> int:
    """How many lines of the collectors a call runs: what time would say, the same on every machine."""
    count = 0

    def in_function(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return in_function

    def on_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return in_function if "/collectors/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def assert_linear(check: Callable[[bytes], None], frame: Callable[[bytes, int], bytes], block: bytes) -> None:
    few, many, most = (partial(lines_run, partial(check, frame(block, times))) for times in (20, 80, 320))
    lines = few(), many()
    # Beyond the parser's depth each sign is read thrice, which is a step between one size and the next. It must be the
    # only one: what grows with the square grows from there on too.
    if lines[1] > 5 * lines[0] + 2_000:
        lines = lines[1], most()
    assert lines[1] <= 5 * lines[0] + 2_000, lines


FRAMES: dict[str, Callable[[bytes, int], bytes]] = {
    "as it is": lambda block, times: block * times,
    "events": lambda block, times: (b"data: " + block + b"\n\n") * times,
    "lines": lambda block, times: (block + b"\n") * times,
    "array": lambda block, times: b"[" + b",".join([block] * times) + b"]",
    "records": lambda block, times: b'{"records":[' + b",".join([block] * times) + b"]}",
    "nested": lambda block, times: b'{"a":' * times + block,
}
BLOCKS: list[bytes] = sorted(
    {line.removeprefix(b"data: ") for body in BODIES for line in body.splitlines() if 1 < len(line) < 400}
    | {event for event in EVENTS if len(event) < 700}
    | set(TOKENS)
)


@pytest.mark.parametrize("name", ["batch", "body", "text"])
def test_work_grows_with_the_input_and_not_with_its_square(name: str) -> None:
    """Four times the input, at most five times the lines run: for whatever is repeated."""
    check, _ = CHECKS[name]

    @settings(max_examples=CASES // 2, suppress_health_check=[HealthCheck.too_slow])
    @given(
        block=st.sampled_from(BLOCKS),
        changed=st.lists(st.builds(Change, st.sampled_from(["node", "number", "cut end", "insert"]), part, part, part)),
        frame=st.sampled_from(list(FRAMES)),
    )
    def run(block: bytes, changed: list[Change], frame: str) -> None:
        block = mutate(block, changed[:2], EVENTS)[:500]
        assert_linear(check, FRAMES[frame], block)

    run()


@pytest.mark.parametrize("name", ["batch", "body", "text"])
def test_memory_is_bounded_by_the_input(name: str) -> None:
    """What is worst is an event of the smallest records: some 600 bytes for each of its bytes."""
    check, _ = CHECKS[name]
    check(b"")  # what is made once
    for body in (b"[" + b"1," * 4_000 + b"1]", b"{}\n" * 3_000, b"[" * 8_000, b'{"a":' * 2_000, EVENTS[0] * 8):
        tracemalloc.start()
        try:
            check(body)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 800 * len(body) + 1_000_000, (body[:20], peak / len(body))
