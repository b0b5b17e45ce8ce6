"""Answer requests in threads, those of one group in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

MAX_BATCH = 32
"""Most requests in one call."""
BatchFunction = Callable[[list[Any]], list[Any]]
"""Answers a list of requests."""


class Batcher:
    """Answer requests in ``threads`` threads, so that the event loop stays free.

    Requests queue while all threads are busy. The next free thread takes the first one and all others of its function
    and group, at most ``MAX_BATCH``. Under load, the lists of many users thus come from one matrix product; a request
    never waits for others to join it.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batcher")
        self._free_threads = threads
        self._queue: dict[tuple[BatchFunction, str], list[tuple[Any, asyncio.Future[Any]]]] = {}

    async def __call__(self, function: BatchFunction, request: Any, group: str = "") -> Any:
        """The response to one request. Raises the error that ``function`` raises for it or another one of the group."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.setdefault((function, group), []).append((request, future))
        self._start_batches()
        return await future

    async def one(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The response of a function that answers one request by itself."""
        return await self(lambda requests: [function(*request) for request in requests], arguments)

    def close(self) -> None:
        """Stop the threads; queued requests are cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start_batches(self) -> None:
        while self._free_threads and self._queue:
            key = next(iter(self._queue))
            queued = self._queue.pop(key)
            if len(queued) > MAX_BATCH:
                self._queue[key] = queued[MAX_BATCH:]  # behind the other groups
            requests, futures = zip(*queued[:MAX_BATCH], strict=True)
            self._free_threads -= 1
            work = asyncio.get_running_loop().run_in_executor(self._pool, key[0], list(requests))
            work.add_done_callback(partial(self._deliver, futures))

    def _deliver(self, futures: tuple[asyncio.Future[Any], ...], done: asyncio.Future[list[Any]]) -> None:
        self._free_threads += 1
        error = done.exception() if not done.cancelled() else asyncio.CancelledError()
        for index, future in enumerate(futures):
            if future.done():  # the client has gone
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result()[index])
        self._start_batches()
