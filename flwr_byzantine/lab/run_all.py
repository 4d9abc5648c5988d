"""All runs of a stress test, several at once, each in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from typing import Any

from flwr_byzantine.lab.cell import Federation, Run, in_one_line, run_cell
from flwr_byzantine.lab.flower_app import FlowerApp, load_apart
from flwr_byzantine.lab.kept_runs import Pair
from flwr_byzantine.lab.simulation import quiet


def run_all(
    app: Any,
    loaded: FlowerApp,
    pairs: Sequence[Pair],
    federation: Federation,
    jobs: int | None,
    verbose: bool,
) -> Iterator[Run]:
    """The runs as they end."""
    if isinstance(app, FlowerApp) or jobs == 1 or len(pairs) <= 1:
        for rule, attack in pairs:
            with quiet(verbose):
                run = run_cell(loaded, rule, attack, federation)
            yield run
        return
    workers = min(jobs or os.cpu_count() or 1, len(pairs))
    folder = os.path.abspath(os.fspath(app))
    yield from _in_processes(folder, pairs, federation, workers, verbose)


def _in_processes(
    folder: str, pairs: Sequence[Pair], federation: Federation, workers: int, verbose: bool
) -> Iterator[Run]:
    """The runs as they end, several at once."""
    died: list[Pair] = []
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread) as pool:
        waiting = {
            pool.submit(_in_worker, folder, pair, federation, verbose): pair for pair in pairs
        }
        for done in as_completed(waiting):
            try:
                yield done.result()
            except BrokenProcessPool:
                died.append(waiting[done])
            except Exception as error:  # the app is not there for the process
                yield Run(*waiting[done], {}, None, 0, [], [], {}, in_one_line(error))
    if died and len(pairs) == 1:
        reason = "its process died: out of memory, or the app ended it"
        yield Run(*died[0], {}, None, 0, [], [], {}, reason)
    else:  # one of them ended the others: each once more by itself
        for pair in died:
            yield from _in_processes(folder, [pair], federation, 1, verbose)


def _one_thread() -> None:
    """Runs share the cores: none of them takes several."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


@cache
def _loaded(folder: str) -> FlowerApp:
    return load_apart(folder)


def _in_worker(folder: str, pair: Pair, federation: Federation, verbose: bool) -> Run:
    with quiet(verbose):
        return run_cell(_loaded(folder), *pair, federation)
