"""Reputations over the rounds: a thin line for each client and seed, a thick one for each kind of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flwr_byzantine.lab.kept import Record, replace_file
from simulations.config import RunConfig
from simulations.measure.roles import kinds
from simulations.report.looks import COLOURS, FIXED, SOFT, rule_look
from simulations.report.names import written
from simulations.report.panels import Named, draw_seeds, name_lines, panels
from simulations.report.slim import svg_of
from simulations.report.view import Results

BENIGN = "benign"
NUMBER = re.compile(r"(?<==)-?\d+(?:\.\d+)?")  # of a parameter
ACRONYMS = {"little is enough": "LIE", "inner product manipulation": "IPM"}


class Scores(NamedTuple):
    """The reputations of all clients of a run in each round, and what kind of client each of them is."""

    rounds: Sequence[int]
    scores: Sequence[Sequence[float | None]]
    named: Sequence[str]

    def of(self, kind: str) -> np.ndarray:
        """Return the reputations of a kind of client, shape (clients, rounds); NaN where there is none."""
        own = [client for client, name in enumerate(self.named) if name == kind]
        known = [
            [row[client] if len(row) == len(self.named) else None for row in self.scores]
            for client in own
        ]
        return np.array(known, dtype=float).reshape(len(own), len(self.rounds))


def draw_scores(results: Results, experiment: str, figure: str, rule: str) -> Figure | None:
    """Draw the reputations of a rule's clients in all seeds, a panel for each attack."""
    found: dict[str, list[Scores]] = {}
    for place in results.places(experiment, figure):
        for run in results.runs(place).values() if place.rule == rule else ():
            if "reputations" in run["curves"]:
                scores = [own or [] for own in run["curves"]["reputations"]]
                named = kinds(RunConfig(**run["config"]))
                own = Scores(run["curves"]["round"], scores, named)
                found.setdefault(written(place.column), []).append(own)
    return _drawn(found) if found else None


def plot_reputations(result: Record, path: Path) -> Path:
    """Draw the reputations of a run of `bygars` or `bygars++` into an SVG file.

    Parameters
    ----------
    result : dict
        The result of the run.
    path : Path
        The file to write. Its folder is made if it is missing.

    Returns
    -------
    Path
        The file written.
    """
    config = RunConfig(**result["config"])
    rounds = [record for record in result["rounds"] if "reputations" in record]
    numbers = [record["round"] for record in rounds]
    own = Scores(numbers, [record["reputations"] for record in rounds], kinds(config))
    attack = f"{config.byzantine} of {config.clients} {config.attack}" if config.byzantine else ""
    title = written(f"{config.rule}, {attack or 'no attack'}".replace("_", " "))
    path.parent.mkdir(parents=True, exist_ok=True)
    return replace_file(path, svg_of(_drawn({title: [own]}), f"{title}: reputations").encode())


def looks_of(named: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return how each kind of client looks. Only benign clients have the first colour, and none is red."""
    ordered = sorted(set(named), key=lambda kind: (kind != BENIGN, kind))
    own = len(COLOURS)  # multiples of it have the first colour, which is for the benign alone
    numbers = [0, *(number for number in range(1, 2 * len(ordered)) if number % own)]
    if BENIGN not in ordered:
        numbers = numbers[1:]
    looks = zip(ordered, numbers, strict=False)
    return {kind: rule_look(number) | {"marker": ""} for kind, number in looks}


def _drawn(found: dict[str, list[Scores]]) -> Figure:
    looks = looks_of(kind for runs in found.values() for run in runs for kind in run.named)
    drawn, axes_of = panels([*found], "reputation", share_y=False)
    lines = [_lines(axes, runs, looks) for axes, runs in zip(axes_of, found.values(), strict=True)]
    how = "Thin lines are clients in each seed, thick lines their means."
    name_lines(drawn, axes_of, lines, how)
    return drawn


def _lines(axes: Axes, runs: Sequence[Scores], looks: dict[str, dict[str, Any]]) -> list[Named]:
    with matplotlib.rc_context(FIXED):
        axes.axhline(0, color=SOFT, linewidth=0.8)
    lines = []
    for kind in (kind for kind in looks if any(kind in run.named for run in runs)):
        values = np.concatenate([run.of(kind) for run in runs])
        line = draw_seeds(axes, runs[0].rounds, values, looks[kind])
        many = runs[0].named.count(kind)
        lines.append(Named(f"{many} {short(kind, looks)}", line))
    return lines


def short(kind: str, others: Iterable[str] = ()) -> str:
    """Write a kind of client in few letters, with its numbers only if another kind has the same name.

    Examples
    --------
    >>> short("benign"), short("SignFlip(scale=1.0)"), short("LittleIsEnough(z=None)")
    ('benign', 'sign flip', 'LIE')
    >>> short("SignFlip(scale=4.0)", ["SignFlip(scale=1.0)", "SignFlip(scale=4.0)"])
    'sign flip (4)'
    """
    name, _, inside = kind.partition("(")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = ACRONYMS.get(words, written(words))
    if any(other != kind and other.partition("(")[0] == name for other in others):
        numbers = [number.removesuffix(".0") for number in NUMBER.findall(inside)]
        return (
            f"{words} ({', '.join(numbers)})".replace("-", "\N{MINUS SIGN}") if numbers else words
        )
    return words
