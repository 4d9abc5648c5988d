"""Runs in processes of their own, several at once; what one of them tells is passed on as it comes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from flwr_byzantine.lab.scratch import PREFIX

ROUND, FINISHED, FAILED = "round", "finished", "failed"
MOST = 32  # runs that a process does one after the other, before its memory is given back
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class News:
    """What became of a run.

    Parameters
    ----------
    kind : str
        ``round`` after each of its rounds, and at its end ``finished`` or ``failed``.
    run : Any
        The run, as it was given.
    what : Any
        What the work told of one that finished; why one failed, in a line.
    """

    kind: str
    run: Any
    what: Any = None


OnNews = Callable[[News], None]


class Tell:
    """How the work on a batch tells what becomes of its runs, each by its place in the batch."""

    def __init__(self, send: Callable[[int, str, Any], None]) -> None:
        self._send = send

    def round(self, place: int) -> None:
        """A round of the run is over."""
        self._send(place, ROUND, None)

    def finished(self, place: int, what: Any) -> None:
        """The run is over; ``what`` can be pickled."""
        self._send(place, FINISHED, what)

    def failed(self, place: int, error: BaseException) -> None:
        """The run ended with an error."""
        self._send(place, FAILED, in_one_line(error))


Work = Callable[[Sequence[Any], Tell], None]


def in_one_line(error: BaseException) -> str:
    """What an error says, without its line ends."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def deal(runs: Sequence[Any], at_once: int) -> list[list[Any]]:
    """Deal runs out to batches, as many as there are processes at once, or more where they are long.

    Examples
    --------
    >>> deal("abcde", 2)
    [['a', 'c', 'e'], ['b', 'd']]
    """
    number = max(min(at_once, len(runs)), -(-len(runs) // MOST))
    return [list(runs[start::number]) for start in range(number)]


def run_here(batch: Sequence[Any], work: Work, on_news: OnNews) -> None:
    """Do the work on a batch in this process.

    Parameters
    ----------
    batch : Sequence
        The runs.
    work : Callable
        ``work(batch, tell)`` runs all of a batch.
    on_news : Callable
        Called with all that is told.
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
    """Do the work on batches, each in a process of its own with one thread.

    Parameters
    ----------
    batches : Sequence[Sequence]
        The runs of each process. All can be pickled.
    work : Callable
        ``work(batch, tell)`` runs all of a batch, one after the other; it can be pickled too.
    at_once : int
        How many processes at once.
    on_news : Callable
        Called in this process with all that they tell.
    engine_interrupts : bool (default: False)
        Whether Ctrl-C is for the work too, whose engine ends in good order. Otherwise it is for the caller
        alone, and ends the processes.

    Notes
    -----
    Where a process dies, the run that it was at has failed. The runs behind it go on in another process.
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
    """Start a process for each batch, and pass on what they tell."""
    waiting = [list(batch) for batch in batches if batch]
    running: dict[Connection, _Running] = {}  # by the end of a pipe that each tells through
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
    """A process, and which runs of its batch it has told no end of."""

    process: SpawnProcess
    batch: list[Any]
    left: set[int]

    def told(self, place: int, kind: str) -> Any:
        """The run that is spoken of."""
        if kind != ROUND:
            self.left.discard(place)
        return self.batch[place]

    def ended(self) -> list[Any]:
        """The runs that it leaves, the one that it was at first."""
        self.process.join()
        return [self.batch[place] for place in sorted(self.left)]

    def why(self) -> str:
        """Why it has ended, though it told nothing."""
        ended = f"its process ended with status {self.process.exitcode}"
        return f"{ended}: out of memory, or the app ended it"


def _start(
    batch: list[Any], does: Callable[[Sequence[Any], Connection], None]
) -> tuple[Connection, _Running]:
    """Start a process; it begins with one thread, so that it takes no cores of the others."""
    receives, sends = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=does, args=(batch, sends))
    unset = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, "1"))
    try:
        process.start()
    finally:
        for name in unset:
            del os.environ[name]
    sends.close()  # the process has it: once it has ended, so has what is told
    return receives, _Running(process, batch, set(range(len(batch))))


def _process(
    work: Work, engine_interrupts: bool, place: str, batch: Sequence[Any], sends: Connection
) -> None:
    """What a process does, with its temporary files in a folder that others remove."""
    tempfile.tempdir = place
    if not engine_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(place,), daemon=True).start()
    left, lock = set(range(len(batch))), threading.Lock()  # an app may have threads

    def send(place: int, kind: str, what: Any) -> None:
        with lock:
            sends.send((place, kind, what))
        if kind != ROUND:
            left.discard(place)

    try:
        work(batch, Tell(send))
    except Exception as error:  # nothing could be run, for want of data perhaps
        for number in sorted(left):
            send(number, FAILED, in_one_line(error))


def _end_with_parent(place: str) -> None:
    """End this process as soon as the one that started it is gone: nobody waits for the rest."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        shutil.rmtree(place, ignore_errors=True)
        os._exit(1)
