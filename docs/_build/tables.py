"""Write the generated parts of README.md and docs/: ``make tables`` runs this."""

from functools import partial
from pathlib import Path

import cost_tables
import rule_tables
from score_tables import page_evidence, scores

REPOSITORY = Path(__file__).resolve().parents[2]

PAGES = {
    "README.md": {"rules": rule_tables.readme_rules, "attacks": rule_tables.readme_attacks, "scores": partial(scores, "docs/")},
    "docs/benchmarks.md": {
        "strategies": cost_tables.page_strategies,
        "readings": cost_tables.page_readings,
        "peers": cost_tables.page_peers,
        "first use": cost_tables.page_first_use,
        "rounds": cost_tables.page_rounds,
    },
    "docs/index.md": {"scores": partial(scores, "")},
    "docs/operators.md": {"bounds": rule_tables.page_bounds},
    "docs/rules.md": {"rules": rule_tables.page_rules, "reference": rule_tables.page_reference},
    "docs/which-rule.md": {"evidence": page_evidence},
}


def written(page: str, text: str) -> str:
    """The text of a page with new generated parts."""
    for name, make in PAGES[page].items():
        begin, end = f"<!-- {name}: written by `make tables` -->", f"<!-- {name}: end -->"
        before, begins, rest = text.partition(begin)
        _, ends, after = rest.partition(end)
        if not begins or not ends:
            raise ValueError(f"{page} should have a line {begin!r}, and {end!r} below it.")
        text = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
    return text


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        path = REPOSITORY / page
        path.write_text(written(page, path.read_text()))


if __name__ == "__main__":
    main()
