"""The scoreboard as blocks of a document, and for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import table as rich_table
from rich.markup import escape

from simulations.measure.measures import MEASURES
from simulations.report.blocks import Block, Fold, Heading, Link, Table, Text, Verdict
from simulations.report.scoreboard import FAILS, HOLDS, NO_TEST, NOT_RUN, Judged
from simulations.report.view import BENCHMARK, Results

WORDS = {HOLDS: "hold", FAILS: "do not hold", NO_TEST: "no test", NOT_RUN: "not run"}
FEW = 8  # measurements of a claim that are all told
HOW_TO_OPEN = "Open a line to see its claims."
COLOURS = {HOLDS: "green", FAILS: "red", NO_TEST: "yellow", NOT_RUN: "dim"}
READING = (
    "Numbers are means over the seeds that have one, and their 95 % bootstrap intervals: a ratio to "
    "something that gained nothing, or the direction of a model that is gone, is none. A claim holds if "
    "all means are within the bounds, which stand for the paper's words. Where the claim is about one "
    "rule or the other, one is enough. No test: what was measured could not have refuted the claim, so "
    "that it counts neither way. Why: the reason for that, or the cause where a claim does not hold. "
    "The cause is the scale of our runs, noise of the seeds, a bound that is not the paper's own, the "
    "paper, or ours, which is what was built otherwise. Averaging: the same measure of averaging under "
    "the same attack, where the claim says that rules do well. A * marks claims that were added, or "
    "whose bound was chosen, when results had been seen: these describe, and are no test."
)


def counts(judged: Sequence[Judged]) -> list[int]:
    """Return how many claims hold, do not hold, are no test, and were not run."""
    found = Counter[str](one.verdict for one in judged)
    return [found[verdict] for verdict in WORDS]


def tally(judged: Sequence[Judged]) -> str:
    """Say how many claims hold, do not hold, are no test, and were not run."""
    hold, fail, untested, open_ = counts(judged)
    return f"{len(judged)} claims: {hold} hold, {fail} do not hold, {untested} no test, {open_} not run."


def scoreboard_blocks(judged: Sequence[Judged], results: Results) -> list[Block]:
    """Return the scoreboard: the counts, and one table a paper, which its counts hide until it is opened."""
    numbered = list(enumerate(judged, 1))
    papers = {
        paper: [(number, one) for number, one in numbered if one.claim.paper == paper]
        for paper in dict.fromkeys(one.claim.paper for one in judged)
    }
    titles = {own.name: own.title for own in results.experiments}
    head = [
        "#", "where", "claim", "verdict", "why", "seen", "averaging", "measured and bound", "cells"
    ]  # fmt: skip
    twins = _twins(numbered)
    blocks: list[Block] = [Heading("Scoreboard"), Text(f"{tally(judged)} {HOW_TO_OPEN}")]
    for paper, own in papers.items():
        rows = [
            [
                str(number), one.claim.where, one.claim.says, Verdict(one.verdict, one.verdict), one.why,
                _few(one), one.control, one.claim.measured, _cells(one, twins.get(number), titles),
            ]
            for number, one in own
        ]  # fmt: skip
        found = zip(WORDS.items(), counts([one for _, one in own]), strict=True)
        verdicts = [Verdict(f"{many} {words}", verdict) for (verdict, words), many in found if many]
        blocks.append(Fold(paper, verdicts, [Table(head, rows)]))
    return [*blocks, *_control_text(numbered), Text(READING)]


def cell_blocks(judged: Sequence[Judged]) -> list[Block]:
    """Return the keys of the cells that each claim rests on."""
    rows = [
        [
            str(number),
            one.cells[0][0],
            " ".join(key for _, key in one.cells),
            " ".join(key for _, key in one.references if (one.cells[0][0], key) not in one.cells),
        ]
        for number, one in enumerate(judged, 1)
        if one.cells
    ]
    if not rows:
        return []
    return [
        Heading("Cells of the claims"),
        Text("By the claim's number: the keys of the cells that it is about, and of those compared with."),
        Table(["#", "experiment", "cells", "compared with"], rows),
    ]  # fmt: skip


def scoreboard_table(judged: Sequence[Judged]) -> rich_table.Table:
    """Return the scoreboard for the terminal."""
    board = rich_table.Table(title=tally(judged))
    for name in ("paper", "where", "claim", "verdict", "seen"):
        board.add_column(name)
    for one in judged:
        verdict = f"[{COLOURS[one.verdict]}]{one.verdict}[/]"
        paper = one.claim.paper.partition(" (")[0]
        board.add_row(
            paper, escape(one.claim.where), escape(one.claim.says), verdict, escape(one.numbers)
        )
    return board


def _few(one: Judged) -> str:
    """What was measured; of many measurements the range alone, and how many there are."""
    if len(one.seen) <= FEW:
        return one.numbers
    known = sorted((seen for seen in one.seen if seen.seeds), key=lambda seen: seen.value)
    if not known:
        return ""
    number = MEASURES[one.claim.measure].number
    missing = len(one.seen) - len(known)
    return (
        f"{len(known)} measurements, from {known[0].in_words(number)} to {known[-1].in_words(number)}"
        + (f"; {missing} not run" if missing else "")
    )


def _control_text(numbered: Sequence[tuple[int, Judged]]) -> list[Block]:
    """Name the claims that count although averaging is within their bounds, too."""
    found = [
        str(number) for number, one in numbered if one.verdict == HOLDS and one.averaging_survives
    ]
    if not found:
        return []
    return [
        Text(
            f"Averaging is within the bound under the same attack, too, in {len(found)} claims that hold, "
            f"so that these are no test of the rule: {', '.join(found)}."
        )
    ]


def _twins(numbered: Sequence[tuple[int, Judged]]) -> dict[int, int]:
    """Return, for each claim about the same models as an earlier one with its measure, that one's number."""
    first: dict[tuple[str, frozenset[str]], int] = {}
    found = {}
    for number, one in numbered:
        if one.models:
            earlier = first.setdefault((one.claim.measure, one.models), number)
            if earlier != number:
                found[number] = earlier
    return found


def _cells(one: Judged, twin: int | None, titles: dict[str, str]) -> str | Link:
    """How many cells a claim is about, and how many different models these hold."""
    if one.claim.experiment == BENCHMARK:
        return "benchmark"
    many = len(one.cells)
    said = f"{many} {'cell' if many == 1 else 'cells'}"
    if 0 < len(one.models) < many:
        said += f", {len(one.models)} different models"
    if twin is not None:
        said += f", those of claim {twin}"
    return Link(said, f"{titles[one.claim.experiment]}, {one.claim.figure}")
