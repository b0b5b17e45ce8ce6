"""Answer requests in threads, several of the same kind in one call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from crossrec.serving.service import Result

MAX_BATCH = 32
"""Most requests in one call."""
BatchFunction = Callable[[list[Any]], list[Result]]
"""Answers a list of requests, each with a result or an error."""
ResultFuture = asyncio.Future[dict[str, Any]]


class QueuedRequest(NamedTuple):
    """A request that waits for a thread."""

    function: BatchFunction
    request: Any
    future: ResultFuture


class Batcher:
    """Answer requests in ``threads`` threads, so that the event loop stays free.

    Requests queue while all threads are busy. The next free thread takes the first one and all others with the same
    function, at most ``MAX_BATCH``. Under load, the lists of many users thus come from one matrix product; a request
    never waits for others to join it.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batcher")
        self._free_threads = threads
        self._queue: deque[QueuedRequest] = deque()

    async def __call__(self, function: BatchFunction, request: Any) -> dict[str, Any]:
        """The result of one request. Raises the error that ``function`` returns for it."""
        future: ResultFuture = asyncio.get_running_loop().create_future()
        self._queue.append(QueuedRequest(function, request, future))
        self._start_batches()
        return await future

    def close(self) -> None:
        """Stop the threads; queued requests are cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start_batches(self) -> None:
        while self._free_threads and self._queue:
            function = self._queue[0].function
            batch: list[QueuedRequest] = []
            remaining: deque[QueuedRequest] = deque()
            for queued in self._queue:
                if queued.function == function and len(batch) < MAX_BATCH:
                    batch.append(queued)
                else:
                    remaining.append(queued)
            self._queue = remaining
            self._free_threads -= 1
            requests = [queued.request for queued in batch]
            work = asyncio.get_running_loop().run_in_executor(self._pool, function, requests)
            work.add_done_callback(partial(self._deliver, [queued.future for queued in batch]))

    def _deliver(self, futures: list[ResultFuture], done: asyncio.Future[list[Result]]) -> None:
        self._free_threads += 1
        error = done.exception() if not done.cancelled() else asyncio.CancelledError()
        results: list[Any] = [error] * len(futures) if error is not None else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.done():  # the client has gone
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._start_batches()
