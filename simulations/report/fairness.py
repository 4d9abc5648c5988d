"""What a rule does to single honest clients: the worst off, and the least used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from flwr_byzantine.lab.kept import Record
from flwr_byzantine.lab.page import colours
from flwr_byzantine.lab.page.grid import Key, Row, Square, drawing
from flwr_byzantine.lab.page.text import MISSING
from simulations.measure.measures import Metric, least_part
from simulations.report.blocks import Block, Text
from simulations.report.drawings import Drawing
from simulations.report.heatmaps import HIGH
from simulations.report.pool import Pool
from simulations.report.seeds import each, shown

Measured = Callable[[Record], float | None]
PARTS = (5, 10, 20, 40, 60, 80, 95)  # limits of the colours: per cent below an equal part
READING = (
    "Nobody attacks here. The first picture shows the accuracy that the worst off client may expect on "
    "data like its own. The second picture is about the client that is used least. It shows the part "
    "that this client has in the model on average over the rounds, in per cent of an equal part."
)


def fairness_blocks(pool: Pool) -> Iterator[Block | Drawing]:
    """Yield pictures of the worst off and the least used client, with rules down and data across."""
    worst = _picture(pool, "accuracy of the worst off client (%)", worst_off, colours.LIMITS)
    least = _picture(
        pool, "part of the least used client (% of an equal part)", least_used, PARTS, best=100.0
    )
    if worst or least:
        yield Text(READING)
    yield Drawing("worst client", "accuracy of the worst off client without an attack (%)", worst)
    shows = "part of the least used client without an attack (% of an equal part)"
    yield Drawing("least used", shows, least)


def worst_off(run: Record) -> float | None:
    """Return the least accuracy that an honest client may expect, in percent."""
    value = run.get("final_worst_client")
    return None if value is None else 100 * value


def least_used(run: Record) -> float | None:
    """Return the part of the honest client that is used least, in percent of an equal part."""
    part = least_part(run, run, Metric("accuracy"))
    return None if math.isnan(part) else 100 * part


def _picture(
    pool: Pool, title: str, measured: Measured, limits: Sequence[float], best: float | None = None
) -> str | None:
    """Draw a number of the runs without an attack. Cells are darker the further it is below the best."""
    found = {
        (rule, data): values
        for rule in pool.rules
        for data in pool.data
        if (values := _values(pool, rule, data, measured))
    }
    if not found:
        return None
    rules = [rule for rule in pool.rules if any((rule, data) in found for data in pool.data)]
    most = best if best is not None else max(fmean(values) for values in found.values())

    def square(rule: str, data: str) -> Square:
        words = f"{pool.results.shown(pool.experiment, rule)}, {data or 'all'}"
        values = found.get((rule, data))
        if values is None:
            return Square(MISSING, None, f"{words}: not run")
        mean = fmean(values)
        said = f"{words}: {shown(values)}; {each(values)}"
        return Square(f"{mean:.0f}", colours.step(most - mean, limits), said)

    rows = [
        Row(
            pool.results.shown(pool.experiment, rule),
            [square(rule, data) for data in pool.data],
        )
        for rule in rules
    ]
    missing = "not run" if any(s.step is None for row in rows for s in row.squares if s) else ""
    key = Key(f"coloured by how far below {most:.0f} it is", limits, "", missing)
    said = "Rules are down, and how the data differ is across."
    heads = [data or "all" for data in pool.data]
    return drawing(f"{pool.experiment}: {title}", said, heads, rows, key, HIGH)


def _values(pool: Pool, rule: str, data: str, measured: Measured) -> list[float]:
    values = (measured(run) for run in pool.calm_runs(rule, data).values())
    return [value for value in values if value is not None]
