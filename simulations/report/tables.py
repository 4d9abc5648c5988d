"""Tables of final accuracies, and of the scoreboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from rich import table as rich_table
from rich.markup import escape

from flwr_byzantine.lab.kept import Record
from flwr_byzantine.lab.page.text import half_range
from simulations.measure.measures import Metric
from simulations.report.blocks import Block, Heading, Table, Text
from simulations.report.scoreboard import FAILS, HOLDS, NO_TEST, NOT_RUN, Judged
from simulations.report.view import Place, Results

SUCCESS = "final_attack_success_rate"
COLOURS = {HOLDS: "green", FAILS: "red", NO_TEST: "yellow", NOT_RUN: "dim"}


def grid(results: Results, experiment: str, figure: str) -> tuple[list[str], list[str]]:
    """Return the rules of a figure, and its attacks and variants in words."""
    places = list(results.places(experiment, figure))
    rules, columns = ([*dict.fromkeys(names)] for names in (
        (place.rule for place in places), (place.column for place in places)
    ))  # fmt: skip
    return rules, columns


def finals(runs: Mapping[int, Record], metric: Metric) -> list[float]:
    """Return the final accuracies of runs in percent."""
    return [100 * run[f"final_{metric.name}"] for run in runs.values()]


def spread(values: Sequence[float], seeds: int) -> str:
    """Write the mean of the seeds' values and half of their range, and how many seeds are missing.

    Examples
    --------
    >>> spread([90.0, 91.0], seeds=2), spread([90.0], seeds=2), spread([], seeds=2)
    ('90.5 ± 0.5', '90.0 (1 of 2 seeds)', 'not run')
    """
    if not values:
        return NOT_RUN
    shown = f"{fmean(values):.1f} {half_range(values)}".rstrip()
    return shown if len(values) == seeds else f"{shown} ({len(values)} of {seeds} seeds)"


def accuracy_table(results: Results, experiment: str, figure: str) -> Table:
    """Return final accuracies, attacks down and rules across; empty where a pair makes no sense.

    A backdoor's cell also says how often its trigger works, in percent.
    """
    rules, columns = grid(results, experiment, figure)
    places = {(p.rule, p.column): p for p in results.places(experiment, figure)}
    metric = results.metric(experiment)

    def cell(place: Place | None) -> str:
        if place is None:
            return ""
        runs = results.runs(place)
        shown = spread(finals(runs, metric), len(results.cells[place]))
        fooled = [100 * r[SUCCESS] for r in runs.values() if r.get(SUCCESS) is not None]
        if fooled:
            shown += f", backdoor {fmean(fooled):.1f}"
        skipped = fmean([run["skipped"] for run in runs.values()] or [0])
        return f"{shown}, {skipped:.0f} skipped" if skipped else shown

    rows = [[column, *(cell(places.get((rule, column))) for rule in rules)] for column in columns]
    return Table([f"final {metric.label}", *(results.shown(experiment, r) for r in rules)], rows)


def counts(judged: Sequence[Judged]) -> list[int]:
    """Return how many claims hold, do not hold, are no test, and were not run."""
    found = Counter[str](one.verdict for one in judged)
    return [found[verdict] for verdict in (HOLDS, FAILS, NO_TEST, NOT_RUN)]


def tally(judged: Sequence[Judged]) -> str:
    """Say how many claims hold, do not hold, are no test, and were not run."""
    hold, fail, untested, open_ = counts(judged)
    return f"{len(judged)} claims: {hold} hold, {fail} do not hold, {untested} no test, {open_} not run."


def scoreboard_blocks(judged: Sequence[Judged]) -> list[Block]:
    """Return the scoreboard: the counts, and one table a paper."""
    papers = {
        paper: [one for one in judged if one.claim.paper == paper]
        for paper in dict.fromkeys(one.claim.paper for one in judged)
    }
    blocks: list[Block] = [
        Heading("Scoreboard"),
        Text(
            f"{tally(judged)} Numbers are means over the seeds that have one: a ratio to something that "
            "gained nothing, or the direction of a model that is gone, is none. A claim holds if all are "
            "within the bounds, which stand for the paper's words. Where the claim is about one "
            "rule or the other, one is enough. No test: what was measured could not have refuted the claim, "
            "so that it counts neither way. Why: the reason for that, or what a claim that does not hold is "
            "due to, the scale of our runs, noise of the seeds, a bound that is not the paper's own, the "
            "paper, or ours, what was built otherwise. A * marks claims that were added, or whose bound was "
            "chosen, when results had been seen: these describe, and are no test."
        ),
        Table(
            ["paper", "claims", "hold", "do not hold", "no test", "not run"],
            [[name, *map(str, (len(own), *counts(own)))] for name, own in papers.items()],
        ),
    ]
    head = ["where", "claim", "verdict", "why", "seen", "measured and bound"]
    for paper, own in papers.items():
        rows = [
            [one.claim.where, one.claim.says, one.verdict, one.why, one.numbers, one.claim.measured]
            for one in own
        ]
        blocks += [Heading(paper, 3), Table(head, rows)]
    return blocks


def scoreboard_table(judged: Sequence[Judged]) -> rich_table.Table:
    """Return the scoreboard for the terminal."""
    shown = rich_table.Table(title=tally(judged))
    for name in ("paper", "where", "claim", "verdict", "seen"):
        shown.add_column(name)
    for one in judged:
        verdict = f"[{COLOURS[one.verdict]}]{one.verdict}[/]"
        paper = one.claim.paper.partition(" (")[0]
        shown.add_row(
            paper, escape(one.claim.where), escape(one.claim.says), verdict, escape(one.numbers)
        )
    return shown
