"""What the page shows: the dictionary of ``stress.json``, any part of which may be missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr_byzantine.lab.on_data.node import CANNOT
from flwr_byzantine.lab.page.text import DIVERGES, MISSING, half_range, points, text

APP, NONE = "app", "none"
Result = Mapping[str, Any]


def number(value: Any) -> float | None:
    """A number as a float, also if it is NaN or infinite; None for anything that is no number."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Cell:
    """One rule under one attack.

    Parameters
    ----------
    rule, attack : str
        Their names.
    final, lost, seconds : float or None
        The metric after the last round, the points lost, and the seconds that a round took.
    curve : list[tuple[float, float]]
        Rounds and values, in order.
    error : str or None
        Why the run ended early, in one line.
    byzantine : list[frozenset[str]]
        The attackers of each round.
    verdicts : list[tuple[int, str, str]]
        Round, node and verdict of each reply.
    finals, losses : list[float | None]
        The metric after the last round and the points lost, for each seed; None for a seed that failed.
        With several seeds, ``final``, ``lost`` and ``curve`` are means over them. With one seed, both lists
        are empty.
    curves : list[list[tuple[float, float]]]
        The curve of each seed.
    success : float or None
        The share of samples with a backdoor's trigger that the model takes for the target class.
    note : str or None
        Why ``success`` is not known.
    """

    rule: str
    attack: str
    final: float | None = None
    lost: float | None = None
    seconds: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    error: str | None = None
    byzantine: list[frozenset[str]] = field(default_factory=list)
    verdicts: list[tuple[int, str, str]] = field(default_factory=list)
    finals: list[float | None] = field(default_factory=list)
    losses: list[float | None] = field(default_factory=list)
    curves: list[list[tuple[float, float]]] = field(default_factory=list)
    success: float | None = None
    note: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the metric ended as NaN or infinite, in at least one seed.

        JSON has no such numbers: there the final value and the curve's last value are missing.
        """
        ends = [self.final, self.lost, *self.finals, *self.losses]
        if self.final is None and self.curve:
            ends.append(self.curve[-1][1])
        return any(x is not None and not math.isfinite(x) for x in ends)

    @property
    def loss(self) -> float | None:
        """The points lost: infinity if the model broke, and None if they are not known."""
        if self.error is not None:
            return None
        return math.inf if self.is_broken else self.lost

    @property
    def loss_in_words(self) -> str:
        """The points lost as short text."""
        if self.loss is None:
            return MISSING if self.error is None else "error"
        return DIVERGES if self.is_broken else points(self.lost)

    @property
    def spread(self) -> list[float]:
        """The points lost with each seed that ended with a number; empty with one seed."""
        known = [lost for lost in self.losses if lost is not None and math.isfinite(lost)]
        return known if len(self.losses) > 1 else []

    @property
    def spread_in_words(self) -> str:
        """The spread of the seeds, as text that follows the points lost."""
        return "" if self.loss is None or self.is_broken else half_range(self.spread)

    def attackers(self, server_round: int) -> frozenset[str]:
        """The nodes that attacked in a round."""
        if not self.byzantine:
            return frozenset()
        return self.byzantine[min(max(server_round, 1), len(self.byzantine)) - 1]


@dataclass(frozen=True)
class Findings:
    """The whole result, cleaned.

    Parameters
    ----------
    raw : Mapping[str, Any]
        The result as it was read.
    rules, attacks : list[str]
        Their names, in the order of the result.
    cells : dict[tuple[str, str], Cell]
        Rule and attack -> what became of the app.
    recommended, reason : str or None
        The rule to take, and why.
    losers : dict[str, list[tuple[str, float]]]
        Rule -> nodes and the points that they lose with it. The node that loses most comes first.
    """

    raw: Result
    rules: list[str]
    attacks: list[str]
    cells: dict[tuple[str, str], Cell]
    recommended: str | None
    reason: str | None
    losers: dict[str, list[tuple[str, float]]]

    @property
    def app(self) -> str:
        """The app's name."""
        return text(self.raw.get("app") or "this app")

    @property
    def metric(self) -> str:
        """The metric's name."""
        return text(self.raw.get("metric") or "the metric")

    def cell(self, rule: str, attack: str) -> Cell:
        """The cell of a rule and an attack; an empty cell if there is none."""
        return self.cells.get((rule, attack)) or Cell(rule, attack)

    @property
    def counted(self) -> list[str]:
        """The attacks that count for the recommendation: those that were possible with the app."""
        unmade = {cell.attack for cell in self.failed() if CANNOT in (cell.error or "")}
        return [attack for attack in self.attacks if attack not in unmade]

    def worst(self, rule: str) -> Cell | None:
        """The cell in which a rule loses most, among the cells with a number."""
        known = [cell for a in self.counted if (cell := self.cell(rule, a)).loss is not None]
        return max(known, key=lambda cell: cell.loss or 0.0) if known else None

    def weakest(self, rule: str) -> Cell | None:
        """The cell in which a rule's run failed; if none failed, the cell in which it loses most."""
        cells = (self.cell(rule, attack) for attack in self.counted)
        return next((cell for cell in cells if cell.error is not None), self.worst(rule))

    def failed(self) -> list[Cell]:
        """The runs that ended in an error."""
        return [cell for cell in self.cells.values() if cell.error is not None]

    def seconds(self, rule: str) -> float | None:
        """Seconds per round in the fastest run of a rule. Slower runs waited for other programs."""
        found = [s for a in self.attacks if (s := self.cell(rule, a).seconds) is not None]
        return min(found, default=None)

    def cost(self, rule: str) -> float | None:
        """A rule's seconds per round as a multiple of those of the app itself."""
        own, seconds = self.seconds(APP), self.seconds(rule)
        return seconds / own if own and seconds is not None else None

    @property
    def values(self) -> list[float]:
        """All finite values of all curves."""
        curves = (c for cell in self.cells.values() for c in (cell.curve, *cell.curves))
        return [v for curve in curves for _, v in curve if math.isfinite(v)]

    @property
    def seeds(self) -> list[str]:
        """The seeds with which each rule ran under each attack; empty if the result names none."""
        return [text(seed) for seed in _list(self.raw.get("seeds")) if number(seed) is not None]

    @property
    def is_repeated(self) -> bool:
        """Whether there are several seeds."""
        return len(self.seeds) > 1 or any(len(c.losses) > 1 for c in self.cells.values())


def read(result: Result) -> Findings:
    """Read those parts of a result that are there.

    Parameters
    ----------
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    found = [_cell(raw) for raw in _list(result.get("cells")) if isinstance(raw, Mapping)]
    cells = {(cell.rule, cell.attack): cell for cell in found}
    advice = result.get("recommendation")
    advice = advice if isinstance(advice, Mapping) else {}
    rule, reason = advice.get("rule"), advice.get("reason")
    losers = result.get("clients_who_lose")
    return Findings(
        result,
        list(dict.fromkeys(rule for rule, _ in cells)),
        list(dict.fromkeys(attack for _, attack in cells)),
        cells,
        None if rule is None else text(rule),
        None if reason is None else text(reason),
        {
            text(name): sorted(_pairs(nodes), key=lambda pair: -pair[1])
            for name, nodes in (losers.items() if isinstance(losers, Mapping) else ())
        },
    )


def _cell(raw: Mapping[str, Any]) -> Cell:
    error = raw.get("error")
    return Cell(
        text(raw.get("rule", "?")),
        text(raw.get("attack", "?")),
        number(raw.get("final")),
        number(raw.get("lost")),
        _positive(raw.get("seconds_per_round")),
        _curve(raw.get("curve")),
        " ".join(text(error).split()) if error else None,
        [frozenset(text(node) for node in _list(nodes)) for nodes in _list(raw.get("byzantine"))],
        list(_verdicts(raw.get("verdicts"))),
        [number(value) for value in _list(raw.get("finals"))],
        [number(value) for value in _list(raw.get("losses"))],
        [found for curve in _list(raw.get("curves")) if (found := _curve(curve))],
        _positive(raw.get("attack_success_rate")),
        text(raw["note"]) if raw.get("note") else None,
    )


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []


def _positive(value: Any) -> float | None:
    found = number(value)
    return found if found is not None and math.isfinite(found) and found >= 0 else None


def _curve(points: Any) -> list[tuple[float, float]]:
    return sorted(_points(points), key=lambda point: point[0])


def _points(curve: Any) -> Iterator[tuple[float, float]]:
    for point in _list(curve):
        pair = [number(value) for value in _list(point)]
        if len(pair) == 2 and pair[0] is not None and math.isfinite(pair[0]):
            yield pair[0], math.nan if pair[1] is None else pair[1]


def _pairs(nodes: Any) -> Iterator[tuple[str, float]]:
    for pair in _list(nodes):
        match _list(pair):
            case [node, lost] if (found := number(lost)) is not None and math.isfinite(found):
                yield text(node), found


def _verdicts(rows: Any) -> Iterator[tuple[int, str, str]]:
    for row in _list(rows):
        match _list(row):
            case [server_round, node, verdict] if (found := number(server_round)) is not None:
                yield (int(found) if math.isfinite(found) else 1), text(node), text(verdict)
