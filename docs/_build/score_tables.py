"""What README.md and docs/ say of the experiments, from the results in docs/results."""

import re
from pathlib import Path

from markdown_table import table

RESULTS = Path(__file__).resolve().parents[1] / "results"


def page_evidence() -> str:
    """The table of docs/which-rule.md: when a defence is worth its cost, from the cells of the study."""
    # Imported here, because it needs torch, which the other pages do not need.
    from simulations.report.decide import decision_table

    return decision_table(RESULTS / "study")


def scores(folder: str) -> str:
    """The table of how many claims of each paper hold, from the report of the reproduction.

    ``folder`` is the path from the page to docs/.
    """
    report = (RESULTS / "reproduction" / "README.md").read_text()
    verdicts = ("holds", "fails", "no-test", "not-run")
    rows, claims = [], 0
    for paper, counts in re.findall(r"<summary><b>(.+?)</b>: (.+?)</summary>", report):
        found = dict(re.findall(r'class="verdict-([\w-]+)">(\d+) ', counts))
        own = [int(found.get(verdict, 0)) for verdict in verdicts]
        claims += sum(own)
        rows.append((paper, *(str(number) for number in (sum(own), *own))))
    text = (
        f"We measured every empirical claim of four papers, {claims} in all, on real MNIST and CIFAR-10, at a "
        f"smaller scale. [The\nreproduction]({folder}results/reproduction/README.md) has the numbers seen, and says "
        "why a claim does not hold, or could not have been refuted (no test)."
    )
    head = ("paper", "claims", "hold", "do not hold", "no test", "not run")
    return f"{text}\n\n{table(head, *rows)}"
