"""Computing threads: a request that fails leaves its thread free for the next one."""

from __future__ import annotations

import asyncio

import pytest

from crossrec.errors import DataError
from crossrec.serving.batching import Batcher


def test_a_thread_that_failed_is_free_again():
    async def requests() -> None:
        batcher = Batcher(1)

        def fail(requests):
            raise DataError("no such item")

        for _ in range(3):
            with pytest.raises(DataError, match="no such item"):
                await asyncio.wait_for(batcher(fail, 1), 30)
        failed, queued = asyncio.create_task(batcher(fail, 1)), asyncio.create_task(batcher.one(str, 5))
        assert await asyncio.wait_for(queued, 30) == "5"
        with pytest.raises(DataError, match="no such item"):
            await failed
        batcher.close()

    asyncio.run(requests())


def test_requests_of_one_group_are_answered_together_and_each_gets_its_own():
    async def requests() -> list[list[int]]:
        batcher, started, go = Batcher(1), asyncio.Event(), asyncio.Event()
        loop, batches = asyncio.get_running_loop(), []

        def wait() -> None:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(30)

        def double(requests):
            batches.append(requests)
            return [2 * request for request in requests]

        first = asyncio.create_task(batcher.one(wait))
        await asyncio.wait_for(started.wait(), 30)
        others = [asyncio.create_task(batcher(double, n, "even" if n % 2 == 0 else "odd")) for n in range(6)]
        await asyncio.sleep(0)
        go.set()
        assert await asyncio.wait_for(asyncio.gather(first, *others), 30) == [None, 0, 2, 4, 6, 8, 10]
        batcher.close()
        return batches

    assert asyncio.run(requests()) == [[0, 2, 4], [1, 3, 5]]
