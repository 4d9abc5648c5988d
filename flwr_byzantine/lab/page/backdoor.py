"""How often a backdoor works under each rule."""

from __future__ import annotations

from flwr_byzantine.lab.page.data import NONE, Cell, Findings
from flwr_byzantine.lab.page.tables import row_head, table
from flwr_byzantine.lab.page.text import MISSING, escape

TITLE = "Share of samples with the trigger that the model takes for the target class"
COUNTED = (
    "A share above that of the app without an attack counts as points lost in the recommendation."
)
PERCENT = "\N{NO-BREAK SPACE}%"


def attacks_of(findings: Findings) -> list[str]:
    """The attacks for which the success of a backdoor is known. "No attack" comes first."""
    known = {cell.attack for cell in findings.cells.values() if cell.success is not None}
    return [attack for attack in findings.attacks if attack in known] if known - {NONE} else []


def in_words(cell: Cell) -> str:
    """The share in a cell."""
    return MISSING if cell.success is None else f"{100 * cell.success:.0f}{PERCENT}"


def remarks(findings: Findings) -> list[str]:
    """What to say about the shares: how they count, and, once for each reason, why some are not known."""
    said = [COUNTED] if attacks_of(findings) else []
    return said + list(dict.fromkeys(cell.note for cell in findings.cells.values() if cell.note))


def success_html(findings: Findings) -> str:
    """The shares as a table; no text if no backdoor was run."""
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
        "<h3>How often the backdoor works</h3><p>The trigger is put on samples of other classes, and the app "
        "evaluates them. A model with a backdoor may lose no points in the table above.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Attack success">'
        f"{table(TITLE, heads, rows)}</div>{said}"
    )
