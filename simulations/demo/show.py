"""Runs the demonstration, and prints its progress, its table and its files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flwr_byzantine.lab.progress import bar
from simulations.demo.federation import CONTENDERS, Contender, Setting, accuracies
from simulations.demo.picture import save
from simulations.demo.verdict import LAST, final, judge, summary, table

DATA = "demo.json"


def demo(
    out: Path,
    console: Console,
    verbose: bool = False,
    *,
    setting: Setting | None = None,
    contenders: Sequence[Contender] = CONTENDERS,
    inline: bool = False,
) -> bool:
    """Run the demonstration, print its table and draw its picture. Return whether it shows what it should.

    Parameters
    ----------
    out : Path
        The folder for the picture and the accuracies.
    console : Console
        Where to print.
    verbose : bool
        Show what Flower logs.
    setting : Setting, optional
        Another federation than the usual one.
    contenders : sequence of Contender
        The strategies.
    inline : bool
        Run the clients in this process instead of Ray's.
    """
    setting = setting or Setting()
    out.mkdir(parents=True, exist_ok=True)
    console.print(introduction(setting))
    each = setting.rounds + 1
    total = each * len(contenders)
    seen: list[list[float]] = [[] for _ in contenders]
    with bar(console) as going:
        going.show(0, total, "starting Flower's simulation engine (Ray)")

        def on_round(number: int, accuracy: float) -> None:
            seen[number].append(accuracy)
            name = contenders[number].name
            going.show(sum(map(len, seen)), total, name, f"accuracy {accuracy:.1%}")
            if len(seen[number]) == each:
                going.console.print(f"  {name}: {final(seen[number]):.1%}")

        curves = accuracies(setting, on_round, contenders, inline=inline, verbose=verbose)
    (out / DATA).write_text(json.dumps({"setting": vars(setting), "accuracies": curves}, indent=1))
    console.print(table(curves))
    verdict = judge(curves, contenders)
    for complaint in verdict.complaints:
        console.print(f"[red]{complaint}[/red]")
    if verdict.holds:
        console.print(summary(curves))
    files = [*save(curves, setting, out), out / DATA]
    console.print("Picture: {}, {}\nNumbers: {}".format(*files), soft_wrap=True)
    return verdict.holds


def introduction(setting: Setting) -> str:
    """Say what the demonstration does."""
    return (
        f"{setting.clients} clients share real digits, each with a mix of its own. {setting.byzantine} of "
        f"them attack: they send the mean of the honest updates times -{setting.epsilon:g}.\n"
        f"Each strategy trains for {setting.rounds} rounds. Its accuracy is the mean of the last {LAST}."
    )
