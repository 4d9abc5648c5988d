"""The reputations of a run over its rounds, one line a client, coloured by what it really is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flwr_byzantine.lab.kept import Record
from simulations.config import RunConfig
from simulations.measure.roles import kinds


def colours(named: Iterable[str]) -> dict[str, Any]:
    """Give every kind of client a colour; up to 20 kinds, one of its own."""
    ordered = sorted(set(named), key=lambda kind: (kind != "benign", kind))
    dark, light = color_sequences["tab10"], color_sequences["tab20"][1::2]
    return dict(zip(ordered, cycle([*dark, *light])))


def draw_reputations(
    axes: Axes,
    rounds: Sequence[int],
    scores: Sequence[Sequence[float | None]],
    named: Sequence[str],
    palette: Mapping[str, Any],
) -> None:
    """Draw the scores in each round, one line a client, labelled once for each kind."""
    for client, kind in enumerate(named):
        points = [own[client] if len(own) == len(named) else None for own in scores]
        values = np.array(points, dtype=float)  # None becomes NaN: a gap
        line = axes.plot(rounds, values, color=palette[kind])
        if named.index(kind) == client:
            line[0].set_label(f"{kind}, {named.count(kind)}x")
    axes.axhline(0, color="grey", linewidth=0.5)
    axes.grid(alpha=0.3)


def plot_reputations(result: Record, path: Path) -> Path:
    """Draw the scores of a run of `bygars` or `bygars++` into a PNG file.

    Parameters
    ----------
    result : dict
        The result of the run.
    path : Path
        The file to write; its folder is made where it is missing.

    Returns
    -------
    Path
        The file written.
    """
    config = RunConfig(**result["config"])
    named = kinds(config)
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    attack = f"{config.byzantine} of {config.clients} {config.attack}" if config.byzantine else ""
    title = f"{config.rule}, {attack or 'no attack'}"
    axes = figure.add_subplot(xlabel="round", ylabel="reputation", title=title)
    rounds = [record for record in result["rounds"] if "reputations" in record]
    numbers = [record["round"] for record in rounds]
    scores = [record["reputations"] for record in rounds]
    draw_reputations(axes, numbers, scores, named, colours(named))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path
