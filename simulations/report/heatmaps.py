"""Heatmaps: points lost, or final accuracies, and shares of rejected replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from flwr_byzantine.lab.page import colours
from flwr_byzantine.lab.page.grid import Key, Row, Square, drawing
from flwr_byzantine.lab.page.text import MISSING, points
from simulations.measure.measures import Metric
from simulations.report.names import written
from simulations.report.pool import PLAIN
from simulations.report.seeds import each
from simulations.report.tables import finals, spread
from simulations.report.view import Place, Results

SCORING = ("bygars", "bygars++")
HIGH = 30  # pixels of a row
SHARES = (1, 5, 10, 20, 40, 60, 80)  # limits of the colours, in per cent
FEWEST = 2  # cells that a rule needs for its worst one to be marked
WORST = "the worst of a rule"


@dataclass(frozen=True)
class Measured:
    """What a heatmap shows: the values of all runs at a place, how they are coloured and written."""

    title: str
    values: Callable[[Place], Sequence[float]]
    step: Callable[[float], int]
    key: Key
    number: Callable[[float], str]
    badness: Callable[[float], float] | None = None  # marks the worst cell of each rule
    words: Callable[[Place], str] = lambda place: ""  # what else there is to say


def draw_accuracy_map(
    results: Results, experiment: str, figure: str, variant: str | None = None
) -> str | None:
    """Draw the points that rules lose as a heatmap, rules across and attacks down. None if nothing was run.

    Points are lost against no defence and no attack, in the same figure and on the same data. If the
    figure has no such cell, the heatmap shows final accuracies. With a ``variant`` it shows this variant
    alone, with rules down and attacks across.
    """
    metric = results.metric(experiment)
    places = _chosen(results, experiment, figure, variant)
    run = [place for place in places if results.runs(place)]
    if not run:
        return None
    calm = references(results, experiment, figure)
    if all(place.variant in calm for place in places):
        measured = _lost(results, metric, calm)
    else:
        measured = _reached(results, metric, run)
    return _heatmap(results, places, measured, variant)


def references(results: Results, experiment: str, figure: str) -> dict[str, Place]:
    """Return where a figure has no defence and no attack, by variant."""
    found: dict[str, Place] = {}
    for place in results.places(experiment, figure):
        config = results.configs[place]
        if config.rule in PLAIN and config.attack == "none":
            found.setdefault(place.variant, place)
    return found


def _lost(results: Results, metric: Metric, calm: dict[str, Place]) -> Measured:
    """Points lost against no defence and no attack, seed by seed."""

    def values(place: Place) -> list[float]:
        name = f"final_{metric.name}"
        runs, reference = results.runs(place), results.runs(calm[place.variant])
        return [100 * (reference[s][name] - runs[s][name]) for s in runs if s in reference]

    def reached(place: Place) -> str:
        said = spread(finals(results.runs(place), metric), len(results.cells[place]))
        return f"{metric.label} {said}"

    title = f"points of {metric.label.removesuffix(' (%)')} lost"
    key = Key(f"{title}, against no defence and no attack", colours.LIMITS, marked=WORST)
    return Measured(title, values, _step_lost, key, points, lambda lost: lost, reached)


def _reached(results: Results, metric: Metric, run: Iterable[Place]) -> Measured:
    """Final accuracies, coloured by how far they are below the best."""

    def values(place: Place) -> list[float]:
        return finals(results.runs(place), metric)

    best = max(fmean(values(place)) for place in run)
    title = f"final {metric.label}"
    key = Key(f"{title}, coloured by points below the best, {best:.0f} %", colours.LIMITS, WORST)
    return Measured(title, values, partial(_below, best), key, "{:.0f}".format, _negative)


def draw_rejections(
    results: Results, experiment: str, figure: str, group: str, variant: str | None = None
) -> str | None:
    """Draw the shares of Byzantine or of honest replies that the rules rejected. None if none are known.

    Rules with reputations reject nobody: they give scores, which have figures of their own.
    """

    def values(place: Place) -> list[float]:
        if place.rule in SCORING:
            return []
        seen = [run["rejected"][group] for run in results.runs(place).values()]
        return [100 * share for share in seen if share is not None]

    places = _chosen(results, experiment, figure, variant)
    known = [place for place in places if values(place)]
    rules, columns = ({p.rule for p in known}, {p.column for p in known})
    places = [p for p in places if p.rule in rules and p.column in columns]
    if not places:
        return None
    title = f"rejected replies of {group.replace('byz', 'Byz')} clients (%)"
    step = partial(colours.step, limits=SHARES)
    measured = Measured(title, values, step, Key(title, SHARES), "{:.0f}".format)
    return _heatmap(results, places, measured, variant)


def _chosen(results: Results, experiment: str, figure: str, variant: str | None) -> list[Place]:
    return [p for p in results.places(experiment, figure) if variant in (None, p.variant)]


def _step_lost(lost: float) -> int:
    return colours.step(round(lost, 6))  # a rounding error must not make 1.0 more than 1


def _negative(value: float) -> float:
    return -value


def _below(best: float, value: float) -> int:
    return colours.step(best - value)


def _heatmap(
    results: Results, places: Iterable[Place], measured: Measured, variant: str | None
) -> str:
    """Draw means over the seeds. A pair that makes no sense has no cell."""
    at = {(p.rule, p.column if variant is None else p.attack): p for p in places}
    rules, columns = (list(dict.fromkeys(names)) for names in zip(*at, strict=True))
    experiment, figure, *_ = next(iter(at.values()))
    means = {p: fmean(found) for p in at.values() if (found := measured.values(p))}
    marked = _marked(means, measured)

    def square(place: Place | None) -> Square | None:
        if place is None:
            return None
        found = measured.values(place)
        words = f"{results.described(place)}: {spread(found, len(results.cells[place]))}"
        if place not in means:
            return Square(MISSING, None, words)
        words += "".join(f"; {said}" for said in (each(found), measured.words(place)) if said)
        mean = means[place]
        shown = measured.number(mean)
        return Square(shown, measured.step(mean), words, is_marked=place in marked)

    named = {rule: results.shown(experiment, rule) for rule in rules}
    if variant is None:
        heads = list(named.values())
        rows = [Row(written(c), [square(at.get((r, c))) for r in rules]) for c in columns]
    else:
        heads = [written(column) for column in columns]
        rows = [Row(named[r], [square(at.get((r, c))) for c in columns]) for r in rules]
    key = measured.key if marked else replace(measured.key, marked="")
    if len(means) < len(at):
        key = replace(key, missing="not run")
    about = ", ".join(filter(None, (experiment, figure, variant))) + f": {measured.title}"
    badness, kind = (measured.badness, "worst") if measured.badness else (_negative, "least")
    last = max(means, key=lambda place: badness(means[place]), default=None)
    said = f"The {kind} is {results.described(last)}: {means[last]:.1f}." if last else ""
    return drawing(about, said, heads, rows, key, HIGH)


def _marked(means: dict[Place, float], measured: Measured) -> set[Place]:
    """Return the worst cell of each rule, if the rule has several cells and they differ."""
    if measured.badness is None:
        return set()
    by_rule: dict[str, list[Place]] = {}
    for place in means:
        by_rule.setdefault(place.rule, []).append(place)
    found = set()
    for own in by_rule.values():
        badness = {place: measured.badness(means[place]) for place in own}
        if len(own) >= FEWEST and len({measured.number(means[place]) for place in own}) > 1:
            found.add(max(own, key=lambda place: badness[place]))
    return found
