"""Heatmaps: final accuracies, and shares of rejected replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean

from flwr_byzantine.lab.page import colours
from flwr_byzantine.lab.page.grid import Key, Row, Square, drawing
from flwr_byzantine.lab.page.text import MISSING
from simulations.report.seeds import each
from simulations.report.tables import finals, spread
from simulations.report.view import Place, Results

SCORING = ("bygars", "bygars++")
HIGH = 30  # pixels of a row
SHARES = (1, 5, 10, 20, 40, 60, 80)  # per cent up to which a step of the colours goes
# How papers write what experiments have in small letters.
WRITTEN = {
    "bulyan": "Bulyan", "bygars": "ByGARS", "caf": "CAF", "dnc": "DnC", "fltrust": "FLTrust",
    "gaussian": "Gaussian", "ipm": "IPM", "krum": "Krum", "lie": "LIE", "mda": "MDA", "multi": "Multi",
    "nnm": "NNM", "ofom": "OFOM", "paf": "PAF", "phocas": "Phocas", "smea": "SMEA",
}  # fmt: skip
Values = Callable[[Place], Sequence[float]]  # of all runs at a place


def written(name: str) -> str:
    """A name as papers write it.

    Examples
    --------
    >>> written("multi-krum, m = 4"), written("bygars++ (normalised)"), written("lie, 3 of 8")
    ('Multi-Krum, m = 4', 'ByGARS++ (normalised)', 'LIE, 3 of 8')
    """
    return re.sub("[a-z]+", lambda word: WRITTEN.get(word[0], word[0]), name)


def draw_accuracy_map(
    results: Results, experiment: str, figure: str, variant: str | None = None
) -> str | None:
    """Draw final accuracies as a heatmap, rules across and attacks down; None where there are none.

    Of one ``variant`` alone, rules are down and attacks across.
    """
    metric = results.metric(experiment)

    def values(place: Place) -> list[float]:
        return finals(results.runs(place), metric)

    places = _chosen(results, experiment, figure, variant)
    means = [fmean(found) for place in places if (found := values(place))]
    if not means:
        return None
    best = max(means)
    title = f"final {metric.label}"
    key = Key(f"{title}, coloured by points below the best, {best:.0f} %", colours.LIMITS)
    step = partial(_below, best)
    return _heatmap(results, places, title, values, step, key, variant)


def draw_rejections(
    results: Results, experiment: str, figure: str, group: str, variant: str | None = None
) -> str | None:
    """Draw the shares of Byzantine or of honest replies that the rules rejected; None where there are none.

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
    return _heatmap(results, places, title, values, step, Key(title, SHARES), variant)


def _chosen(results: Results, experiment: str, figure: str, variant: str | None) -> list[Place]:
    return [p for p in results.places(experiment, figure) if variant in (None, p.variant)]


def _below(best: float, value: float) -> int:
    return colours.step(best - value)


def _heatmap(
    results: Results,
    places: Iterable[Place],
    title: str,
    values: Values,
    step: Callable[[float], int],
    key: Key,
    variant: str | None,
) -> str:
    """Draw means over the seeds; nothing where a pair makes no sense."""
    at = {(p.rule, p.column if variant is None else p.attack): p for p in places}
    rules, columns = (list(dict.fromkeys(names)) for names in zip(*at, strict=True))
    experiment, figure, *_ = next(iter(at.values()))

    def square(place: Place | None) -> Square | None:
        if place is None:
            return None
        found = values(place)
        words = f"{written(results.described(place))}: {spread(found, len(results.cells[place]))}"
        if not found:
            return Square(MISSING, None, words)
        mean = fmean(found)
        return Square(f"{mean:.0f}", step(mean), f"{words}; {each(found)}")

    named = {rule: written(results.shown(experiment, rule)) for rule in rules}
    if variant is None:
        heads = list(named.values())
        rows = [Row(written(c), [square(at.get((r, c))) for r in rules]) for c in columns]
    else:
        heads = [written(column) for column in columns]
        rows = [Row(named[r], [square(at.get((r, c))) for c in columns]) for r in rules]
    shown = [s for row in rows for s in row.squares if s is not None]
    if any(s.step is None for s in shown):
        key = replace(key, missing="not run")
    worst = min((s for s in shown if s.step is not None), key=lambda s: float(s.shown))
    about = ", ".join(filter(None, (experiment, figure, variant))) + f": {title}"
    return drawing(about, f"The least is {worst.words}.", heads, rows, key, HIGH)
