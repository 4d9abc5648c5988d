"""Heatmaps: final accuracies, and shares of rejected replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from flwr_byzantine.lab.page import colours
from flwr_byzantine.lab.page.grid import Key, Row, Square, drawing
from flwr_byzantine.lab.page.text import MISSING
from simulations.report.tables import finals, spread
from simulations.report.view import Place, Results

SCORING = ("bygars", "bygars++")
HIGH = 30  # pixels of a row
SHARES = (1, 5, 10, 20, 40, 60, 80)  # per cent up to which a step of the colours goes
# How papers write what experiments have in small letters.
WRITTEN = {
    "bulyan": "Bulyan", "bygars": "ByGARS", "gaussian": "Gaussian", "ipm": "IPM", "krum": "Krum",
    "lie": "LIE", "multi": "Multi", "ofom": "OFOM", "paf": "PAF", "phocas": "Phocas",
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


def draw_accuracy_map(results: Results, experiment: str, figure: str) -> str | None:
    """Draw final accuracies as a heatmap, rules across and attacks down; None where there are none."""
    metric = results.metric(experiment)

    def values(place: Place) -> list[float]:
        return finals(results.runs(place), metric)

    places = results.places(experiment, figure)
    means = [fmean(found) for place in places if (found := values(place))]
    if not means:
        return None
    best = max(means)
    title = f"final {metric.label}"
    key = Key(f"{title}, coloured by points below the best, {best:.0f} %", colours.LIMITS)
    return _heatmap(results, places, title, values, lambda x: colours.step(best - x), key)


def draw_rejections(results: Results, experiment: str, figure: str, group: str) -> str | None:
    """Draw the shares of Byzantine or of honest replies that the rules rejected; None where there are none.

    Rules with reputations reject nobody: they give scores, which have figures of their own.
    """

    def values(place: Place) -> list[float]:
        if place.rule in SCORING:
            return []
        seen = [run["rejected"][group] for run in results.runs(place).values()]
        return [100 * share for share in seen if share is not None]

    places = [*results.places(experiment, figure)]
    known = [place for place in places if values(place)]
    rules, columns = ({p.rule for p in known}, {p.column for p in known})
    places = [p for p in places if p.rule in rules and p.column in columns]
    if not places:
        return None
    title = f"rejected replies of {group.replace('byz', 'Byz')} clients (%)"
    return _heatmap(
        results, places, title, values, lambda x: colours.step(x, SHARES), Key(title, SHARES)
    )


def _heatmap(
    results: Results,
    places: Iterable[Place],
    title: str,
    values: Values,
    step: Callable[[float], int],
    key: Key,
) -> str:
    """Draw means over the seeds; nothing where a pair makes no sense."""
    at = {(place.rule, place.column): place for place in places}
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
        return Square(f"{mean:.0f}", step(mean), words)

    rows = [Row(written(c), [square(at.get((r, c))) for r in rules]) for c in columns]
    shown = [s for row in rows for s in row.squares if s is not None]
    if any(s.step is None for s in shown):
        key = replace(key, missing="not run")
    worst = min((s for s in shown if s.step is not None), key=lambda s: float(s.shown))
    heads = [written(results.shown(experiment, rule)) for rule in rules]
    about = f"{experiment}, {figure}: {title}"
    return drawing(about, f"The least is {worst.words}.", heads, rows, key, HIGH)
