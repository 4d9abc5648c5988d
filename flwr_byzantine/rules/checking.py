"""One call checks whether a rule has the properties that all rules share."""

from collections.abc import Collection
from typing import Any

import numpy as np

from flwr_byzantine.checks import instead_of_a_rule, require, require_whole
from flwr_byzantine.rules.base import Rule, check_bound
from flwr_byzantine.rules.properties import PROPERTIES
from flwr_byzantine.rules.trials import Trial

EXTRA = (0, 1, 4)  # a trial has this many updates more than the smallest number


class BrokenRuleError(AssertionError):
    """A rule lacks a property that all rules share. The text names it, and says how to repeat the trial.

    Parameters
    ----------
    text : str
        The message.
    name : str
        The property.
    trial : Trial or None
        The input of the rule, if the rule was called. ``error.trial.updates`` holds the updates.
    """

    def __init__(self, text: str, name: str = "", trial: Trial | None = None) -> None:
        super().__init__(text)
        self.name, self.trial = name, trial


def check_rule(rule: Rule, skip: Collection[str] = (), *, seed: int = 0) -> None:
    """Check that a rule has the properties which all rules of this library have.

    The rule is tried with few updates of few values: with ``min_updates`` of them, with one more
    and with four more. They are drawn with a seed, so that each call finds the same. Some properties
    depend on what the rule says about itself. If its ``tolerated(n)`` is 0, it is not tested for
    robustness. If it says ``order_matters``, it is not tried in another order. If it says
    ``uses_model``, the model moves with the updates.

    Parameters
    ----------
    rule : Rule
        Your rule, or a composition such as ``NearestNeighborMixing(1) >> MyRule(1)``.
    skip : Collection[str]
        Names of properties to leave out: ``numbers``, ``at``, ``without``, ``value``, ``finite``,
        ``too_few``, ``repeats``, ``untouched``, ``permutation``, ``translation``, ``scaling``,
        ``identical``, ``layout``, ``close_models``, ``weights``, ``scores``, ``counts``, ``robustness``.
    seed : int
        The seed with which the updates are drawn.

    Raises
    ------
    BrokenRuleError
        If the rule lacks a property. It is an AssertionError that names the property, n, f, the seed and what
        was found.
    ParameterError
        If ``rule`` is not a rule, or a name in ``skip`` is not a property.

    Examples
    --------
    >>> from flwr_byzantine.rules import Krum, NearestNeighborMixing
    >>> check_rule(NearestNeighborMixing(1) >> Krum(1))
    """
    expected = "a rule such as `flwr_byzantine.rules.Median()`"
    require(isinstance(rule, Rule), "rule", expected, rule, instead_of_a_rule(rule))
    require_whole("seed", seed, 0, "Leave it out for 0.")
    skipped = {skip} if isinstance(skip, str) else {*skip}
    expected = f"names of properties: {', '.join(PROPERTIES)}"
    require(skipped <= {*PROPERTIES}, "skip", expected, skip, "Leave it out to check them all.")
    names = [name for name in PROPERTIES if name not in skipped]
    trials = _trials(rule, seed)
    for name in names:
        for trial in trials:
            with np.errstate(all="ignore"):
                _try(name, trial)


def _trials(rule: Rule, seed: int) -> list[Trial]:
    """The rule with several numbers of updates."""
    name = "numbers"
    try:
        check_bound(rule)
        rule = rule.drawn(seed)
        sizes = (rule.min_updates + more for more in EXTRA)
        return [Trial.of(rule, n, seed) for n in sizes if n <= (rule.at(n).max_updates or n)]
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise BrokenRuleError(_text(rule, name, found, seed), name) from error


def _try(name: str, trial: Trial) -> None:
    """Raise BrokenRuleError if a trial shows that the rule lacks a property."""
    cause: Exception | None = None
    try:
        found = PROPERTIES[name](trial)
    except Exception as error:
        cause, found = error, f"{type(error).__name__}: {error}"
    if found is not None:
        n = trial.n
        text = _text(trial.rule, name, found, trial.seed, f"n = {n} updates, f = {_f(trial)}, ")
        raise BrokenRuleError(text, name, trial) from cause


def _f(trial: Trial) -> Any:
    """f for the message, or "?" if the rule raises an error."""
    try:
        return trial.f
    except Exception:
        return "?"


def _text(rule: object, name: str, found: str, seed: int, sizes: str = "") -> str:
    said = str(PROPERTIES[name].__doc__).strip()
    return (
        f"The rule {rule} should have the property `{name}`: {said} Found, with {sizes}seed {seed}: "
        f"{found.rstrip('.')}. Correct the rule. If it cannot have this property, leave the check out with "
        f'`skip=("{name}",)`.'
    )
