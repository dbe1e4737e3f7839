"""Calling a function: its context, its thread or loop, its retries."""

import asyncio
import contextvars
import inspect
import itertools
import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import azure.functions as func

from local.functions_host.app import FunctionSpec, HttpTrigger

logger = logging.getLogger(__name__)
current_function: contextvars.ContextVar[str] = contextvars.ContextVar("current_function", default="host")
"""The name of the function being run, for log lines."""

_thread_local = threading.local()


@dataclass(frozen=True)
class TraceContext:
    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RetryContext:
    """As in the real worker, a first try has (0, 0) or (0, maximum), and there is no `exception`."""

    retry_count: int = 0
    max_retry_count: int = 0


@func.Context.register
@dataclass(frozen=True)
class Context:
    """What a function's `context` parameter gets: the attributes of func.Context."""

    function_name: str
    function_directory: str
    trace_context: TraceContext
    retry_context: RetryContext
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    thread_local_storage: threading.local = _thread_local


class Outcome(Enum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # with its retries used up
    ABANDONED = "abandoned"  # the host stops, or the partition is lost


class Invoker:
    """Runs async functions on the event loop and the others in its thread pool."""

    def __init__(self, directory: Path, threads: int | None = None) -> None:
        self._directory = str(directory)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")

    async def call(
        self,
        spec: FunctionSpec,
        decode: Callable[[], Any],
        *,
        retry_count: int = 0,
        trace: TraceContext | None = None,
    ) -> Any:
        """One invocation. `decode` makes the argument; its errors are the invocation's errors, as in the worker."""
        token = current_function.set(spec.name)
        try:
            arguments = {spec.argument: decode()}
            if spec.wants_context:
                arguments["context"] = self._context(spec, retry_count, trace)
            if inspect.iscoroutinefunction(spec.call):
                result = await spec.call(**arguments)
            else:
                run = contextvars.copy_context().run
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._pool, run, _call_in_thread, spec.call, arguments)
        finally:
            current_function.reset(token)
        if result is not None and not isinstance(spec.trigger, HttpTrigger):
            raise RuntimeError(f"function '{spec.name}' without a $return binding returned a non-None value")
        return result

    async def run(self, spec: FunctionSpec, decode: Callable[[], Any], abandon: asyncio.Event) -> Outcome:
        """An invocation with the retries of the function's policy, until it succeeds or `abandon` is set."""
        for retry_count in itertools.count():
            retry = retry_count + 1
            try:
                await self.call(spec, decode, retry_count=retry_count)
            except Exception:
                more = spec.retry.allows(retry)
                then = f"retry {retry} in {spec.retry.delay_seconds(retry):g} s" if more else "no retry left"
                logger.exception("Executed '%s' (Failed, %s)", spec.name, then)
            else:
                return Outcome.SUCCEEDED
            if not more:
                return Outcome.FAILED
            if await is_set_within(abandon, spec.retry.delay_seconds(retry)):
                return Outcome.ABANDONED
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Takes no more calls. A thread cannot be stopped: what still runs there runs on."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _context(self, spec: FunctionSpec, retry_count: int, trace: TraceContext | None) -> Context:
        return Context(
            spec.name,
            self._directory,
            trace or TraceContext(f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"),
            RetryContext(retry_count, spec.retry.max_retry_count),
        )


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Waits up to `seconds`; whether the event is set."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _call_in_thread(call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    if context := arguments.get("context"):
        _thread_local.invocation_id = context.invocation_id
    try:
        return call(**arguments)
    except StopIteration as error:  # a future cannot carry it
        raise RuntimeError("the function raised StopIteration") from error
