"""Progress while runs go on, and the table at their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.table import Table

from flwr_byzantine.lab.kept import Record
from flwr_byzantine.lab.progress import bar
from simulations.config import RunConfig
from simulations.federation.runner import OnCellRound

SUCCESS = "final_attack_success_rate"


def label(config: RunConfig) -> str:
    """Name a run by its rule and attack."""
    return f"{config.rule}, {'no attack' if config.attack == 'none' else config.attack}"


@contextmanager
def progress(configs: Sequence[RunConfig], console: Console) -> Iterator[OnCellRound]:
    """Show one bar for all rounds of all runs; yields what has to be called after each round."""
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
