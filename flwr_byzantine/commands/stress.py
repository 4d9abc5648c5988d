"""``flwr-byzantine stress``, with a progress bar and a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from flwr_byzantine.commands.run_config import read_config
from flwr_byzantine.lab.cell import Run
from flwr_byzantine.lab.progress import bar
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
    """Run an app under attacks, show the progress, and print the result."""
    failed: dict[str, list[str]] = {}  # reason -> the runs that failed for it
    # Results go to a stream of their own, because apps may print while they run.
    shown = Console(file=console.file)
    with bar(shown, transient=True) as going:

        def on_run(run: Run, done: int, total: int) -> None:
            if not shown.is_terminal:  # a bar needs one
                print(
                    f"{done} of {total} runs: {run.rule}, {run.attack}", file=sys.stderr, flush=True
                )
            if run.error is not None:
                which = f", seed {run.seed}" if settings["seeds"] > 1 else ""
                failed.setdefault(run.error, []).append(f"{run.rule}, {run.attack}{which}")

        result = stress(
            app,
            config=read_config(config),
            out=out,
            verbose=verbose,
            on_run=on_run,
            on_step=going.show,
            **settings,
        )
    show(console, result.data)
    for error, runs in failed.items():
        line = f"{'; '.join(sorted(runs))}: {error}"
        console.print(line, style="red", markup=False, soft_wrap=True)
    console.print(result.recommendation["reason"], style="bold", markup=False, soft_wrap=True)
    console.print(f"Page: {out / 'stress.html'}", markup=False, soft_wrap=True)
