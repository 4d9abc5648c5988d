"""Work in another thread, while the server does something else."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
IN_BACKGROUND: ContextVar[bool] = ContextVar("in_background", default=False)


def in_background(function: Callable[[], T]) -> Future[T]:
    """Call a function in a new thread, which ends with the function."""

    def run() -> T:
        IN_BACKGROUND.set(True)
        return function()

    pool = ThreadPoolExecutor(1, thread_name_prefix="reputations")
    try:
        return pool.submit(run)
    finally:
        pool.shutdown(wait=False)
