"""The timers: one task per timer function, which waits and runs in turn, and so never overlaps itself."""

import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

from azure.functions.meta import Datum
from azure.functions.timer import TimerRequestConverter

from local.functions_host.app import FunctionSpec, TimerTrigger
from local.functions_host.invoke import Invoker, is_set_within
from local.functions_host.schedule import parse_schedule
from local.functions_host.settings import ConfigurationError

_NEVER = datetime.min.replace(tzinfo=UTC)


def timer_request(last: datetime, following: datetime) -> Any:
    """A func.TimerRequest. It is never past due: this host remembers no run from before its start."""
    content = {
        "IsPastDue": False,
        "Schedule": {"AdjustForDST": False},
        "ScheduleStatus": {"Last": last.isoformat(), "Next": following.isoformat(), "LastUpdated": last.isoformat()},
    }
    return TimerRequestConverter.decode(Datum(json.dumps(content), "json"), trigger_metadata={})


class TimerListener:
    """Runs one timer function; an occurrence missed during a run or its retries is not made up for."""

    def __init__(self, spec: FunctionSpec, invoker: Invoker) -> None:
        assert isinstance(spec.trigger, TimerTrigger)
        try:
            self._next_after = parse_schedule(spec.trigger.schedule)
        except ValueError as error:
            raise ConfigurationError(f"function '{spec.name}': schedule: {error}") from error
        self._spec = spec
        self._run_on_startup = spec.trigger.run_on_startup
        self._invoker = invoker
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"timer {self._spec.name}")

    async def stop(self, grace_seconds: float) -> None:
        """Starts nothing more; a run gets the grace to end and is then cancelled."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=grace_seconds)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        last = _NEVER
        due = _now() if self._run_on_startup else self._next_after(_now())
        while not await is_set_within(self._stopping, (due - _now()).total_seconds()):
            following = self._next_after(due)
            await self._invoker.run(self._spec, partial(timer_request, last, following), self._stopping)
            last = due
            due = self._next_after(max(due, _now()))  # a sleep may end a little early


def _now() -> datetime:
    return datetime.now(UTC)
