"""The result of a stress test as a table on the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from flwr_byzantine.lab.page.colours import LIMITS
from flwr_byzantine.lab.page.data import NONE, Cell, Result, read
from flwr_byzantine.lab.page.text import MISSING, times


def table(result: Result) -> Table:
    """Points lost by rule and attack, and what each rule costs.

    Parameters
    ----------
    result : Mapping[str, Any]
        As ``stress.json`` holds it; any part may be missing.
    """
    findings = read(result)
    shown = Table(
        title=Text(f"Points of {findings.metric} lost against {findings.app} without an attack"),
        caption=Text("Time is per round, as a multiple of the app's own. * is recommended."),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    shown.add_column("rule", no_wrap=True)
    for attack in findings.attacks:
        name = "no attack" if attack == NONE else attack
        shown.add_column(Text(name), justify="right", no_wrap=True)
    shown.add_column("worst", justify="right", no_wrap=True)
    shown.add_column("time", justify="right", no_wrap=True)
    for rule in findings.rules:
        chosen = rule == findings.recommended
        worst, cost = findings.weakest(rule), times(findings.cost(rule))
        cells = [_cell(findings.cell(rule, attack)) for attack in findings.attacks]
        if chosen:
            rule += " *"
        cells.append(_cell(worst) if worst else Text(MISSING, style="dim"))
        cells[-1].stylize("bold")
        shown.add_row(Text(rule, style="bold" if chosen else ""), *cells, cost)
    return shown


def _cell(cell: Cell) -> Text:
    if cell.loss is None:
        return Text(cell.loss_in_words, style="red" if cell.error else "dim")
    style = "green" if cell.loss <= LIMITS[0] else "red" if cell.loss > LIMITS[3] else "yellow"
    return Text(cell.loss_in_words, style=style)
