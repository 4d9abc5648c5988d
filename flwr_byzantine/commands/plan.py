"""A plan for f: the f to assume for a sample of nodes, the rules that work with it, and what others need."""

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
    """What a plan says about one rule.

    Parameters
    ----------
    name : str
        The rule's name on the command line.
    replies : int or None
        How many replies the rule needs for the f of the plan's sample; None if no number is enough.
    works : bool
        Whether the rule works with the plan's sample and its f.
    sample, f : int or None
        The sample to take, and the f for it. They are the plan's if the rule works with them. Otherwise they
        are the smallest sample with which the rule works. They are None if there is no such sample.
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
    """f for a sample of the nodes in each round, and what it means for each rule.

    Parameters
    ----------
    population, byzantine, sample, rounds, risk
        See :func:`plan_f`.
    f : int
        The f to assume.
    risk_left : float
        The probability that some round has more than f Byzantine nodes.
    risk_below : float or None
        The same probability for f - 1; None if f is 0.
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
        """The plan as dictionaries and lists, which JSON can hold."""
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

    A rule works with a sample if three things hold: the sample has at least ``min_updates`` and at most
    ``max_updates`` nodes, and the rule tolerates f among them.

    Parameters
    ----------
    population, byzantine, sample, rounds, risk
        See :func:`flwr_byzantine.rules.assumed_byzantine`, which has the formula.
    rules : Sequence[str]
        Names of rules, also with pre-aggregations in front. The default is all rules, and two of them with
        pre-aggregations.

    Returns
    -------
    Plan
        f, the risk that it leaves, and what each rule needs.

    Raises
    ------
    ParameterError
        If ``assumed_byzantine`` raises it, or if there is no such rule.

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
        rule_named(name, 0)  # raises a ParameterError if there is no such rule

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
    """The smallest number of replies for a rule with f (None if none is enough), and the largest number."""
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
    """The smallest sample with which a rule works, for the sample's own f; None if there is none.

    A larger sample never has a smaller f, and no rule needs fewer replies for a larger f. So all samples that
    are smaller than this sample's f needs are too small too, and are skipped.
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
    """The Python text of a rule for f, and of its strategies in the ``aggregate_fit`` and the Message API.

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
