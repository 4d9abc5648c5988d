"""Runs in separate processes, several at once. What a process reports is passed on at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any, cast

from flwr_byzantine.lab.scratch import PREFIX

ROUND, FINISHED, FAILED = "round", "finished", "failed"
MOST = 32  # the runs that one process makes; a new process then begins with fresh memory
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class News:
    """What became of a run.

    Parameters
    ----------
    kind : str
        ``round`` after each round of the run, and ``finished`` or ``failed`` at its end.
    run : Any
        The run, as the caller passed it.
    what : Any
        The result of a finished run; for a failed run, the reason in one line.
    """

    kind: str
    run: Any
    what: Any = None


OnNews = Callable[[News], None]


class Tell:
    """Reports what becomes of the runs of a batch. A run is named by its place in the batch."""

    def __init__(self, send: Callable[[int, str, Any], None]) -> None:
        self._send = send

    def round(self, place: int) -> None:
        """Report that a round of the run is over."""
        self._send(place, ROUND, None)

    def finished(self, place: int, what: Any) -> None:
        """Report that the run is over, with its result, which can be pickled."""
        self._send(place, FINISHED, what)

    def failed(self, place: int, error: BaseException) -> None:
        """Report that the run ended with an error."""
        self._send(place, FAILED, in_one_line(error))


Work = Callable[[Sequence[Any], Tell], None]


def in_one_line(error: BaseException) -> str:
    """The type and the text of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def deal(runs: Sequence[Any], at_once: int) -> list[list[Any]]:
    """Deal runs out to batches: one for each process, or more if a batch would get too long.

    Examples
    --------
    >>> deal("abcde", 2)
    [['a', 'c', 'e'], ['b', 'd']]
    """
    number = max(min(at_once, len(runs)), -(-len(runs) // MOST))
    return [list(runs[start::number]) for start in range(number)]


def run_here(batch: Sequence[Any], work: Work, on_news: OnNews) -> None:
    """Make the runs of a batch in this process.

    Parameters
    ----------
    batch : Sequence
        The runs.
    work : Callable
        ``work(batch, tell)`` makes all runs of a batch.
    on_news : Callable
        It is called with each report.
    """
    work(batch, Tell(lambda place, kind, what: on_news(News(kind, batch[place], what))))


def run_in_processes(
    batches: Sequence[Sequence[Any]],
    work: Work,
    at_once: int,
    on_news: OnNews,
    *,
    engine_interrupts: bool = False,
) -> None:
    """Make the runs of several batches, each batch in a process of its own with one thread.

    Parameters
    ----------
    batches : Sequence[Sequence]
        The runs of each process. All can be pickled.
    work : Callable
        ``work(batch, tell)`` makes all runs of a batch, one after the other. A module defines it, not the
        user's script.
    at_once : int
        How many processes work at once.
    on_news : Callable
        It is called in this process with each report.
    engine_interrupts : bool (default: False)
        Whether Ctrl-C reaches the work too, so that its engine can end in good order. Otherwise only the
        caller gets Ctrl-C, and ends the processes.

    Notes
    -----
    If a process dies, its present run has failed. The remaining runs of its batch go on in another process.
    Temporary files of all processes are removed at the end, also those of processes that were ended.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as place:
        _run_all(batches, partial(_process, work, engine_interrupts, place), at_once, on_news)


def _run_all(
    batches: Sequence[Sequence[Any]],
    process: Callable[[Sequence[Any], Connection], None],
    at_once: int,
    on_news: OnNews,
) -> None:
    """Start a process for each batch, and pass on the reports."""
    waiting = [list(batch) for batch in batches if batch]
    running: dict[Connection, _Running] = {}  # by the pipe through which each process reports
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                pipe, started = _start(waiting.pop(0), process)
                running[pipe] = started
            for pipe in cast("list[Connection]", wait(list(running))):
                teller = running[pipe]
                try:
                    place, kind, what = pipe.recv()
                except EOFError:
                    del running[pipe]
                    left = teller.ended()
                    if left:
                        on_news(News(FAILED, left.pop(0), teller.why()))
                    if left:
                        waiting.append(left)
                    continue
                on_news(News(kind, teller.told(place, kind), what))
    finally:
        for teller in running.values():
            teller.process.terminate()
        for teller in running.values():
            teller.process.join()


@dataclass
class _Running:
    """A process, with those runs of its batch that have not ended yet."""

    process: SpawnProcess
    batch: list[Any]
    left: set[int]

    def told(self, place: int, kind: str) -> Any:
        """The run that a report is about."""
        if kind != ROUND:
            self.left.discard(place)
        return self.batch[place]

    def ended(self) -> list[Any]:
        """The runs that the process leaves unfinished. The run that it was working on comes first."""
        self.process.join()
        return [self.batch[place] for place in sorted(self.left)]

    def why(self) -> str:
        """Say why a process has ended without a report."""
        ended = f"its process ended with status {self.process.exitcode}"
        return f"{ended}: out of memory, or the app ended it"


def _start(
    batch: list[Any], does: Callable[[Sequence[Any], Connection], None]
) -> tuple[Connection, _Running]:
    """Start a process with one thread, so that it leaves the other cores to the other processes.

    Unlike Python's own start, this does not run the user's script. So the script needs no
    ``if __name__ == "__main__"``.
    """
    receives, sends = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=does, args=(batch, sends))
    unset = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, "1"))
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    resource_tracker.ensure_running()  # its own start would end the block below
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the process inherits this
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        sys.modules["__main__"] = script
        for name in unset:
            del os.environ[name]
    sends.close()  # only the process holds it now, so the pipe ends with the process
    return receives, _Running(process, batch, set(range(len(batch))))


def _process(
    work: Work, engine_interrupts: bool, place: str, batch: Sequence[Any], sends: Connection
) -> None:
    """The work of a process. Its temporary files are in a folder that the caller removes."""
    tempfile.tempdir = place
    if not engine_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(place,), daemon=True).start()
    left, lock = set(range(len(batch))), threading.Lock()  # an app may start threads

    def send(place: int, kind: str, what: Any) -> None:
        with lock:
            sends.send((place, kind, what))
        if kind != ROUND:
            left.discard(place)

    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # it was blocked from the start
        work(batch, Tell(send))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # the caller got it too
    except Exception as error:  # no run could start, perhaps because data are missing
        for number in sorted(left):
            send(number, FAILED, in_one_line(error))


def _end_with_parent(place: str) -> None:
    """End this process as soon as the process that started it is gone, because nobody needs its results."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        shutil.rmtree(place, ignore_errors=True)
        os._exit(1)
