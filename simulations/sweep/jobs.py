"""Run the missing cells of experiments, several at once: ``python -m simulations sweep``.

Every finished cell is one file, which is written completely or not at all. So an interrupted sweep can go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from flwr_byzantine.lab.kept import Record, write
from flwr_byzantine.lab.processes import FAILED, ROUND, News, Tell, deal, run_in_processes
from flwr_byzantine.lab.progress import bar
from simulations.catalog import datasets
from simulations.federation.runner import run_all
from simulations.measure.summary import summarise
from simulations.sweep.cells import cell_path, missing_cells
from simulations.sweep.experiment import Cell


def batches(cells: Sequence[Cell], jobs: int) -> list[list[Cell]]:
    """Deal cells out to jobs. A job has one number of clients and one dataset."""

    def kind(cell: Cell) -> tuple[str, int]:
        return cell.config.dataset, cell.config.clients

    alike = groupby(sorted(cells, key=kind), kind)
    return [batch for _, group in alike for batch in deal(list(group), jobs)]


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
    rounds = {cell.key: cell.config.rounds for cell in todo}  # that still have to run
    total = sum(rounds.values())
    told: set[str] = set()  # reasons of failures: each is shown in full only once
    with bar(console) as going:

        def note(news: News) -> None:
            cell: Cell = news.run
            rounds[cell.key] = max(0, rounds[cell.key] - 1) if news.kind == ROUND else 0
            going.show(total - sum(rounds.values()), total, cell.name)
            if news.kind == ROUND:
                return
            if news.kind == FAILED:
                outcome.failed.append((cell, news.what))
            else:
                outcome.finished.append(cell)
            colour = "red" if news.kind == FAILED else "green"
            done = len(outcome.finished) + len(outcome.failed)
            what = "failed for the same reason" if news.what in told else news.what
            if news.kind == FAILED:
                told.add(news.what)
            shown = f"[{colour}]{escape(what)}[/{colour}]"
            going.console.print(f"{done}/{len(todo)} {escape(cell.name)}: {shown}")

        work = partial(_work, folder, verbose, not ray)
        run_in_processes(batches(todo, jobs), work, jobs, note, engine_interrupts=ray)
    return outcome


def _fetch(cells: Iterable[Cell]) -> None:
    """Download the missing datasets first, so that no two jobs download them at once."""
    for name, data_dir in {
        (c.config.dataset, c.config.data_dir) for c in cells if c.config.download
    }:
        with suppress(Exception):  # the jobs say what is wrong, cell by cell
            datasets.prepare(name, data_dir, download=True)


def _work(folder: Path, verbose: bool, inline: bool, cells: Sequence[Cell], tell: Tell) -> None:
    """Run a batch, and write each result as soon as it is there."""
    torch.set_num_threads(1)  # other processes have the other cores

    def on_round(place: int, _: Record) -> None:
        tell.round(place)

    def on_cell(place: int, result: Record | Exception) -> None:
        seconds, since[0] = time.perf_counter() - since[0], time.perf_counter()
        try:
            if isinstance(result, Exception):
                raise result
            write(summarise(result, cells[place].places), cell_path(folder, cells[place]))
        except Exception as error:
            tell.failed(place, error)
        else:
            tell.finished(place, f"{100 * result['final_accuracy']:.1f} %, {seconds:.0f} s")

    since = [time.perf_counter()]
    configs = [cell.config for cell in cells]
    run_all(configs, on_round, on_cell, verbose=verbose, inline=inline)
