"""A short table that says when a defence is worth it. It is at the beginning of docs/which-rule.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simulations.catalog.auxiliary import STRATEGIES
from simulations.report.blocks import Table, render_markdown, slug
from simulations.report.names import written
from simulations.report.pool import Loss, Pool
from simulations.report.view import Results
from simulations.report.worst_case import NEVER, chance
from simulations.sweep.experiment import FOLDER, load_experiment

EXPERIMENT, FIGURE = "break_even", "data that differ"
SCREEN = "large values"  # the figure of an attack that a rule has to withstand to be advised
ADVISED = "caf"  # what the page tells everybody to start with
MOST = 10.0  # points that it may lose there
CELLS = Path("docs/results/study")
DATA = {  # what the variants of the figure are to a reader
    "alpha = inf": "alike",
    "alpha = 1": "a little different (alpha = 1)",
    "alpha = 0.3": "different (alpha = 0.3)",
    "alpha = 0.1": "very different (alpha = 0.1)",
}
HEAD = (
    "clients' data", "loss of averaging", "rule that loses least and withstands large values", "its loss",
    "its loss without an attack", "probability of an attack at which it is worth it", "loss of CAF",
    "rule that loses least with data on the server",
)  # fmt: skip


def decision_table(cells: Path = CELLS, page: str = "results/study/README.md") -> str:
    """Return the table in Markdown. The first cell of a line links to the figure that it comes from.

    Parameters
    ----------
    cells : Path
        Where the study's cells lie.
    page : str
        The report on them, as seen from the page that the table is for.
    """
    own = load_experiment(FOLDER / f"{EXPERIMENT}.toml")
    results = Results([own], "quick", cells)
    pool, screen = (Pool(results, EXPERIMENT, figure) for figure in (FIGURE, SCREEN))
    where = f"{page}#{slug(f'{own.title}, {FIGURE}')}"
    rows = [
        _row(pool, screen, data, f"[{name}]({where})")
        for data, name in DATA.items()
        if data in pool.data
    ]
    return render_markdown([Table(HEAD, rows)]).strip()


def _row(pool: Pool, screen: Pool, data: str, name: str) -> list[str]:
    def on_server(rule: str) -> bool:
        return any(
            pool.results.configs[p].rule in STRATEGIES for p in pool.places if p.rule == rule
        )

    def withstands(rule: str) -> bool:
        lost = screen.worst(rule, data)
        return lost is not None and lost.mean <= MOST

    plain = pool.worst(pool.plain, data)
    alone = _best(pool, data, lambda rule: withstands(rule) and not on_server(rule))
    helped = _best(pool, data, lambda rule: withstands(rule) and on_server(rule))
    advised, unattacked = pool.worst(ADVISED, data), pool.cost(ADVISED, data)
    if plain is None or alone is None or helped is None or advised is None or unattacked is None:
        return [name, *["not run"] * (len(HEAD) - 1)]
    rule, worst, cost = alone
    likely = chance(cost.mean, worst.mean, plain.mean)
    return [
        name,
        f"{plain.mean:.0f} ({written(plain.attack)})",
        pool.results.shown(pool.experiment, rule),
        f"{worst.mean:.0f} ({written(worst.attack)})",
        f"{cost.mean:+.1f}",
        "none" if likely == NEVER else "any" if likely == 0 else f"> {100 * likely:.0f} %",
        f"{advised.mean:.0f} ({written(advised.attack)}); without an attack {unattacked.mean:+.1f}",
        f"{written(helped[0])}: {helped[1].mean:.0f}; without an attack {helped[2].mean:+.1f}",
    ]


def _best(pool: Pool, data: str, wanted: Callable[[str], bool]) -> tuple[str, Loss, Loss] | None:
    """The rule that loses least in its worst case, among those that met every attack, and what it costs."""
    most = max((pool.met(rule, data) for rule in pool.rules), default=0)
    found = [
        (rule, worst, cost)
        for rule in pool.rules
        if wanted(rule)
        and pool.met(rule, data) == most
        and (worst := pool.worst(rule, data))
        and (cost := pool.cost(rule, data))
    ]
    return min(found, key=lambda one: one[1].mean, default=None)
