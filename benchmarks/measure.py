"""Measures time and peak memory of a call."""

import contextlib
import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Call = Callable[[], Any]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return statistics.median(self.seconds)

    def ratios(self, reference: "Timing") -> tuple[float, ...]:
        """The time of each call, divided by the reference's time in the same repetition."""
        return tuple(a / b for a, b in zip(self.seconds, reference.seconds, strict=True))


def time_in_turn(
    calls: Mapping[str, Call], settle: Mapping[str, Call], repeat: int
) -> dict[str, Timing]:
    """Time several calls, one after the other in every repetition, so that noise affects all of them equally.

    Parameters
    ----------
    calls : Mapping[str, Callable]
        What to time. Each is called once beforehand, to compile and to warm up.
    settle : Mapping[str, Callable]
        Name of a call -> what waits for the work that the call left in the background. It is not timed.
    repeat : int
        Number of repetitions.

    Returns
    -------
    dict[str, Timing]
        Name -> seconds of each repetition.
    """
    for name, call in calls.items():
        call()
        settle.get(name, gc.collect)()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            start = time.perf_counter()
            result = call()
            seconds[name].append(time.perf_counter() - start)
            del result
            settle.get(name, gc.collect)()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def peak_bytes(call: Call) -> int | None:
    """Bytes that a call adds at its peak, its result included. None if the system does not say.

    The kernel's high-water mark of resident memory is reset before the call (Linux only).
    """
    gc.collect()
    with contextlib.suppress(AttributeError, TypeError):  # only glibc has it
        # Without this, the call would reuse memory that an earlier one freed, and seem to add none.
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5")
        before = _resident("VmRSS")
        result = call()
        peak = _resident("VmHWM")
        del result
    except OSError:
        return None
    return max(0, peak - before)


def _resident(field: str) -> int:
    line = next(row for row in _STATUS.read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) * 1024
