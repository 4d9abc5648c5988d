"""Progress while runs go on, and the table at their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flwr_byzantine.lab.kept import Record
from flwr_byzantine.lab.progress import bar
from simulations.config import RunConfig
from simulations.federation.runner import OnCellRound
from simulations.report.tables import accuracy_table, parts
from simulations.report.view import Results
from simulations.sweep.experiment import NAMES

SUCCESS = "final_attack_success_rate"
DETECTION = ("precision", "recall")  # how well rejections find Byzantine clients


def label(config: RunConfig) -> str:
    """Name a run by its rule and attack."""
    return f"{config.rule}, {'no attack' if config.attack == 'none' else config.attack}"


@contextmanager
def progress(configs: Sequence[RunConfig], console: Console) -> Iterator[OnCellRound]:
    """Show one bar for all rounds of all runs. Yield the function to call after each round."""
    total = sum(config.rounds for config in configs)
    done = count(1)
    with bar(console) as going:
        going.show(0, total, "starting the engine")

        def on_round(cell: int, record: Record) -> None:
            accuracy = record["accuracy"]
            note = None if accuracy is None else f"accuracy {100 * accuracy:.1f} %"
            going.show(next(done), total, label(configs[cell]), note)

        yield on_round


def table(results: Sequence[Record], names: Sequence[str]) -> Table:
    """Return a table of final accuracies, how well Byzantine clients were found, and time per round.

    If there is a backdoor, its success is shown too.
    """
    backdoor = any(SUCCESS in result for result in results)
    grid = Table()
    grid.add_column("rule")
    grid.add_column("final accuracy", justify="right")
    if backdoor:
        grid.add_column("attack success rate", justify="right")
    for name in DETECTION:
        grid.add_column(name, justify="right")
    grid.add_column("seconds per round", justify="right")
    for name, result in zip(names, results, strict=True):
        shares = [result["final_accuracy"], *([result.get(SUCCESS)] if backdoor else [])]
        shares += [result["detection"][name] for name in DETECTION]
        seconds = f"{result['seconds_per_round']:.2f}"
        grid.add_row(name, *("-" if s is None else f"{100 * s:.1f} %" for s in shares), seconds)
    return grid


def accuracies(results: Results, figure: str = "") -> Iterator[Table]:
    """Yield the final accuracies of a user's own experiments, in a table for each figure."""
    for experiment in results.experiments:
        if experiment.name in NAMES:
            continue
        for name in experiment.figures:
            if figure not in ("", name):
                continue
            for variant in parts(results, experiment.name, name):
                found = accuracy_table(results, experiment.name, name, variant)
                grid = Table(title=escape(f"{experiment.title}, {name}"))
                for column in found.head:
                    grid.add_column(escape(column))
                for row in found.rows:
                    grid.add_row(*(escape(str(cell)) for cell in row))
                yield grid
