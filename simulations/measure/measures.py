"""The measures of claims: pure functions of a run, and of the run with which it is compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from flwr_byzantine.attacks import RandomSignFlip, SignFlip
from flwr_byzantine.lab.kept import Record
from simulations.config import RunConfig
from simulations.measure.roles import roles

CLASSES = 10  # of every dataset of the papers
WINDOW = 6  # means are over a sixth of the rounds, because a single evaluation is noisy
REACHED = 0.9  # `speed` counts the rounds to this share of what the reference learns


@dataclass(frozen=True)
class Metric:
    """The accuracy by which an experiment is judged.

    Examples
    --------
    >>> Metric("top3").guessing, Metric("top3").label
    (0.3, 'top-3 accuracy (%)')
    """

    name: str

    @property
    def guessing(self) -> float:
        """The accuracy of a model that only guesses."""
        return (3 if self.name == "top3" else 1) / CLASSES

    @property
    def label(self) -> str:
        """The metric in words."""
        return "top-3 accuracy (%)" if self.name == "top3" else "accuracy (%)"

    def curve(self, record: Record) -> list[tuple[int, float]]:
        """Return rounds and accuracies, as far as there are any."""
        curves = record["curves"]
        points = zip(curves["round"], curves[self.name], strict=True)
        return [(number, value) for number, value in points if value is not None]


class Measure(NamedTuple):
    """A measurement: its words in the report, its function, and how its numbers are written."""

    words: str
    function: Callable[[Record, Record, Metric], float]
    number: str = "{:.2f}"


def accuracy_at(record: Record, metric: Metric, number: float) -> float:
    """Return the accuracy in a round, interpolated between evaluations. In round 0 it is guessing."""
    rounds, values = zip((0, metric.guessing), *metric.curve(record), strict=True)
    return float(np.interp(number, rounds, values))


def last_round(record: Record) -> int:
    """Return the number of the last round."""
    return int(record["config"]["rounds"])


def mean_accuracy(record: Record, metric: Metric, rounds: range) -> float:
    """Return the mean accuracy over some rounds, because single evaluations differ by points."""
    return fmean(accuracy_at(record, metric, number) for number in rounds)


def ending(run: Record) -> range:
    """The last sixth of the rounds of a run."""
    last = last_round(run)
    return range(last - last // WINDOW + 1, last + 1) if last >= WINDOW else range(last, last + 1)


def learned(run: Record, other: Record, metric: Metric) -> float:
    """The share of the other run's accuracy above guessing, in the last rounds of this run."""
    gained, most = (
        mean_accuracy(record, metric, ending(run)) - metric.guessing for record in (run, other)
    )
    return _ratio(gained, most)


def behind(run: Record, other: Record, metric: Metric) -> float:
    """The points of accuracy behind the other run, in the last rounds of this run."""
    mine, others = (mean_accuracy(record, metric, ending(run)) for record in (run, other))
    return 100 * (others - mine)


def best_behind(run: Record, other: Record, metric: Metric) -> float:
    """How many points the highest accuracy is behind that of the other run."""
    best, others = (max(value for _, value in metric.curve(record)) for record in (run, other))
    return 100 * (others - best)


def slower(run: Record, other: Record, metric: Metric) -> float:
    """How many points the mean accuracy over this run's rounds is behind the other's."""
    numbers = range(1, last_round(run) + 1)
    gaps = (accuracy_at(other, metric, n) - accuracy_at(run, metric, n) for n in numbers)
    return 100 * fmean(gaps)


def progress(run: Record, other: Record, metric: Metric) -> float:
    """Points gained from the rounds before the attack to the last rounds."""
    start, many = run["config"]["attack_start"], len(ending(run))
    before = range(max(0, start - many), start)
    gained = mean_accuracy(run, metric, ending(run)) - mean_accuracy(run, metric, before)
    return 100 * gained


def excess(run: Record, other: Record, metric: Metric) -> float:
    """The points gained while the attack is on, minus half of what the other run gains in those rounds."""
    start, last = run["config"]["attack_start"], ending(run)
    first = range(start, start + len(last))
    mine, others = (
        mean_accuracy(record, metric, last) - mean_accuracy(record, metric, first)
        for record in (run, other)
    )
    return 100 * (mine - others / 2)


def alignment(run: Record, other: Record, metric: Metric) -> float:
    """Mean cosine of the model's step and the true gradient while the attack is on."""
    curves = run["curves"]
    points = zip(curves["round"], curves.get("cosine", curves["round"]), strict=True)
    start = run["config"]["attack_start"]
    seen = [cosine for number, cosine in points if number >= start and cosine is not None]
    return fmean(seen) if seen and "cosine" in curves else math.nan


def speed(run: Record, other: Record, metric: Metric) -> float:
    """The rounds that the other run needs for most of what it learns, divided by those of this run."""
    most = accuracy_at(other, metric, last_round(other)) - metric.guessing
    target = metric.guessing + REACHED * most
    needed, others = (_rounds_to(record, metric, target) for record in (run, other))
    return _ratio(others, needed)


def signs(run: Record, other: Record, metric: Metric) -> float:
    """The share of clients whose last reputation has the sign of the factor on their gradient."""
    factors = [_factor(role) for role in roles(RunConfig(**run["config"]))]
    last = run["curves"].get("reputations", [None])[-1]
    # Either the round was skipped, or some clients did not reply.
    if last is None or len(last) < len(factors):
        return math.nan
    known = [
        score is not None and score * factor > 0
        for score, factor in zip(last, factors, strict=True)
        if factor
    ]
    return fmean(known) if known else math.nan


def worst(run: Record, other: Record, metric: Metric) -> float:
    """How many points the worst honest client is behind the worst honest client of the other run."""
    mine, others = (record.get("final_worst_client", math.nan) for record in (run, other))
    return 100 * float(others - mine)


def least_part(run: Record, other: Record, metric: Metric) -> float:
    """The least part that an honest client has in the model, divided by an even part."""
    config = RunConfig(**run["config"])
    byzantine = config.who.byzantine_in() if config.attack != "none" else frozenset()
    used = enumerate(run.get("used", []))
    parts = [part for client, part in used if client not in byzantine and part is not None]
    return config.clients * min(parts, default=math.nan)


def success(run: Record, other: Record, metric: Metric) -> float:
    """How often the trigger of a backdoor works at the end, in percent."""
    return 100 * float(run.get("final_attack_success_rate", math.nan))


def times(run: Record, other: Record, metric: Metric) -> float:
    """The seconds, divided by those of the other row."""
    return _ratio(run["seconds"], other["seconds"])


def growth(run: Record, other: Record, metric: Metric) -> float:
    """The time for ten times as many parameters, divided by the time for these."""
    return float(run["growth"])


MEASURES = {
    "learned": Measure("accuracy above guessing at the end, divided by the reference's", learned),
    "behind": Measure("points behind the reference at the end", behind, "{:+.1f}"),
    "best_behind": Measure("best accuracy: points behind the reference", best_behind, "{:+.1f}"),
    "slower": Measure("points behind the reference, mean over the rounds", slower, "{:+.1f}"),
    "progress": Measure("points gained since before the attack", progress, "{:+.1f}"),
    "excess": Measure(
        "points gained under attack, minus half of the reference's", excess, "{:+.1f}"
    ),
    "alignment": Measure("cosine of the step and the true gradient", alignment, "{:+.2f}"),
    "speed": Measure(
        f"rounds that the reference needs for {REACHED:.0%} of its gain, divided by this run's",
        speed,
    ),
    "signs": Measure("share of reputations that have the sign of the client's factor", signs),
    "worst": Measure("worst honest client: points behind the reference's", worst, "{:+.1f}"),
    "least_part": Measure(
        "least part of an honest client in the model, divided by an even part", least_part
    ),
    "success": Measure(
        "triggered samples that are classified as the target at the end (%)", success, "{:.0f}"
    ),
    "times": Measure("time, divided by the reference's", times),
    "growth": Measure("time at 10 d, divided by the time at d", growth, "{:.1f}"),
}


def _ratio(value: float, reference: float) -> float:
    """The ratio; NaN if the reference gained nothing."""
    return value / reference if reference > 1e-9 else math.nan


def _rounds_to(record: Record, metric: Metric, target: float) -> float:
    """The rounds until an accuracy is reached, interpolated between evaluations."""
    before = (0.0, metric.guessing)
    for number, value in metric.curve(record):
        if value >= target:
            share = (target - before[1]) / (value - before[1]) if value > before[1] else 1.0
            return before[0] + share * (number - before[0])
        before = (number, value)
    return math.inf


def _factor(role: Any) -> float:
    """The mean factor by which a client multiplies its gradient; 0 if it sends no multiple of it."""
    if role is None:
        return 1.0
    if isinstance(role, SignFlip):
        return -role.scale
    return role.mean if isinstance(role, RandomSignFlip) else 0.0
