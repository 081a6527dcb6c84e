"""A few worker threads with little work ahead of them, so that memory stays bounded."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

WORKERS = 2
"""The machine this was tuned on has two cores; hashing and zstd keep a core busy each."""

TASKS_AHEAD = 2 * WORKERS + 2


def run_in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result, None, None]:
    """Do `work` on each task in worker threads and yield the results in the tasks' order.

    Raises:
        Exception: The first that `work` or `tasks` raises; tasks not begun are then dropped, and
            those begun are waited for.
    """
    workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="ebsim-worker")
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(workers.submit(work, task))
            if len(waiting) > TASKS_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        workers.shutdown(wait=True, cancel_futures=True)
