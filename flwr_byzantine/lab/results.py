"""What a grid of runs came to: points lost, what to recommend, and who pays for a defence."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr_byzantine.checks import is_number
from flwr_byzantine.lab.cell import APP, NONE, Run
from flwr_byzantine.lab.page.text import points_in_words
from flwr_byzantine.lab.scores import SOURCES, Metric, points_of

CLOSE = 1.0  # points of the best worst case, within which the cheapest rule is recommended


def final(curve: Mapping[int, float]) -> float | None:
    """The value after the last round."""
    return curve[max(curve)] if curve else None


def cells_of(runs: Sequence[Run], metric: Metric) -> list[dict[str, Any]]:
    """What ``stress.json`` says of each run."""
    reference = next(
        (final(metric.curve(run.curves)) for run in runs if (run.rule, run.attack) == (APP, NONE)),
        None,
    )
    cells = []
    for run in runs:
        curve = metric.curve(run.curves)
        reached = None if run.error else final(curve)  # it came to no end
        lost = None
        if reached is not None and reference is not None:
            sign = -1 if metric.lower_is_better else 1
            lost = sign * (reference - reached) * points_of(metric.lower_is_better, reference)
        cells.append(
            {
                "rule": run.rule,
                "attack": run.attack,
                "final": reached,
                "lost": lost,
                "curve": [[r, value] for r, value in curve.items()],
                "seconds_per_round": run.seconds,
                "error": run.error,
                "byzantine": run.byzantine,
                "verdicts": [list(verdict) for verdict in run.verdicts],
                "nodes": {
                    str(node): metrics[metric.name]
                    for node, metrics in run.nodes.items()
                    if metric.name in metrics
                },
            }
        )
    return cells


def recommend(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cheapest rule within a point of the best worst case, or none, with the reason.

    Parameters
    ----------
    cells : Sequence[Mapping[str, Any]]
        Of :func:`cells_of`.
    """
    worst: dict[str, tuple[float, str]] = {}
    for rule in dict.fromkeys(cell["rule"] for cell in cells):
        losses = [
            (cell["lost"] if is_number(cell["lost"]) else math.inf, cell["attack"])
            for cell in cells
            if cell["rule"] == rule
        ]
        worst[rule] = max(losses)
    if APP not in worst:
        return {
            "rule": None,
            "reason": "The app itself was not run: there is nothing to compare with.",
        }
    if any(cell["lost"] is None for cell in cells if (cell["rule"], cell["attack"]) == (APP, NONE)):
        return {"rule": None, "reason": "The app came to no result without an attack."}
    unprotected, attack = worst.pop(APP)
    if not worst:
        return {"rule": None, "reason": "No rule was run: there is nothing to recommend."}
    working = {rule: found for rule, found in worst.items() if found[0] < math.inf}
    if not working:
        return {"rule": None, "reason": "No rule came to a result under every attack."}
    best = min(lost for lost, _ in working.values())
    if unprotected <= CLOSE or best >= unprotected - CLOSE:
        reason = (
            f"None: the defence costs more than these attacks. Without a rule the app {_loses(unprotected)} "
            f"at worst ({_under(attack)}), and with the best rule it {_loses(best)}."
        )
        return {"rule": None, "reason": reason}
    seconds = {
        rule: _median([c["seconds_per_round"] for c in cells if c["rule"] == rule])
        for rule in working
    }
    close = [rule for rule, (lost, _) in working.items() if lost <= best + CLOSE]
    rule = min(close, key=lambda rule: seconds[rule])
    lost, under = working[rule]
    without = "fails" if unprotected == math.inf else _loses(unprotected)
    reason = (
        f"{rule} {_loses(lost)} at worst ({_under(under)}), where the app without a rule {without} "
        f"({_under(attack)})."
    )
    if len(close) > 1:
        others = ", ".join(other for other in close if other != rule)
        reason += f" Also within a point of the best, but slower: {others}."
    return {"rule": rule, "reason": reason}


def _loses(lost: float) -> str:
    """What becomes of an app that loses so many points."""
    return f"loses {points_in_words(lost)}"


def _under(attack: str) -> str:
    return "without an attack" if attack == NONE else f"under {attack}"


def _median(values: Sequence[float | None]) -> float:
    found = sorted(value for value in values if value is not None)
    return found[len(found) // 2] if found else math.inf


def clients_who_lose(
    cells: Sequence[Mapping[str, Any]], metric: Metric
) -> dict[str, list[list[Any]]]:
    """Rule -> nodes and the points that each loses by the rule where nobody attacks, most first."""
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
    """What became of an app under each attack, with each rule.

    Parameters
    ----------
    data : Mapping[str, Any]
        As ``stress.json`` holds it.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = dict(data)

    @classmethod
    def of(
        cls, app: str, runs: Sequence[Run], metric: Metric, settings: Mapping[str, Any]
    ) -> StressResult:
        """The result of all runs."""
        cells = cells_of(runs, metric)
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
        """One for each rule and attack."""
        cells: list[dict[str, Any]] = self.data["cells"]
        return cells

    @property
    def recommendation(self) -> dict[str, Any]:
        """The rule to take, or None, and the reason."""
        found: dict[str, Any] = self.data["recommendation"]
        return found

    def cell(self, rule: str, attack: str) -> dict[str, Any]:
        """What one run came to.

        Raises
        ------
        KeyError
            If there was no such run.
        """
        for cell in self.cells:
            if (cell["rule"], cell["attack"]) == (rule, attack):
                return cell
        raise KeyError(f"{rule} under {attack}")

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``stress.json`` and ``stress.html``; gives the page's path."""
        from flwr_byzantine.lab.page import page

        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        (out / "stress.json").write_text(
            json.dumps(finite(self.data), indent=1) + "\n", encoding="utf-8"
        )
        (out / "stress.html").write_text(page(self.data), encoding="utf-8")
        return out / "stress.html"

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
    """An SVG that notebooks show."""

    def _repr_svg_(self) -> str:
        return str(self)


class Words(str):
    """Lines that Python and notebooks show as they are."""

    def __repr__(self) -> str:
        return str(self)


def finite(value: Any) -> Any:
    """The same with None for NaN and infinities, which JSON has no words for.

    Examples
    --------
    >>> finite({1: (float("nan"), 2.0)})
    {'1': [None, 2.0]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
