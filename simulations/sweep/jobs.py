"""Run the cells of experiments that are not there yet, several at once: ``python -m simulations sweep``.

Every finished cell is one file, written whole; an interrupted sweep goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulations.catalog import datasets
from simulations.federation.runner import run_all
from simulations.measure.results import Record, write
from simulations.measure.summary import summarise
from simulations.sweep.cells import cell_path, missing_cells
from simulations.sweep.experiment import Cell

CELLS_PER_JOB = 32  # before its memory is given back

_CONTEXT = multiprocessing.get_context("spawn")


def batches(cells: Sequence[Cell], jobs: int) -> list[list[Cell]]:
    """Deal cells out to jobs: one process runs federations of one size, on one dataset."""

    def kind(cell: Cell) -> tuple[str, int]:
        return cell.config.dataset, cell.config.clients

    dealt: list[list[Cell]] = []
    for _, group in groupby(sorted(cells, key=kind), kind):
        alike = list(group)
        number = max(min(jobs, len(alike)), -(-len(alike) // CELLS_PER_JOB))
        dealt += [alike[start::number] for start in range(number)]
    return dealt


@dataclass
class Sweep:
    """What has become of the cells of a sweep."""

    finished: list[Cell] = field(default_factory=list)
    failed: list[tuple[Cell, str]] = field(default_factory=list)  # and what ended each


def sweep(
    cells: Sequence[Cell],
    folder: Path,
    jobs: int,
    console: Console,
    verbose: bool = False,
    ray: bool = False,
) -> Sweep:
    """Run the cells that are missing in a folder.

    Parameters
    ----------
    cells : sequence of Cell
        The cells.
    folder : Path
        Where each result is written, in the folder of its experiment.
    jobs : int
        Federations at once, each in a process of its own.
    console : Console
        Where progress is shown.
    verbose : bool (default: False)
        Show what Flower and Ray log.
    ray : bool (default: False)
        Run clients in Ray, as ``python -m simulations run`` does, instead of the federation's process.
        The results are the same.

    Returns
    -------
    Sweep
        One failing cell does not stop the others.
    """
    todo = missing_cells(cells, folder)
    _fetch(todo)
    outcome = Sweep()
    columns = (TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(elapsed_when_finished=True), console=console
    ) as bar:
        rounds = bar.add_task("rounds", total=sum(cell.config.rounds for cell in todo))
        seen: Counter[str] = Counter()
        for kind, cell, text in _run_jobs(batches(todo, jobs), folder, jobs, verbose, not ray):
            if kind == "round":
                seen[cell.key] += 1
                bar.update(rounds, advance=1, description=escape(cell.name[:48]))
                continue
            bar.update(rounds, advance=cell.config.rounds - seen[cell.key])  # of one that failed
            if kind == "finished":
                outcome.finished.append(cell)
            else:
                outcome.failed.append((cell, text))
            colour = "green" if kind == "finished" else "red"
            done = len(outcome.finished) + len(outcome.failed)
            shown = f"[{colour}]{escape(text)}[/{colour}]"
            bar.console.print(f"{done}/{len(todo)} {escape(cell.name)}: {shown}")
    return outcome


def _fetch(cells: Iterable[Cell]) -> None:
    """Download the datasets that are missing, before several jobs would at once."""
    for name, data_dir in {
        (c.config.dataset, c.config.data_dir) for c in cells if c.config.download
    }:
        with suppress(Exception):  # the jobs say what is wrong, cell by cell
            datasets.prepare(name, data_dir, download=True)


def _run_jobs(
    waiting: list[list[Cell]], folder: Path, jobs: int, verbose: bool, inline: bool
) -> Iterator[tuple[str, Cell, str]]:
    """Run batches in processes of their own, and yield what they tell of their cells."""
    messages: Any = _CONTEXT.Queue()
    running: dict[int, tuple[SpawnProcess, list[Cell]]] = {}
    numbered = list(enumerate(waiting))
    try:
        while numbered or running:
            while numbered and len(running) < jobs:
                number, batch = numbered.pop(0)
                arguments = (number, batch, folder, verbose, inline, messages)
                process = _CONTEXT.Process(target=_job, args=arguments)
                process.start()
                running[number] = process, list(batch)
            ended = [number for number, (process, _) in running.items() if not process.is_alive()]
            for number, kind, place, text in _received(messages):
                cell = waiting[number][place]
                if kind != "round":
                    running[number][1].remove(cell)
                yield kind, cell, text
            for number in ended:
                process, left = running.pop(number)
                for cell in left:
                    yield "failed", cell, f"its process ended with status {process.exitcode}"
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()


def _received(messages: Any) -> Iterator[tuple[int, str, int, str]]:
    """Yield what is there, after waiting a moment for it."""
    try:
        yield messages.get(timeout=0.5)
        while True:
            yield messages.get_nowait()
    except queue.Empty:
        return


def _job(
    number: int, cells: list[Cell], folder: Path, verbose: bool, inline: bool, messages: Any
) -> None:
    """Run a batch, and write each result as soon as it is there."""
    if inline:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which ends its jobs
    os.environ["OMP_NUM_THREADS"] = "1"  # of the kernels: other jobs have the other cores
    torch.set_num_threads(1)
    sweeping = multiprocessing.parent_process()

    def on_round(place: int, record: Record) -> None:
        if sweeping is not None and not sweeping.is_alive():
            os._exit(1)  # killed: nobody waits for the rest
        messages.put((number, "round", place, ""))

    def on_cell(place: int, result: Record | Exception) -> None:
        seconds, since[0] = time.perf_counter() - since[0], time.perf_counter()
        left.remove(place)
        try:
            if isinstance(result, Exception):
                raise result
            write(summarise(result, cells[place].places), cell_path(folder, cells[place]))
        except Exception as error:
            failed(place, error)
        else:
            ended = f"{100 * result['final_accuracy']:.1f} %, {seconds:.0f} s"
            messages.put((number, "finished", place, ended))

    def failed(place: int, error: Exception) -> None:
        messages.put((number, "failed", place, f"{type(error).__name__}: {error}"))

    since, left = [time.perf_counter()], list(range(len(cells)))
    configs = [cell.config for cell in cells]
    try:
        run_all(configs, on_round, on_cell, verbose=verbose, inline=inline)
    except Exception as error:  # nothing could be run, for want of data perhaps
        for place in left:
            failed(place, error)
