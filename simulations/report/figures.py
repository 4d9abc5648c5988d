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
THIN, THICK = 0.6, 1.8  # lines of a seed, and of the mean
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

    Each seed is a thin line, their mean a thick one.
    Returns None where nothing has been run that has the quantity.
    """
    rules, columns = grid(results, experiment, figure)
    places = [place for place in results.places(experiment, figure) if _have(results, place, curve)]
    if not places:
        return None
    drawn, axes_of = panels(columns)
    for column, axes in zip(columns, axes_of, strict=True):
        for place in (place for place in places if place.column == column):
            runs = [run for run in results.runs(place).values() if curve in run["curves"]]
            style = line_style(rules.index(place.rule))
            _line(axes, runs, curve, scale, label=results.shown(experiment, place.rule), **style)
        starts = {_attack_start(results.runs(place)) for place in places if place.column == column}
        for start in filter(None, starts):
            axes.axvline(start, color="grey", linestyle=":", label="the attack starts")
        if logarithmic:
            axes.set_yscale("symlog", linthresh=LINEAR)
        axes.grid(alpha=0.3)
    add_legend(drawn, axes_of)
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
    drawn, axes_of = panels(list(runs), share_y=False)
    for (column, run), axes in zip(runs.items(), axes_of, strict=True):
        curves = run["curves"]
        scores = [own or [] for own in curves["reputations"]]
        draw_reputations(axes, curves["round"], scores, named[column], palette)
    handles = [
        axes_of[0].plot([], [], color=colour, label=kind)[0] for kind, colour in palette.items()
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    title = f"{results.shown(experiment, rule)}: reputations over rounds"
    drawn.suptitle(title, fontsize="medium")
    return drawn


def line_style(number: int) -> dict[str, Any]:
    """Return a colour, and a kind of line, for each of forty rules."""
    turn, colour = divmod(number, 10)
    return {"color": colormaps["tab10"](colour), "linestyle": ("-", "--", ":", "-.")[turn % 4]}


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


def panels(
    titles: Sequence[str], share_y: bool = True, across_label: str = "round"
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a small panel for each title."""
    across = min(ACROSS, len(titles))
    down = ceil(len(titles) / across)
    drawn = Figure(figsize=(3 * max(across, 2), 2.2 * down + 0.8), layout="constrained")
    grid_of_axes = drawn.subplots(down, across, sharex=True, sharey=share_y, squeeze=False)
    every = list(grid_of_axes.flat)
    for axes in every[len(titles) :]:
        axes.set_visible(False)
    for axes in every[: len(titles)][-across:]:  # the lowest of each column
        axes.set_xlabel(across_label, fontsize="x-small")
        axes.tick_params(labelbottom=True)
    for title, axes in zip(titles, every, strict=False):
        axes.set_title(title, fontsize="small")
        axes.tick_params(labelsize="x-small")
    return drawn, every[: len(titles)]


def _line(axes: Axes, runs: Sequence[Record], curve: str, scale: float, **style: Any) -> None:
    """Draw each run, and their mean above them; None is a gap."""
    values = scale * np.array([run["curves"][curve] for run in runs], dtype=float)
    rounds = runs[0]["curves"]["round"]
    if len(runs) > 1:
        thin = style | {"label": None, "linewidth": THIN, "alpha": 0.6}
        axes.plot(rounds, values.T, **thin)
    axes.plot(rounds, values.mean(axis=0), linewidth=THICK, **style)


def add_legend(drawn: Figure, axes_of: Sequence[Axes]) -> None:
    """Name every line once, below all panels."""
    found: dict[str, Artist] = {}
    for axes in axes_of:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    handles, labels = [*found.values()], [*found]
    drawn.legend(
        handles=handles, labels=labels, loc="outside lower center", ncols=6, fontsize="small"
    )
