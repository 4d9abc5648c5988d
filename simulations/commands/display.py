"""Progress while runs go on, and the table at their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from simulations.config import RunConfig
from simulations.federation.runner import OnCellRound
from simulations.measure.results import Record

SUCCESS = "final_attack_success_rate"


def label(config: RunConfig) -> str:
    """Name a run by its rule and attack."""
    return f"{config.rule}, {'no attack' if config.attack == 'none' else config.attack}"


@contextmanager
def progress(configs: Sequence[RunConfig], console: Console) -> Iterator[OnCellRound]:
    """Show one bar for all rounds of all runs; yields what has to be called after each round."""
    bar = Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("accuracy {task.fields[accuracy]}"),
        TimeRemainingColumn(),
        console=console,
    )
    total = sum(config.rounds for config in configs)
    task = bar.add_task("starting the engine", total=total, accuracy="-")

    def on_round(cell: int, record: Record) -> None:
        fields: dict[str, Any] = {}
        if record["accuracy"] is not None:
            fields["accuracy"] = f"{100 * record['accuracy']:.1f} %"
        bar.update(task, advance=1, description=label(configs[cell]), **fields)

    with bar:
        yield on_round


def table(results: Sequence[Record], names: Sequence[str]) -> Table:
    """Return a table of final accuracy, the success of a backdoor where there is one, and time per round."""
    backdoor = any(SUCCESS in result for result in results)
    grid = Table()
    grid.add_column("rule")
    grid.add_column("final accuracy", justify="right")
    if backdoor:
        grid.add_column("attack success rate", justify="right")
    grid.add_column("seconds per round", justify="right")
    for name, result in zip(names, results, strict=True):
        shares = [result["final_accuracy"], *([result.get(SUCCESS)] if backdoor else [])]
        seconds = f"{result['seconds_per_round']:.2f}"
        grid.add_row(name, *("-" if s is None else f"{100 * s:.1f} %" for s in shares), seconds)
    return grid
