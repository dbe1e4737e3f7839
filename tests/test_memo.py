"""Many who ask at once are one piece of work, and no answer is older than it may be."""

import asyncio

import pytest

from memo import Memo


async def test_many_at_once_share_one_answer_until_it_is_old() -> None:
    made = 0
    time = 100.0

    async def make() -> int:
        nonlocal made
        await asyncio.sleep(0)
        made += 1
        return made

    memo = Memo[int](10.0, lambda: time)
    assert await asyncio.gather(*(memo.get(make) for _ in range(20))) == [1] * 20
    time = 109.9
    assert await memo.get(make) == 1
    time = 110.0
    assert await memo.get(make) == 2


async def test_a_failure_is_not_kept() -> None:
    async def fail() -> int:
        raise ValueError

    async def make() -> int:
        return 1

    memo = Memo[int](10.0)
    with pytest.raises(ValueError):
        await memo.get(fail)
    assert await memo.get(make) == 1
