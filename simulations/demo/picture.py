"""The picture of the demonstration: a line for each strategy, with its name at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flwr_byzantine.lab.page.scale import spread
from simulations.demo.federation import AVERAGE, REFERENCE, Curve, Setting
from simulations.demo.verdict import final
from simulations.report.looks import COLOURS, INK, RED, RULE, SOFT

MINUS = "\N{MINUS SIGN}"
MARKERS = ("s", "^", "D", "v", "o", "P")
APART = 5.2  # points of accuracy from label to label
LABELS = 1.06  # where labels begin, as a part of the axis
FIXED: Any = {  # the same run writes the same file; text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "demo",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial"],
}


def draw(curves: Mapping[str, Curve], setting: Setting) -> Figure:
    """Draw accuracy against rounds.

    Parameters
    ----------
    curves : mapping of str to list of float
        Accuracies by strategy, which begin with that of the first model.
    setting : Setting
        The federation, which the title describes.
    """
    figure = Figure(figsize=(8.8, 5.0), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.085, 0.12, 0.60, 0.70))
    ends = spread([100 * curve[-1] for curve in curves.values()], APART, 2.0, 100.0)
    rules = [name for name in curves if name not in (AVERAGE, REFERENCE)]
    for (name, curve), end in zip(curves.items(), ends, strict=True):
        number = rules.index(name) if name in rules else None
        _draw_line(axes, name, [100 * accuracy for accuracy in curve], end, number)
    axes.set(xlim=(0, setting.rounds), ylim=(0, 101))
    axes.set_xlabel("round", color=INK, fontsize=12)
    axes.set_ylabel("test accuracy (%)", color=INK, fontsize=12)
    axes.tick_params(colors=SOFT, labelsize=11, length=0)
    axes.grid(axis="y", color=RULE)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    who = f"{setting.byzantine} of {setting.clients} clients attack"
    title = f"{who}: FedAvg breaks, robust rules go on learning"
    figure.text(0.02, 0.93, title, color=INK, fontsize=14.5, fontweight="bold")
    below = (
        "Real digits, a different mix on every client. "
        f"Attackers send the honest mean times {MINUS}{setting.epsilon:g}."
    )
    figure.text(0.02, 0.87, below, color=SOFT, fontsize=11)
    return figure


def _draw_line(axes: Axes, name: str, curve: Curve, end: float, number: int | None) -> None:
    """Draw a line, with its name and accuracy at a height beside its end. Rules are numbered."""
    look: dict[str, Any]
    if number is not None:
        marker = MARKERS[number % len(MARKERS)]
        colour = COLOURS[number % len(COLOURS)]
        look = {"linewidth": 1.8, "marker": marker, "markersize": 5, "markevery": (number, 5)}
    elif name == AVERAGE:
        colour, look = RED, {"linewidth": 3.2, "zorder": 5}
    else:
        colour, look = INK, {"linewidth": 1.6, "linestyle": (0, (5, 3))}
    axes.plot(range(len(curve)), curve, color=colour, **look)
    last = len(curve) - 1
    thread = (last * 1.015, last * (LABELS - 0.01)), (curve[-1], end)
    axes.plot(*thread, color=colour, linewidth=0.9, clip_on=False)
    label = f"{name}  {final(curve):.0f} %"
    style: dict[str, Any] = {
        "fontsize": 12,
        "fontweight": "normal" if number is not None else "bold",
    }
    axes.text(last * LABELS, end, label, color=colour, va="center_baseline", **style)


def save(curves: Mapping[str, Curve], setting: Setting, out: Path) -> list[Path]:
    """Write the picture as PNG and as SVG into a folder, and return the files."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "demo.png", out / "demo.svg"]
    with matplotlib.rc_context(FIXED):
        figure = draw(curves, setting)
        figure.savefig(files[0], dpi=200)
        figure.savefig(
            files[1], metadata={"Date": None, "Title": "FedAvg and robust rules under attack"}
        )
    return files
