"""A plan for f: what to assume for a sample of the nodes, which rules that allows, and what others need."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from flwr_byzantine.checks import ParameterError
from flwr_byzantine.lab.names import RULES, f_of, parts_of, rule_named
from flwr_byzantine.rules.assumed import assumed_byzantine, risk_of
from flwr_byzantine.rules.composition import Composition
from flwr_byzantine.strategies.words import FIT_WORDS, MESSAGE_WORDS

NAMES = (*RULES, "nnm+phocas", "bucketing+phocas")


@dataclass(frozen=True)
class RulePlan:
    """What a plan says of one rule.

    Parameters
    ----------
    name : str
        As on the command line.
    replies : int or None
        How many replies it needs for the f of the plan's sample; None where no number is enough.
    works : bool
        Whether the sample allows that f.
    sample, f : int or None
        The sample to take, and its f: the plan's own where it works, otherwise the smallest sample that
        allows the f of its own; None where no sample of the population does.
    rule, fit_strategy, message_strategy : str or None
        What to write in Python for that f: the rule, and a strategy in each API.
    """

    name: str
    replies: int | None
    works: bool
    sample: int | None
    f: int | None
    rule: str | None
    fit_strategy: str | None
    message_strategy: str | None


@dataclass(frozen=True)
class Plan:
    """f for a sample of the nodes in each round, and what it asks of each rule.

    Parameters
    ----------
    population, byzantine, sample, rounds, risk
        As for :func:`plan_f`.
    f : int
        What to assume.
    risk_left : float
        The probability that some round has more than f all the same.
    risk_below : float or None
        The same of f - 1; None where f is 0.
    expected : float
        The mean number of Byzantine nodes in a sample.
    rules : tuple[RulePlan, ...]
        The rules.
    """

    population: int
    byzantine: int
    sample: int
    rounds: int
    risk: float
    f: int
    risk_left: float
    risk_below: float | None
    expected: float
    rules: tuple[RulePlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as dictionaries and lists, which JSON can hold."""
        return asdict(self) | {"rules": [asdict(rule) for rule in self.rules]}


def plan_f(
    population: int,
    byzantine: int,
    sample: int,
    rounds: int,
    risk: float = 1e-3,
    rules: Sequence[str] = NAMES,
) -> Plan:
    """Plan f for a sample of the nodes in each round.

    A rule works where the sample is at least as large as its own bound for f: its ``min_updates``, and as
    many that it tolerates f; and where it is at most ``max_updates``.

    Parameters
    ----------
    population, byzantine, sample, rounds, risk
        As for :func:`flwr_byzantine.rules.assumed_byzantine`, which has the formula.
    rules : Sequence[str]
        Names of rules, also with pre-aggregations in front. By default, all rules, and two of those.

    Returns
    -------
    Plan
        f, the risk that it leaves, and what each rule needs.

    Raises
    ------
    ParameterError
        As for ``assumed_byzantine``, and if there is no such rule.

    Examples
    --------
    >>> plan = plan_f(population=100, byzantine=10, sample=20, rounds=200, rules=["phocas", "bulyan"])
    >>> plan.f, plan.expected, round(plan.risk_left, 4), round(plan.risk_below, 4)
    (8, 2.0, 0.0002, 0.0047)
    >>> [(rule.name, rule.works, rule.sample, rule.f) for rule in plan.rules]
    [('phocas', True, 20, 8), ('bulyan', False, 43, 10)]
    >>> plan.rules[0].message_strategy
    'Phocas(num_malicious_nodes=8)'
    """
    for name in rules:
        rule_named(name, 0)  # ParameterError where there is none

    @cache
    def f_for(n: int) -> int:
        return assumed_byzantine(population, byzantine, n, rounds, risk)

    f = f_for(sample)
    below = risk_of(population, byzantine, sample, rounds, f - 1) if f else None

    def of_rule(name: str) -> RulePlan:
        replies, most = reach_of(name, f, population)
        works = replies is not None and replies <= sample <= most
        taken = sample if works else _smallest_sample(name, f_for, population)
        written = (None, None, None) if taken is None else in_python(name, f_for(taken))
        return RulePlan(
            name, replies, works, taken, None if taken is None else f_for(taken), *written
        )

    return Plan(
        int(population), int(byzantine), int(sample), int(rounds), float(risk),
        f, risk_of(population, byzantine, sample, rounds, f), below, sample * byzantine / population,
        tuple(of_rule(name) for name in rules),
    )  # fmt: skip


def reach_of(name: str, f: int, population: int) -> tuple[int | None, float]:
    """The smallest number of replies that a rule takes for f, None where none is enough; and the largest."""
    try:
        rule = rule_named(name, f)
    except ParameterError:  # it takes too long for any number of replies
        return None, 0
    most = float("inf") if rule.max_updates is None else rule.max_updates
    least = rule.min_updates
    if rule.tolerated(least) >= f:
        return least, most
    numbers = range(least, least + max(population, 8 * f) + 1)
    i = bisect_left(numbers, f, key=rule.tolerated)
    return (numbers[i] if i < len(numbers) else None), most


def _smallest_sample(name: str, f_for: Callable[[int], int], population: int) -> int | None:
    """The smallest sample that a rule works with, for the sample's own f; None where none is.

    A larger sample has no smaller f, and no rule needs fewer replies for a larger f. So whatever is smaller
    than what this sample's f needs is too small as well, and is left out.
    """
    n = 1
    while n <= population:
        replies, most = reach_of(name, f_for(n), population)
        if replies is None or n > most:
            return None
        if replies <= n:
            return n
        n = replies
    return None


def in_python(name: str, f: int) -> tuple[str, str, str]:
    """A rule for f as it is written, and a strategy of the ``aggregate_fit`` and of the Message API.

    Examples
    --------
    >>> in_python("nnm+krum", 2)[1]
    'Krum(num_malicious_clients=2, pre_aggregation=NearestNeighborMixing(num_byzantine=2))'
    """
    rule = rule_named(name, f)
    kind = RULES[parts_of(name)[1]]
    steps = " >> ".join(map(repr, rule.before)) if isinstance(rule, Composition) else ""
    told, shown = f_of(kind), [f"pre_aggregation={steps}"] if steps else []

    def strategy(words: Mapping[str, str]) -> str:
        arguments = [f"{words[told]}={f}", *shown] if told else shown
        return f"{kind.__name__}({', '.join(arguments)})"

    return repr(rule), strategy(FIT_WORDS), strategy(MESSAGE_WORDS)
