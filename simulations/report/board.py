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
FEW = 8  # up to this many measurements of a claim are all shown
HOW_TO_OPEN = "Open a line to see its claims."
COLOURS = {HOLDS: "green", FAILS: "red", NO_TEST: "yellow", NOT_RUN: "dim"}
READING = (
    "Each number is a mean over the seeds, with its 95 % bootstrap interval. A seed is left out if its "
    "measurement is not a number. Examples are a ratio to a run that gained nothing, and the direction "
    "of a model that is not finite any more. A claim holds if all means are within the bounds, which "
    "stand for the paper's words. If it is about one of several rules or attacks, one mean is enough. "
    "`no test` means that the measurement could not have refuted the claim, so the claim counts neither "
    "way. The column `why` gives the reason for that, or the cause if a claim does not hold. There are "
    "five causes. `scale` means that our runs are smaller. `seed noise` means that the seeds differ too "
    "much. `bound` means that the bound is not the paper's own. `paper` means that the reason lies in the "
    "paper itself. `ours` means that we built something differently. The column `averaging` has the same "
    "measure of averaging under the same attack, if the claim says that rules do well. A * marks "
    "claims that were added, or whose bound was chosen, after results had been seen. Such a claim "
    "describes the results, and does not test them."
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
    """Return the scoreboard: the counts, and a table for each paper, which is hidden until it is opened."""
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
        Text("The keys of the cells that each claim is about, and of those that they are compared with."),
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
    """What was measured. Of many measurements, only their range and their number."""
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
            f"Averaging is within the bound under the same attack, too, in {len(found)} claims that hold. "
            f"So these claims are no test of the rule: {', '.join(found)}."
        )
    ]


def _twins(numbered: Sequence[tuple[int, Judged]]) -> dict[int, int]:
    """Return the claims that have the measure and the models of an earlier claim, and its number."""
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
