"""An answer that costs something, made at most every so many seconds, however many ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """Belongs to one event loop. Those who ask while it is being made wait for it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[float, T] | None = None

    async def get(self, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gave last, if that is recent enough, else what it gives now. Raises what it raises."""
        async with self._lock:
            if self._kept is None or self._clock() - self._kept[0] >= self._seconds:
                value = await make()
                self._kept = self._clock(), value
            return self._kept[1]
