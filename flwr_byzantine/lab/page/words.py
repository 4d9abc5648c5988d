"""Sentences that the page and the terminal have in common."""

from __future__ import annotations

from flwr_byzantine.lab.page.data import Findings
from flwr_byzantine.lab.page.text import DIVERGES, MOST, PLUS_MINUS, points


def notes(findings: Findings) -> list[str]:
    """What the signs in its cells mean, of those that are there."""
    cells = [cell for cell in findings.cells.values() if cell.loss is not None]
    shown = {cell.loss_in_words for cell in cells}
    said = []
    if findings.is_repeated:
        many = max([len(findings.seeds), *(len(cell.losses) for cell in findings.cells.values())])
        said.append(
            f"Numbers are means over {many} seeds, {PLUS_MINUS} half of the distance from the least to "
            "the most."
        )
    if points(MOST * 2.0) in shown:
        said.append(
            f'"> {MOST}" is more than {MOST} points: the {findings.metric} is far off, and it makes no '
            "difference how far."
        )
    if DIVERGES in shown:
        said.append(
            f'"{DIVERGES}" means that {findings.metric} ended as infinite or as no number: the model is '
            "lost."
        )
    return said
