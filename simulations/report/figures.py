"""The figures of the report: quantities over the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, SymmetricalLogLocator

from flwr_byzantine.lab.kept import Record
from simulations.report.looks import COLOURS, rule_look
from simulations.report.names import written
from simulations.report.panels import (
    THICKEST,
    Named,
    draw_seeds,
    mark_across,
    name_lines,
    panels,
)
from simulations.report.pool import PLAIN
from simulations.report.view import Place, Results

LINEAR = 1e-6  # nearer to zero a logarithmic axis is linear
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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

    Each seed is a thin line, and their mean is a thick one. Averaging is red.
    Returns None if no run has the quantity.
    """
    places = [place for place in results.places(experiment, figure) if _have(results, place, curve)]
    if not places:
        return None
    columns = list(dict.fromkeys(place.column for place in places))
    looks = rule_looks(results, experiment, [place.rule for place in places])
    titles = [written(column) for column in columns]
    drawn, axes_of = panels(titles, label, share_y=not logarithmic)
    lines = []
    for column, axes in zip(columns, axes_of, strict=True):
        own = []
        for place in (place for place in places if place.column == column):
            runs = [run for run in results.runs(place).values() if curve in run["curves"]]
            line = draw_seeds(
                axes,
                runs[0]["curves"]["round"],
                scale * np.array([run["curves"][curve] for run in runs], dtype=float),
                looks[place.rule],
            )
            own.append(Named(results.shown(experiment, place.rule), line))
        if logarithmic:
            _symmetrical(axes)
        starts = {_attack_start(results.runs(place)) for place in places if place.column == column}
        for start in filter(None, starts):
            mark_across(axes, start, "attack starts")
        lines.append(own)
    name_lines(drawn, axes_of, lines)
    return drawn


def rule_looks(
    results: Results, experiment: str, drawn: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return how the lines of rules look: averaging is red.

    If an experiment has few rules, each has a colour of its own, the same in all figures. Otherwise the
    rules that are drawn together differ as far as they can.
    """
    places = results.places(experiment)
    plain = [p.rule for p in places if results.configs[p].rule in PLAIN]
    others = [rule for rule in dict.fromkeys(p.rule for p in places) if rule not in plain]
    if len(others) > len(COLOURS):
        others = [rule for rule in others if rule in drawn]
    looks = {rule: rule_look(number) for number, rule in enumerate(others)}
    for number, rule in enumerate(dict.fromkeys(plain)):
        dashes = "-" if number == 0 else (0, (4, 1.5))
        looks[rule] = rule_look(None) | {"linestyle": dashes, "linewidth": THICKEST}
    return looks


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


def _symmetrical(axes: Axes) -> None:
    """Make an axis logarithmic on both sides of zero, with a few powers of ten."""
    axes.set_yscale("symlog", linthresh=LINEAR)
    locator = SymmetricalLogLocator(base=10, linthresh=LINEAR)
    locator.set_params(numticks=7)
    axes.autoscale_view()
    ticks = [
        tick
        for tick in locator.tick_values(*axes.get_ylim())
        if tick == 0 or abs(tick) > 10 * LINEAR
    ]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))


def power(value: float) -> str:
    """Write a power of ten.

    Examples
    --------
    >>> power(0.001), power(-100.0), power(0.0), power(1.0)
    ('10⁻³', '−10²', '0', '1')
    """
    if value == 0:
        return "0"
    sign = "\N{MINUS SIGN}" if value < 0 else ""
    exponent = floor(log10(abs(value)) + 0.5)
    return sign + ("1" if exponent == 0 else f"10{str(exponent).translate(RAISED)}")
