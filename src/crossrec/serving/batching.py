"""Questions wait in one line; threads take them, all of a kind at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from crossrec.serving.service import Result

TOGETHER = 32
"""Most questions that are answered at once."""
Many = Callable[[list[Any]], list[Result]]


class Desk:
    """Answers questions in ``threads`` threads, so that the event loop stays free.

    While all threads are busy, questions gather; the next one that is free takes the first and all others that the same
    function answers. Under load lists of many users thus come from one product, and nobody waits for company.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="desk")
        self._free = threads
        self._line: deque[tuple[Many, Any, asyncio.Future[dict[str, Any]]]] = deque()

    async def __call__(self, answer: Many, asked: Any) -> dict[str, Any]:
        """The answer to one question by a function of many. Raises what the function says is wrong with it."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._line.append((answer, asked, future))
        self._serve()
        return await future

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _serve(self) -> None:
        while self._free and self._line:
            answer = self._line[0][0]
            taken: list[tuple[Any, asyncio.Future[dict[str, Any]]]] = []
            left: deque[tuple[Many, Any, asyncio.Future[dict[str, Any]]]] = deque()
            for one in self._line:
                if one[0] == answer and len(taken) < TOGETHER:
                    taken.append(one[1:])
                else:
                    left.append(one)
            self._line = left
            self._free -= 1
            work = asyncio.get_running_loop().run_in_executor(self._pool, answer, [asked for asked, _ in taken])
            work.add_done_callback(partial(self._deliver, [future for _, future in taken]))

    def _deliver(self, futures: list[asyncio.Future[dict[str, Any]]], done: asyncio.Future[list[Result]]) -> None:
        self._free += 1
        error = done.exception() if not done.cancelled() else asyncio.CancelledError()
        results: list[Any] = [error] * len(futures) if error is not None else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.done():  # whoever asked has gone
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._serve()
