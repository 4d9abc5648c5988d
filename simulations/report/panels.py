"""Panels, 700 pixels wide together: thin lines for seeds, thick ones for means, names at their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from flwr_byzantine.lab.page.scale import spread
from flwr_byzantine.lab.page.text import shortened
from simulations.report.looks import FIXED, INK, RULE, SOFT

ACROSS = 2  # panels in a row
# Inches: the widths of a figure with two columns and with one panel, and the height of a plot.
WIDE, SINGLE, HIGH = 7.3, 4.6, 1.25
LABEL, TICKS, TITLE, GAP, BOTTOM, NOTE = 0.17, 0.40, 0.27, 0.12, 0.38, 0.22  # around a plot
SIZE, LETTER = 7.5, 4.5  # points: of a name, and the width of one of its letters
APART = 1.25 * SIZE  # from name to name
LONGEST = 24  # letters of a name
LEGEND = 4  # names in a line below
THIN, THICK, THICKEST = 0.5, 1.5, 2.2  # lines of a seed, of a mean, and of averaging's mean
MARKS = 5  # about so many markers are on a line
STOPS = 0.9  # a line that ends before this part of the width has no last number
HOW = "Thin lines are the seeds, thick lines their means."


class Named(NamedTuple):
    """A line that has a name."""

    name: str
    line: Line2D


def panels(
    titles: Sequence[str], label: str, across_label: str = "round", share_y: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each title. The axes have labels."""
    across = min(ACROSS, len(titles))
    with matplotlib.rc_context(FIXED):
        drawn = Figure(figsize=(WIDE if across > 1 else SINGLE, 1))
        grid_of_axes = drawn.subplots(
            ceil(len(titles) / across), across, sharex=True, sharey=share_y, squeeze=False
        )
        every = list(grid_of_axes.flat)
        for axes in every[len(titles) :]:
            axes.remove()
        for axes in every[: len(titles)][-across:]:  # the lowest of each column
            axes.set_xlabel(across_label, fontsize=8, color=INK)
            axes.xaxis.set_tick_params(labelbottom=True)
        for number, (title, axes) in enumerate(zip(titles, every, strict=False)):
            if number % across == 0:
                axes.set_ylabel(label, fontsize=8, color=INK)
            axes.set_title(title, fontsize=8.5, loc="left", color=INK, fontweight="bold")
            axes.tick_params(labelsize=7.5, colors=SOFT, length=0, labelleft=True)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            axes.grid(axis="y", color=RULE, linewidth=0.7)
            axes.set_axisbelow(True)
            for side in ("top", "right", "left"):
                axes.spines[side].set_visible(False)
            axes.spines["bottom"].set_color(SOFT)
    return drawn, every[: len(titles)]


def draw_seeds(
    axes: Axes, across: Sequence[float], values: np.ndarray, look: Mapping[str, Any]
) -> Line2D:
    """Draw a thin line for each row, and a thick one for their mean, which is returned. NaN is a gap."""
    thin: dict[str, Any] = {"color": look["color"], "linewidth": THIN, "alpha": 0.55}
    if len(values) > 1:
        axes.plot(across, values.T, solid_joinstyle="round", **thin)
    every = max(1, len(across) // MARKS)
    thick: dict[str, Any] = {"linewidth": THICK, "markersize": 3.2}
    thick |= {"markevery": (every // 2, every), **look}
    (line,) = axes.plot(across, values.mean(axis=0), zorder=3, **thick)
    return line


def name_lines(
    drawn: Figure, axes_of: Sequence[Axes], lines: Sequence[Sequence[Named]], how: str = HOW
) -> None:
    """Name lines beside their ends, or below all panels if there are too many. ``how`` explains lines."""
    names = list(dict.fromkeys(one.name for own in lines for one in own))
    beside = all(len(own) * APART <= 1.1 * 72 * HIGH for own in lines)
    longest = max((len(shortened(name, LONGEST)) for name in names), default=0)
    room = (LETTER * longest + 8) / 72 if beside else 0.0
    below = 0.0 if beside else 0.16 * ceil(len(names) / LEGEND) + 0.1
    _arrange(drawn, axes_of, room, below)
    with matplotlib.rc_context(FIXED):
        if beside:
            for axes, own in zip(axes_of, lines, strict=True):
                _name_ends(axes, own, drawn.get_figwidth())
        else:
            handles = {one.name: one.line for own in lines for one in own}
            drawn.legend(
                handles=[handles[name] for name in names], labels=names, ncols=LEGEND, fontsize=SIZE,
                loc="lower center", frameon=False, labelcolor=INK, borderaxespad=0,
                bbox_to_anchor=(0.5, NOTE / drawn.get_figheight()),
            )  # fmt: skip
        inch = 1 / drawn.get_figheight()
        drawn.text(0.008, 0.07 * inch, how, fontsize=7.2, color=SOFT, va="bottom")


def mark_across(axes: Axes, where: float, says: str) -> None:
    """Draw a vertical dotted line, and write beside it what it means."""
    axes.axvline(where, color=SOFT, linestyle=":", linewidth=1)
    axes.text(
        where, 0.03, f" {says} ", transform=axes.get_xaxis_transform(), fontsize=6.8, color=SOFT,
        va="bottom", ha="right" if where > np.mean(axes.get_xlim()) else "left", zorder=4,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.4},
    )  # fmt: skip


def _arrange(drawn: Figure, axes_of: Sequence[Axes], room: float, below: float) -> None:
    """Give each plot its place, with ``room`` for names at its right and ``below`` all panels, in inches."""
    wide = drawn.get_figwidth()
    across = min(ACROSS, len(axes_of))
    down = ceil(len(axes_of) / across)
    step = TITLE + HIGH + GAP
    high = step * down + BOTTOM + NOTE + below
    drawn.set_figheight(high)
    column = (wide - LABEL) / across
    for number, axes in enumerate(axes_of):
        i, k = divmod(number, across)
        left = LABEL + column * k + TICKS
        bottom = high - step * i - TITLE - HIGH
        size = (column - TICKS - room - GAP) / wide, HIGH / high
        axes.set_position((left / wide, bottom / high, *size))


def _name_ends(axes: Axes, lines: Sequence[Named], wide: float) -> None:
    """Join each line to its name beside its end. ``wide`` is the width of the figure in inches."""
    axes.autoscale_view()
    known = [(one, found) for one in lines if (found := _end(axes, one.line)) is not None]
    places = spread([end for _, (_, end) in known], APART / (72 * HIGH), 0.0, 1.0)
    inch = 1 / (axes.get_position().width * wide)  # as a part of the plot's width
    for (one, (across, end)), place in zip(known, places, strict=True):
        colour: Any = one.line.get_color()
        stops = ":" if across < STOPS else "-"  # dotted if the line ends before the last round
        axes.plot(
            (across + 0.02 * inch, 1 + 0.07 * inch), (end, place), color=colour, linewidth=0.6,
            linestyle=stops, alpha=0.7, clip_on=False, transform=axes.transAxes, gid="thread",
        )  # fmt: skip
        axes.text(
            1 + 0.09 * inch, place, shortened(one.name, LONGEST), transform=axes.transAxes,
            color=colour, fontsize=SIZE, va="center_baseline",
        )  # fmt: skip


def _end(axes: Axes, line: Line2D) -> tuple[float, float] | None:
    """Return where the last number of a line is, in parts of the plot. None if it has no number."""
    points: np.ndarray = line.get_xydata()  # type: ignore[assignment]
    known = points[np.isfinite(points[:, 1])]
    if not len(known):
        return None
    across, up = (axes.transScale + axes.transLimits).transform(known[-1])
    return float(across), min(1.0, max(0.0, float(up)))
