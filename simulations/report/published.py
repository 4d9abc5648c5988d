"""Tables of what others have published, beside what was found here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from simulations.report.blocks import Block, Heading, Table, Text
from simulations.report.names import written
from simulations.report.scoreboard import NOT_RUN
from simulations.report.view import Place, Results
from simulations.sweep.experiment import Experiment
from simulations.sweep.publication import Number, NumbersOf, Published, Taken

HEAD = ("figure", "rule", "setting", "theirs (%)", "ours (%)", "difference", "why they differ")
WORDS = {
    "final": "Ours are the accuracies of the last evaluation",
    "last five": "Ours are the means of the last five evaluations",
    "best": "Ours are the accuracies of the best evaluation",
}


def published_blocks(results: Results, experiment: Experiment) -> Iterator[Block]:
    """Yield the table of published numbers beside ours. Yield nothing if there are none."""
    published = experiment.published
    if published is None:
        return
    yield Heading(f"{experiment.title}, beside what is published", 3)
    worst = ", the least over the attacks" if published.worst else ""
    yield Text(
        f"Theirs: {published.source}. {WORDS[published.taken]}, averaged over the seeds{worst}. A "
        "difference is ours minus theirs, in points. The last column gives the reason for differences of "
        f"more than {published.differs:g}."
    )
    rows = [row for own in published.numbers for row in _rows(results, experiment, published, own)]
    yield Table(HEAD, rows)


def ours(results: Results, places: Sequence[Place], taken: Taken) -> float | None:
    """Return the least of some places in percent. None if one of them has not been run.

    Parameters
    ----------
    results : Results
        What has been measured.
    places : sequence of Place
        The places.
    taken : {"final", "last five", "best"}
        Which evaluation is taken of the mean over the seeds.
    """
    found = []
    for place in places:
        runs, metric = results.runs(place), results.metric(place.experiment)
        curves = [[value for _, value in metric.curve(run)] for run in runs.values()]
        if not curves:
            return None
        means = [fmean(values) for values in zip(*curves, strict=False)]
        found.append(
            {"final": means[-1], "last five": fmean(means[-5:]), "best": max(means)}[taken]
        )
    return 100 * min(found)


def gap(found: float, theirs: Number) -> float:
    """How many points a number is above a published one, or above or below a published range.

    Examples
    --------
    >>> gap(90.0, 92.5), gap(90.0, (89.0, 91.0)), gap(90.0, (91.0, 92.0))
    (-2.5, 0.0, -1.0)
    """
    low, high = theirs if isinstance(theirs, tuple) else (theirs, theirs)
    return found - high if found > high else min(0.0, found - low)


def _rows(
    results: Results, experiment: Experiment, published: Published, own: NumbersOf
) -> Iterator[list[str]]:
    groups = [own.attacks] if published.worst else [[attack] for attack in own.attacks]
    settings = [(attacks, variant) for attacks in groups for variant in own.variants]
    for rule, numbers in own.rules.items():
        for (attacks, variant), theirs in zip(settings, numbers, strict=True):
            places = [
                Place(experiment.name, own.figure, rule, attack, variant) for attack in attacks
            ]
            found = ours(results, places, published.taken)
            setting = variant if published.worst else places[0].column
            told = [own.figure, written(rule), written(setting), _told(theirs)]
            if found is None:
                yield [*told, NOT_RUN, "", ""]
                continue
            points = gap(found, theirs)
            why = own.why.get(rule, published.why) if abs(points) > published.differs else ""
            yield [*told, f"{found:.1f}", f"{points:+.1f}", why]


def _told(number: Number) -> str:
    return " to ".join(f"{x:g}" for x in (number if isinstance(number, tuple) else (number,)))
