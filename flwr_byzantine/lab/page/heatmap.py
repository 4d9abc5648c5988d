"""The heatmap of points lost: rules down, attacks across."""

from __future__ import annotations

from flwr_byzantine.lab.page.colours import LIMITS, step
from flwr_byzantine.lab.page.data import APP, NONE, Cell, Findings, Result, read
from flwr_byzantine.lab.page.grid import Key, Row, Square, drawing
from flwr_byzantine.lab.page.text import points, points_in_words, value


def heatmap_svg(result: Result) -> str:
    """The heatmap of points lost: rules down, attacks across.

    Parameters
    ----------
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    return draw(read(result))


def draw(findings: Findings) -> str:
    """The heatmap of a result."""
    several = len(findings.attacks) > 1
    said = "; ".join(
        f"{rule} loses most under {worst.attack}: {worst.loss_in_words}"
        for rule in findings.rules
        if (worst := findings.worst(rule)) is not None
    )
    return drawing(
        f"Points of {findings.metric} lost by each rule under each attack",
        f"{said or 'No run came to an end'}.",
        ["no attack" if name == NONE else name for name in findings.attacks],
        [_row(findings, rule) for rule in findings.rules],
        Key("Points lost", LIMITS, "worst of the rule" if several else "", _missing(findings)),
    )


def _missing(findings: Findings) -> str:
    """What a cell without a colour means."""
    return "run failed, or no number" if findings.cells else ""


def _row(findings: Findings, rule: str) -> Row:
    chosen = rule == findings.recommended
    note = "recommended" if chosen else "your app as it is" if rule == APP else ""
    worst = findings.worst(rule) if len(findings.attacks) > 1 else None
    cells = [findings.cell(rule, attack) for attack in findings.attacks]
    return Row(rule, [_square(cell, cell is worst) for cell in cells], note, chosen)


def _square(cell: Cell, is_worst: bool) -> Square:
    return Square(
        cell.loss_in_words,
        None if cell.loss is None else step(cell.loss),
        in_words(cell, is_worst),
        cell.spread_in_words,
        is_worst,
        {"rule": cell.rule, "attack": cell.attack},
    )


def in_words(cell: Cell, is_worst: bool = False) -> str:
    """The description of a cell in one line."""
    name = f"{cell.rule}, {'no attack' if cell.attack == NONE else cell.attack}"
    if cell.error is not None:
        return f"{name}: the run failed. {cell.error}"
    if cell.loss is None:
        return f"{name}: no number"
    ending = ", the worst of this rule" if is_worst else ""
    if cell.is_broken:
        return f"{name}: the model broke and ends as {value(cell.final)}{ending}{_seeds(cell)}"
    return f"{name}: {points_in_words(cell.loss)} lost, ends at {value(cell.final)}{ending}{_seeds(cell)}"


def _seeds(cell: Cell) -> str:
    """The points lost with each seed, in a sentence."""
    if len(cell.losses) < 2:
        return ""
    lost = ["no number" if lost is None else points(lost) for lost in cell.losses]
    return f". Points lost by seed: {', '.join(lost)}"
