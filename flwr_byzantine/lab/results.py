"""The results of a grid of runs: points lost, the recommendation, and the nodes that lose most by a rule."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr_byzantine.lab.cell import APP, NONE, Run
from flwr_byzantine.lab.kept import replace_file, write
from flwr_byzantine.lab.recommendation import recommend
from flwr_byzantine.lab.scores import SOURCES, Metric, points_of


def final(curve: Mapping[int, float]) -> float | None:
    """The value after the last round."""
    return curve[max(curve)] if curve else None


def cells_of(by_seed: Sequence[Sequence[Run]], metric: Metric) -> list[dict[str, Any]]:
    """What ``stress.json`` says about each rule and attack.

    Parameters
    ----------
    by_seed : Sequence[Sequence[Run]]
        The runs of each seed, in the same order. Points lost compare a run with the app's own run of the same
        seed.
    metric : Metric
        The metric by which results are compared.

    Notes
    -----
    With several seeds, the values are means. If the run of one seed failed, there are no values. Verdicts and
    attackers are those of the first seed.
    """
    references = [
        next((_final(run, metric) for run in runs if (run.rule, run.attack) == (APP, NONE)), None)
        for runs in by_seed
    ]
    return [_cell(runs, references, metric) for runs in zip(*by_seed, strict=True)]


def _cell(
    runs: Sequence[Run], references: Sequence[float | None], metric: Metric
) -> dict[str, Any]:
    """The runs of one rule and attack, one for each seed."""
    first = runs[0]
    finals = [_final(run, metric) for run in runs]
    losses = [_lost(*pair, metric) for pair in zip(references, finals, strict=True)]
    curves = [metric.curve(run.curves) for run in runs]
    failed = [run for run in runs if run.error is not None]
    which = f"seed {failed[0].seed}: " if failed and len(runs) > 1 else ""
    return {
        "rule": first.rule,
        "attack": first.attack,
        "final": _mean(finals),
        "finals": finals,
        "lost": _mean(losses),
        "losses": losses,
        "curve": [[r, value] for r, value in _means_by_key(curves).items()],
        "curves": [[[r, value] for r, value in curve.items()] for curve in curves],
        "seconds_per_round": _median([run.seconds for run in runs]),
        "error": f"{which}{failed[0].error}" if failed else None,
        "attack_success_rate": _mean([run.success for run in runs]),
        "note": next((run.note for run in runs if run.note), None),
        "byzantine": first.byzantine,
        "verdicts": [list(verdict) for verdict in first.verdicts],
        "nodes": {
            str(node): value
            for node, value in _means_by_key(
                [{n: m[metric.name] for n, m in r.nodes.items() if metric.name in m} for r in runs]
            ).items()
        },
    }


def _final(run: Run, metric: Metric) -> float | None:
    """The last value of a run; None if the run did not finish."""
    return None if run.error else final(metric.curve(run.curves))


def _lost(reference: float | None, reached: float | None, metric: Metric) -> float | None:
    """The points that a run lost, compared with another run."""
    if reached is None or reference is None:
        return None
    sign = -1 if metric.lower_is_better else 1
    return sign * (reference - reached) * points_of(metric.lower_is_better, reference)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is missing."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there and len(there) == len(values) else None


def _means_by_key(tables: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean for each key, over the tables that have the key."""
    found: dict[int, list[float]] = {}
    for table in tables:
        for key, value in table.items():
            found.setdefault(key, []).append(value)
    return {key: sum(values) / len(values) for key, values in sorted(found.items())}


def _median(values: Sequence[float | None]) -> float | None:
    found = sorted(value for value in values if value is not None)
    return found[len(found) // 2] if found else None


def clients_who_lose(
    cells: Sequence[Mapping[str, Any]], metric: Metric
) -> dict[str, list[list[Any]]]:
    """Rule -> nodes and the points that each of them loses by the rule without an attack, most first."""
    clean = {cell["rule"]: cell["nodes"] for cell in cells if cell["attack"] == NONE}
    own = clean.get(APP, {})
    sign = -1 if metric.lower_is_better else 1
    losses: dict[str, list[list[Any]]] = {}
    for rule, nodes in clean.items():
        if rule == APP:
            continue
        lost = [
            [node, sign * (own[node] - value) * points_of(metric.lower_is_better, own[node])]
            for node, value in nodes.items()
            if node in own
        ]
        losses[rule] = sorted(lost, key=lambda pair: -pair[1])
    return losses


class StressResult:
    """The results of an app under each attack, with each rule.

    Parameters
    ----------
    data : Mapping[str, Any]
        The content of ``stress.json``.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = dict(data)

    @classmethod
    def of(
        cls, app: str, by_seed: Sequence[Sequence[Run]], metric: Metric, settings: Mapping[str, Any]
    ) -> StressResult:
        """Make the result from the runs of each seed."""
        cells = cells_of(by_seed, metric)
        return cls(
            {
                "app": app,
                "metric": metric.name,
                "source": metric.source,
                "source_in_words": SOURCES[metric.source],
                "lower_is_better": metric.lower_is_better,
                **settings,
                "cells": cells,
                "recommendation": recommend(cells),
                "clients_who_lose": clients_who_lose(cells, metric),
            }
        )

    @property
    def cells(self) -> list[dict[str, Any]]:
        """The cells, one for each rule and attack."""
        cells: list[dict[str, Any]] = self.data["cells"]
        return cells

    @property
    def recommendation(self) -> dict[str, Any]:
        """The rule to take, or None, and the reason."""
        found: dict[str, Any] = self.data["recommendation"]
        return found

    def cell(self, rule: str, attack: str) -> dict[str, Any]:
        """The result of one rule under one attack.

        Raises
        ------
        KeyError
            If there was no such run.
        """
        for cell in self.cells:
            if (cell["rule"], cell["attack"]) == (rule, attack):
                return cell
        pairs = ", ".join(f"{cell['rule']} under {cell['attack']}" for cell in self.cells)
        raise KeyError(f"There was no run of {rule} under {attack}. The runs are: {pairs}.")

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``stress.json`` and ``stress.html``, and return the path of the page."""
        from flwr_byzantine.lab.page import page

        out = Path(folder)
        write(self.data, out / "stress.json", indent=1)
        return replace_file(out / "stress.html", page(self.data).encode())

    def heatmap(self) -> Any:
        """The heatmap of points lost, which notebooks show."""
        from flwr_byzantine.lab.page import heatmap_svg

        return Drawing(heatmap_svg(self.data))

    def table(self) -> str:
        """Points lost by rule and attack, and the time of each rule, as plain text."""
        from flwr_byzantine.lab.terminal import as_text

        return Words(as_text(self.data))

    def _repr_html_(self) -> str:
        """The recommendation and the heatmap, which notebooks show."""
        from flwr_byzantine.lab.page import summary_html

        return summary_html(self.data)

    def __repr__(self) -> str:
        """The recommendation."""
        return f"StressResult({self.data['app']}: {self.recommendation['reason']})"


class Drawing(str):
    """An SVG that notebooks show as a picture."""

    def _repr_svg_(self) -> str:
        return str(self)


class Words(str):
    """Lines that Python and notebooks show without quotes."""

    def __repr__(self) -> str:
        return str(self)
