"""The figures of the report: curves and reputations."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from flwr_byzantine.lab.kept import Record
from simulations.config import RunConfig
from simulations.measure.roles import kinds
from simulations.report.reputations import colours, draw_reputations
from simulations.report.tables import grid
from simulations.report.view import Place, Results

ACROSS = 5  # panels in a row
DPI = 80
PALETTE = 128  # colours are enough for lines, and keep files small
LINEAR = 1e-6  # nearer to zero a logarithmic axis is linear


def draw_curves(
    results: Results,
    experiment: str,
    figure: str,
    curve: str,
    label: str,
    scale: float = 1.0,
    logarithmic: bool = False,
) -> Figure | None:
    """Draw a quantity over the rounds: a panel for each attack, a line for each rule.

    The line is the mean over the seeds, the band reaches from their least to their largest value.
    Returns None where nothing has been run that has the quantity.
    """
    rules, columns = grid(results, experiment, figure)
    places = [place for place in results.places(experiment, figure) if _have(results, place, curve)]
    if not places:
        return None
    drawn, panels = _panels(columns)
    for column, axes in zip(columns, panels, strict=True):
        for place in (place for place in places if place.column == column):
            runs = [run for run in results.runs(place).values() if curve in run["curves"]]
            colour = colormaps["tab10"](rules.index(place.rule))
            _line(
                axes, runs, curve, scale, color=colour, label=results.shown(experiment, place.rule)
            )
        starts = {_attack_start(results.runs(place)) for place in places if place.column == column}
        for start in filter(None, starts):
            axes.axvline(start, color="grey", linestyle=":", label="the attack starts")
        if logarithmic:
            axes.set_yscale("symlog", linthresh=LINEAR)
        axes.grid(alpha=0.3)
    _legend(drawn, panels)
    drawn.supylabel(label, fontsize="small")
    return drawn


def draw_scores(results: Results, experiment: str, figure: str, rule: str) -> Figure | None:
    """Draw the reputations of a rule's clients, a panel for each attack, in the first seed run."""
    runs = {
        place.column: next(iter(results.runs(place).values()))
        for place in results.places(experiment, figure)
        if place.rule == rule and _have(results, place, "reputations")
    }
    if not runs:
        return None
    named = {column: kinds(RunConfig(**run["config"])) for column, run in runs.items()}
    palette = colours(kind for own in named.values() for kind in own)
    drawn, panels = _panels(list(runs), share_y=False)
    for (column, run), axes in zip(runs.items(), panels, strict=True):
        curves = run["curves"]
        scores = [own or [] for own in curves["reputations"]]
        draw_reputations(axes, curves["round"], scores, named[column], palette)
    handles = [
        panels[0].plot([], [], color=colour, label=kind)[0] for kind, colour in palette.items()
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    title = f"{results.shown(experiment, rule)}: reputations over rounds"
    drawn.suptitle(title, fontsize="medium")
    return drawn


def save_png(drawn: Figure, path: Path) -> Path:
    """Write a figure with few colours, which makes a small file."""
    FigureCanvasAgg(drawn)
    buffer = io.BytesIO()
    drawn.savefig(buffer, dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(buffer) as image:
        few = image.convert("RGB").quantize(
            PALETTE, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )  # the default method merges the colours of lines
        few.save(path, optimize=True)
    return path


def _have(results: Results, place: Place, curve: str) -> bool:
    return any(curve in run["curves"] for run in results.runs(place).values())


def _attack_start(runs: Mapping[int, Record]) -> int | None:
    """The round in which the attack of some runs starts, if it is not the first."""
    config = next(iter(runs.values()))["config"]
    return (
        config["attack_start"]
        if config["attack"] != "none" and config["attack_start"] > 1
        else None
    )


def _panels(titles: Sequence[str], share_y: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure with a small panel for each title."""
    across = min(ACROSS, len(titles))
    down = ceil(len(titles) / across)
    drawn = Figure(figsize=(3 * max(across, 2), 2.2 * down + 0.8), layout="constrained")
    grid_of_axes = drawn.subplots(down, across, sharex=True, sharey=share_y, squeeze=False)
    panels = list(grid_of_axes.flat)
    for axes in panels[len(titles) :]:
        axes.set_visible(False)
    for axes in panels[: len(titles)][-across:]:  # the lowest of each column
        axes.set_xlabel("round", fontsize="x-small")
        axes.tick_params(labelbottom=True)
    for title, axes in zip(titles, panels, strict=False):
        axes.set_title(title, fontsize="small")
        axes.tick_params(labelsize="x-small")
    return drawn, panels[: len(titles)]


def _line(axes: Axes, runs: Sequence[Record], curve: str, scale: float, **style: Any) -> None:
    """Draw the mean of runs and the band between their extremes; None is a gap."""
    values = scale * np.array([run["curves"][curve] for run in runs], dtype=float)
    rounds = runs[0]["curves"]["round"]
    axes.plot(rounds, values.mean(axis=0), **style)
    axes.fill_between(
        rounds, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.2, linewidth=0
    )


def _legend(drawn: Figure, panels: Sequence[Axes]) -> None:
    """Name every line once, below all panels."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    handles, labels = [*found.values()], [*found]
    drawn.legend(
        handles=handles, labels=labels, loc="outside lower center", ncols=6, fontsize="small"
    )
