"""How often a backdoor works, rule by rule."""

from __future__ import annotations

from flwr_byzantine.lab.page.data import NONE, Cell, Findings
from flwr_byzantine.lab.page.tables import row_head, table
from flwr_byzantine.lab.page.text import MISSING, escape

TITLE = "Samples with the trigger that are taken for its class"
COUNTED = "The recommendation counts these shares as points lost, less those of the app without an attack."
PERCENT = "\N{NO-BREAK SPACE}%"


def attacks_of(findings: Findings) -> list[str]:
    """The attacks under which it is known how often a backdoor works, no attack first."""
    known = {cell.attack for cell in findings.cells.values() if cell.success is not None}
    return [attack for attack in findings.attacks if attack in known] if known - {NONE} else []


def in_words(cell: Cell) -> str:
    """The share of a cell."""
    return MISSING if cell.success is None else f"{100 * cell.success:.0f}{PERCENT}"


def remarks(findings: Findings) -> list[str]:
    """That shares count, and why some are not known, each reason once."""
    said = [COUNTED] if attacks_of(findings) else []
    return said + list(dict.fromkeys(cell.note for cell in findings.cells.values() if cell.note))


def success_html(findings: Findings) -> str:
    """The shares as a table; empty where no backdoor was run."""
    attacks = attacks_of(findings)
    said = "".join(f'<p class="soft">{escape(remark)}</p>' for remark in remarks(findings))
    if not attacks:
        return said
    heads = ["Rule", *(escape("no attack" if a == NONE else a) for a in attacks)]
    rows = [
        row_head(findings, rule)
        + "".join(f'<td class="num">{in_words(findings.cell(rule, a))}</td>' for a in attacks)
        for rule in findings.rules
    ]
    return (
        "<h3>How often the backdoor works</h3><p>Samples of other classes are given the trigger, and the "
        "app evaluates them. A model with a backdoor may well lose no point above.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Attack success">'
        f"{table(TITLE, heads, rows)}</div>{said}"
    )
