"""How many threads the kernels use."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

_VARIABLE = "FLWR_BYZANTINE_NUM_THREADS"


def num_threads() -> int:
    """Number of threads a kernel call uses.

    Returns
    -------
    int
        ``FLWR_BYZANTINE_NUM_THREADS`` if it is set. Otherwise ``OMP_NUM_THREADS``, which Ray sets inside
        its actors to the number of cores that they own. Otherwise the number of cores that this process
        may run on, but at most 16, because memory limits the loops long before that. The result of a
        kernel does not depend on the number of threads.

    Raises
    ------
    ValueError
        If the variable holds anything but a positive whole number.
    """
    for variable in (_VARIABLE, "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
        if text and variable == _VARIABLE:
            raise ValueError(
                f"Environment variable `{_VARIABLE}` should be a positive whole number. "
                f"Found `{_VARIABLE} = {text!r}`. Set it to the number of cores to use, or unset it."
            )
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(cores, 16)


def spread(
    function: Callable[[int, int], T], bounds: list[int], threads: int | None = None
) -> list[T]:
    """Call ``function(lo, hi)`` for each pair of neighbouring bounds, on ``threads`` threads or on all.

    Returns
    -------
    list
        The results, in the order of the ranges.
    """
    ranges = list(pairwise(bounds))
    threads = min(threads or num_threads(), len(ranges))
    if threads <= 1:
        return [function(lo, hi) for lo, hi in ranges]
    todo, results = deque(enumerate(ranges)), {}

    def work() -> None:
        while True:
            try:
                i, (lo, hi) = todo.popleft()
            except IndexError:
                return
            results[i] = function(lo, hi)

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work) for _ in range(threads - 1)]
        work()
    for other in others:
        other.result()
    return [results[i] for i in range(len(ranges))]
