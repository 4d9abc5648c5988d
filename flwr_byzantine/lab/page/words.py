"""Sentences that both the page and the terminal show."""

from __future__ import annotations

from flwr_byzantine.lab.page.data import NONE, Findings
from flwr_byzantine.lab.page.text import DIVERGES, MOST, PLUS_MINUS, points


def notes(findings: Findings) -> list[str]:
    """Explain those signs that occur in the cells of a result."""
    cells = [cell for cell in findings.cells.values() if cell.loss is not None]
    shown = {cell.loss_in_words for cell in cells}
    said = []
    if findings.is_repeated:
        many = max([len(findings.seeds), *(len(cell.losses) for cell in findings.cells.values())])
        said.append(
            f"Numbers are means over {many} seeds. Behind {PLUS_MINUS} is half of the distance from the "
            "lowest seed to the highest."
        )
    if points(MOST * 2.0) in shown:
        said.append(
            f'"> {MOST}" means more than {MOST} points. The {findings.metric} is then so far off that the '
            "exact number means nothing."
        )
    if DIVERGES in shown:
        said.append(
            f'"{DIVERGES}" means that {findings.metric} ended as infinite or as no number: the model is '
            "useless."
        )
    failed = {
        node
        for cell in findings.cells.values()
        if cell.attack == NONE
        for _, node, verdict in cell.verdicts
        if verdict == "failed"
    }
    if failed:
        nodes = ", ".join(sorted(failed, key=lambda node: (len(node), node)))
        said.append(
            f"Nobody attacks under `none`, but these nodes failed there: {nodes}. `--verbose` shows their "
            "errors."
        )
    return said
