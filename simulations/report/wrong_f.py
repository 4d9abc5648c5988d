"""What it costs to tell a rule a wrong f: accuracy over the f that it is told."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from simulations.report.drawings import Drawing
from simulations.report.figures import add_legend, line_style, panels
from simulations.report.heatmaps import written
from simulations.report.pool import data_of
from simulations.report.tables import finals
from simulations.report.view import Results

Point = tuple[int, list[float]]  # an f, and what the seeds reach
Lines = dict[str, list[Point]]  # by rule


def wrong_f_drawings(
    results: Results, experiment: str, figure: str | None = None
) -> Iterator[Drawing]:
    """Yield the curves: a panel for each attack and kind of data, a line for each rule.

    Rules that are told one f only are left out.
    """
    found = lines(results, experiment, figure)
    if found:
        shows = "final accuracy over the f that rules are told; dots are seeds, the dotted line is the true f"
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
    drawn, axes_of = panels([title for title, _ in found], across_label="f that the rule is told")
    rules = list(dict.fromkeys(rule for own in found.values() for rule in own))
    for ((_, true), own), axes in zip(found.items(), axes_of, strict=True):
        for rule, points in own.items():
            style = line_style(rules.index(rule))
            told = [f for f, _ in points]
            means = [sum(values) / len(values) for _, values in points]
            axes.plot(told, means, label=results.shown(experiment, rule), linewidth=1.8, **style)
            dots = [(f, value) for f, values in points for value in values]
            axes.plot(*zip(*dots, strict=True), ".", color=style["color"], markersize=3)
        if true is not None:
            axes.axvline(true, color="grey", linestyle=":", label="the true f")
        axes.grid(alpha=0.3)
    add_legend(drawn, axes_of)
    drawn.supylabel(f"final {results.metric(experiment).label}", fontsize="small")
    return drawn
