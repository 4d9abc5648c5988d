"""Tables of final accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from flwr_byzantine.lab.kept import Record
from simulations.measure.measures import Metric
from simulations.report.blocks import Table
from simulations.report.evidence import same_models
from simulations.report.names import written
from simulations.report.scoreboard import NOT_RUN
from simulations.report.seeds import shown
from simulations.report.view import Results

SUCCESS = "final_attack_success_rate"
MANY = 12  # with more rules, each variant has its own table, with rules down


def grid(results: Results, experiment: str, figure: str) -> tuple[list[str], list[str]]:
    """Return the rules of a figure, and its attacks and variants in words."""
    places = list(results.places(experiment, figure))
    rules, columns = ([*dict.fromkeys(names)] for names in (
        (place.rule for place in places), (place.column for place in places)
    ))  # fmt: skip
    return rules, columns


def parts(results: Results, experiment: str, figure: str) -> list[str | None]:
    """Return the variants that have tables of their own. None stands for the whole figure."""
    rules, _ = grid(results, experiment, figure)
    if len(rules) <= MANY:
        return [None]
    return [*dict.fromkeys(place.variant for place in results.places(experiment, figure))]


def finals(runs: Mapping[int, Record], metric: Metric) -> list[float]:
    """Return the final accuracies of runs in percent."""
    return [100 * run[f"final_{metric.name}"] for run in runs.values()]


def spread(values: Sequence[float], seeds: int) -> str:
    """Write the mean of the seeds' values and its interval, and how many seeds are missing.

    Examples
    --------
    >>> spread([90.0, 91.0], seeds=2), spread([90.0], seeds=2), spread([], seeds=2)
    ('90.5 [90.0, 91.0]', '90.0 (1 of 2 seeds)', 'not run')
    """
    if not values:
        return NOT_RUN
    partly = f" ({len(values)} of {seeds} seeds)" if len(values) < seeds else ""
    return f"{shown(values)}{partly}"


def accuracy_table(
    results: Results, experiment: str, figure: str, variant: str | None = None
) -> Table:
    """Return final accuracies, attacks down and rules across. A pair that makes no sense is empty.

    With a ``variant`` it is this variant alone, rules down and attacks across. A backdoor's cell also says
    how often its trigger works, in percent. Cells with the same mark, such as =1, hold the same models.
    """
    every = results.places(experiment, figure)
    places = [place for place in every if variant in (None, place.variant)]
    at = {
        (place.rule, place.column if variant is None else place.attack): place for place in places
    }
    rules, columns = ([*dict.fromkeys(names)] for names in zip(*at, strict=True))
    metric = results.metric(experiment)
    marks = same_models(every, results)

    def cell(rule: str, column: str) -> str:
        if (rule, column) not in at:
            return ""
        place = at[rule, column]
        runs = results.runs(place)
        said = spread(finals(runs, metric), len(results.cells[place]))
        fooled = [100 * r[SUCCESS] for r in runs.values() if r.get(SUCCESS) is not None]
        if fooled:
            said += f", backdoor {fmean(fooled):.1f}"
        if skipped := fmean([run["skipped"] for run in runs.values()] or [0]):
            said += f", {skipped:.0f} skipped"
        return f"{said} ={marks[place]}" if place in marks else said

    named = {rule: results.shown(experiment, rule) for rule in rules}
    head = f"final {metric.label}"
    if variant is None:
        rows = [[written(column), *(cell(rule, column) for rule in rules)] for column in columns]
        return Table([head, *named.values()], rows)
    rows = [[named[rule], *(cell(rule, column) for column in columns)] for rule in rules]
    return Table([", ".join(filter(None, (head, variant))), *map(written, columns)], rows)
