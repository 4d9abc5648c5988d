"""The table of the demonstration, and a check that it shows what it should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table

from simulations.demo.federation import AVERAGE, CONTENDERS, REFERENCE, Contender, Curve

LAST = 5  # rounds whose mean accuracy counts, because single rounds vary on skewed data
MARGIN = 0.06  # a rule holds if it ends at most this far below FedAvg without an attack
BROKEN = 0.5  # below this a strategy is broken
HOLDS, PARTLY = "holds", "loses a part"


class Verdict(NamedTuple):
    """Whether the demonstration shows what it should, and what is missing."""

    holds: bool
    complaints: list[str]


def final(curve: Curve) -> float:
    """Return the mean accuracy over the last rounds, which counts.

    Examples
    --------
    >>> final([0.1, 0.5, 0.5, 0.5, 0.5, 1.0])
    0.6
    """
    return float(np.mean(curve[-LAST:]))


def judge(curves: Mapping[str, Curve], contenders: Sequence[Contender] = CONTENDERS) -> Verdict:
    """Check that FedAvg is broken, and that every rule holds that should.

    Parameters
    ----------
    curves : mapping of str to list of float
        Accuracies by the contenders' names.
    contenders : sequence of Contender
        The strategies that were run.
    """
    ends = {name: final(curve) for name, curve in curves.items()}
    reference, complaints = ends[REFERENCE], []
    if not reference > BROKEN + MARGIN:
        complaints.append(f"FedAvg learns only {reference:.1%} without an attack.")
    if not ends[AVERAGE] < BROKEN:
        complaints.append(f"FedAvg under attack still reaches {ends[AVERAGE]:.1%}.")
    for name in (contender.name for contender in contenders if contender.expected):
        if not ends[name] >= reference - MARGIN:
            complaints.append(
                f"{name} ends at {ends[name]:.1%}, and FedAvg without an attack at {reference:.1%}."
            )
    return Verdict(not complaints, complaints)


def word(name: str, end: float, reference: float) -> str:
    """Say in a word or two what became of a strategy."""
    if name == REFERENCE:
        return "the reference"
    if not end >= BROKEN:
        return "broken"
    return HOLDS if end >= reference - MARGIN else PARTLY


def table(curves: Mapping[str, Curve]) -> Table:
    """Return a row for each strategy: accuracy, points lost, and a word."""
    reference = final(curves[REFERENCE])
    grid = Table()
    grid.add_column("strategy")
    grid.add_column("accuracy", justify="right")
    grid.add_column("points lost", justify="right")
    grid.add_column("verdict")
    for name, curve in curves.items():
        end = final(curve)
        lost = "" if name == REFERENCE else f"{100 * (reference - end):.1f}"
        said = word(name, end, reference)
        style = "red" if said == "broken" else None
        grid.add_row(name, f"{100 * end:.1f} %", lost, said, style=style)
    return grid


def summary(curves: Mapping[str, Curve]) -> str:
    """Say which strategies hold, and which lose a part."""
    reference = final(curves[REFERENCE])
    said = {name: word(name, final(curve), reference) for name, curve in curves.items()}
    holding = [name for name, it in said.items() if it == HOLDS]
    partly = [name for name, it in said.items() if it == PARTLY]
    lines = [
        "FedAvg is broken.",
        f"Within {100 * MARGIN:.0f} points of FedAvg without an attack: {', '.join(holding)}.",
    ]
    if partly:
        lines.append(
            f"Not broken, but worse on data as skewed as these: {', '.join(partly)}. "
            "docs/which-rule.md says which rule when."
        )
    return "\n".join(lines)
