"""``flwr-byzantine stress``, with a progress bar and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flwr.common.config import parse_config_args
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flwr_byzantine.lab.cell import Run
from flwr_byzantine.lab.stress_app import stress
from flwr_byzantine.lab.terminal import show


def stress_shown(
    console: Console,
    app: str,
    *,
    config: Sequence[str],
    out: Path,
    verbose: bool,
    **settings: Any,
) -> None:
    """Run an app under attacks, show how far it is, and print what became of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    errors: list[str] = []
    shown = Console(
        file=console.file
    )  # an app that prints while it runs is kept from where this goes
    with Progress(*columns, TimeRemainingColumn(), console=shown, transient=True) as progress:
        bar = progress.add_task("runs", total=None)

        def on_run(run: Run, done: int, total: int) -> None:
            progress.update(
                bar, completed=done, total=total, description=f"{run.rule}, {run.attack}"
            )
            if run.error is not None:
                errors.append(f"{run.rule}, {run.attack}: {run.error}")

        result = stress(
            app,
            config=parse_config_args(list(config)),
            out=out,
            verbose=verbose,
            on_run=on_run,
            **settings,
        )
    show(console, result.data)
    for error in errors:
        console.print(error, style="red", markup=False, soft_wrap=True)
    console.print(result.recommendation["reason"], style="bold", markup=False, soft_wrap=True)
    console.print(f"Page: {out / 'stress.html'}", markup=False, soft_wrap=True)
