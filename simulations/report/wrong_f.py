"""What it costs to tell a rule a wrong f: accuracy over the f that it is told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from simulations.report.drawings import Drawing
from simulations.report.figures import rule_looks
from simulations.report.names import written
from simulations.report.panels import Named, draw_seeds, mark_across, name_lines, panels
from simulations.report.pool import data_of
from simulations.report.tables import finals
from simulations.report.view import Results

Point = tuple[int, list[float]]  # an f, and what the seeds reach
Lines = dict[str, list[Point]]  # by rule


def wrong_f_drawings(
    results: Results, experiment: str, figure: str | None = None
) -> Iterator[Drawing]:
    """Yield the curves: a panel for each attack and kind of data, a line for each rule.

    Rules that are told only one f are left out.
    """
    found = lines(results, experiment, figure)
    if found:
        shows = "final accuracy over the f that rules are told; the dotted line is the true f"
        yield Drawing("wrong f", shows, _drawn(results, experiment, found))


def lines(
    results: Results, experiment: str, figure: str | None
) -> dict[tuple[str, int | None], Lines]:
    """Return what rules reach by the f that they are told, for each panel and its true f."""
    metric = results.metric(experiment)
    found: dict[tuple[str, int | None], dict[str, dict[int, list[float]]]] = {}
    for place in results.places(experiment, figure):
        config = results.configs[place]
        values = finals(results.runs(place), metric)
        if values:
            title = ", ".join(filter(None, (written(place.attack), data_of(place))))
            true = config.byzantine if config.attack != "none" else None
            own = found.setdefault((title, true), {}).setdefault(place.rule, {})
            own.setdefault(config.assumed_byzantine, values)
    several = {
        panel: {rule: sorted(told.items()) for rule, told in rules.items() if len(told) > 1}
        for panel, rules in found.items()
    }
    return {panel: rules for panel, rules in several.items() if rules}


def _drawn(results: Results, experiment: str, found: dict[tuple[str, int | None], Lines]) -> Figure:
    label = f"final {results.metric(experiment).label}"
    drawn, axes_of = panels([title for title, _ in found], label, "f that the rule is told")
    looks = rule_looks(results, experiment, [rule for own in found.values() for rule in own])
    lines = []
    for ((_, true), own), axes in zip(found.items(), axes_of, strict=True):
        named = []
        for rule, points in own.items():
            told, values = [f for f, _ in points], [seeds for _, seeds in points]
            line = draw_seeds(axes, told, by_seed(values), looks[rule] | {"markevery": 1})
            named.append(Named(results.shown(experiment, rule), line))
        axes.xaxis.set_major_locator(FixedLocator(sorted({f for p in own.values() for f, _ in p})))
        if true is not None:
            mark_across(axes, true, "true f")
        lines.append(named)
    name_lines(drawn, axes_of, lines)
    return drawn


def by_seed(values: list[list[float]]) -> np.ndarray:
    """Return a row for each seed, with NaN for values that a seed does not have.

    Examples
    --------
    >>> by_seed([[1.0, 2.0], [3.0, 4.0]]).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    return np.array(list(zip_longest(*values, fillvalue=np.nan)), dtype=float)
