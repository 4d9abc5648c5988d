"""Heatmaps: final accuracies, and shares of rejected replies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from simulations.report.tables import finals, grid
from simulations.report.view import Place, Results

SCORING = ("bygars", "bygars++")


def draw_accuracy_map(results: Results, experiment: str, figure: str) -> Figure | None:
    """Draw final accuracies as a heatmap, rules across and attacks down."""
    metric = results.metric(experiment)

    def value(place: Place) -> float:
        return float(np.mean(finals(results.runs(place), metric) or [np.nan]))

    return _heatmaps(results, experiment, figure, {f"final {metric.label}": value})


def draw_rejections(results: Results, experiment: str, figure: str) -> Figure | None:
    """Draw the shares of Byzantine and of honest replies that the rules rejected.

    Rules with reputations reject nobody: they give scores, which have figures of their own.
    """

    def share(group: str) -> Callable[[Place], float]:
        def value(place: Place) -> float:
            if place.rule in SCORING:
                return np.nan
            seen = [run["rejected"][group] for run in results.runs(place).values()]
            return 100 * float(np.mean([x for x in seen if x is not None] or [np.nan]))

        return value

    maps = {f"rejected of {group} (%)": share(group) for group in ("byzantine", "honest")}
    return _heatmaps(results, experiment, figure, maps)


def _heatmaps(
    results: Results,
    experiment: str,
    figure: str,
    maps: dict[str, Callable[[Place], float]],
) -> Figure | None:
    """Draw values from 0 to 100 as heatmaps side by side; grey where there is none."""
    rules, columns = grid(results, experiment, figure)
    shown = [results.shown(experiment, rule) for rule in rules]
    tables = {}
    for title, value in maps.items():
        tables[title] = np.full((len(columns), len(rules)), np.nan)
        for place in results.places(experiment, figure):
            tables[title][columns.index(place.column), rules.index(place.rule)] = value(place)
    if all(np.isnan(table).all() for table in tables.values()):
        return None
    size = (len(maps) * 0.8 * len(rules) + 3, 0.32 * len(columns) + 1.6)
    drawn = Figure(figsize=size, layout="constrained")
    panels = drawn.subplots(1, len(maps), sharey=True, squeeze=False)[0]
    for axes, (title, table) in zip(panels, tables.items(), strict=True):
        axes.imshow(table, vmin=0, vmax=100, cmap="viridis", aspect="auto")
        axes.set_facecolor("lightgrey")
        axes.set_title(title, fontsize="small")
        axes.set_xticks(range(len(rules)), shown, rotation=30, ha="right", fontsize="x-small")
        axes.set_yticks(range(len(columns)), columns, fontsize="x-small")
        for (row, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                colour = "black" if value > 60 else "white"
                axes.text(
                    column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8
                )
    return drawn
