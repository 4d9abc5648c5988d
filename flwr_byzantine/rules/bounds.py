"""Checks of f: it has to be a number of clients, or a fraction of them for which some n is large enough.

Each rule says in :attr:`flwr_byzantine.rules.Rule.min_updates` which n is large enough for its f.
"""

import math
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from flwr_byzantine.checks import is_whole, require, require_whole

R = TypeVar("R")

MOST = 1000  # the largest number of replies with which a fraction is tried


def check_f(
    rule: object, name: str, value: object, bound: Callable[[int], int] | None = None
) -> None:
    """Check f or another count of a rule, and make it a Python number.

    Parameters
    ----------
    rule : object
        The rule.
    name : str
        The field of the rule.
    value : object
        The value of the field.
    bound : Callable[[int], int] or None
        The smallest number of updates for f. None for a count that is not f. Such a count is at least 1, and
        no fraction.

    Raises
    ------
    ParameterError
        Unless it is a whole number of at least 0, or a fraction between 0 and 1 for which some number of
        replies is large enough.
    """
    owner = type(rule).__name__
    if bound is None:
        require_whole(name, value, 1, "Leave it out for the paper's choice.", owner=owner)
        object.__setattr__(rule, name, int(value))  # type: ignore[call-overload]
        return
    expected = "a whole number of at least 0, or a fraction above 0 and below 1"
    advice = "Pass the number of Byzantine clients to survive, or their share, such as 0.2."
    if isinstance(value, float | np.floating):
        require(bool(0 < value < 1), name, expected, value, advice, owner=owner)
        expected = "a fraction for which some number of replies is enough"
        advice = f"Pass a smaller fraction, because even {MOST:,} replies are too few for this one."
        require(least_updates(float(value), bound) > 0, name, expected, value, advice, owner=owner)
        object.__setattr__(rule, name, float(value))
    else:
        holds = is_whole(value) and value >= 0  # type: ignore[operator]
        require(holds, name, expected, value, advice, owner=owner)
        object.__setattr__(rule, name, int(value))  # type: ignore[call-overload]  # numpy's integers can overflow


def find_f(rule: object) -> tuple[str, Any] | None:
    """The field of a rule that holds f, and its value; None if the rule has no f.

    For a composition, it is the field of the rule behind all steps.
    """
    rule = getattr(rule, "rule", rule)
    names = (name for name in ("num_byzantine", "trim", "beta") if hasattr(rule, name))
    name = next(names, None)
    return None if name is None else (name, getattr(rule, name))


def survives_untold(rule: Any) -> bool:
    """Whether a rule without a parameter f survives as many attackers as n allows, as a median does."""
    found = find_f(rule)
    return (found is None or found[1] == 0) and bool(rule.tolerated(MOST) > 0)


def number_of(f: float, received: int) -> int:
    """f for a number of replies. A fraction is rounded up, and gives at least 1.

    Examples
    --------
    >>> number_of(3, 10), number_of(0.2, 10), number_of(0.2, 11), number_of(0.01, 10)
    (3, 2, 3, 1)
    """
    if not isinstance(f, float):
        return f
    return max(1, math.ceil(f * received - 1e-9))  # 0.2 times 15 is a little more than 3


def in_numbers(rule: R, name: str, received: int) -> R:
    """A rule with a number in place of a fraction f.

    The fraction was checked before. It is no error if the number of one round is too large for the rule,
    because clients decide how many reply.
    """
    f = getattr(rule, name)
    if not isinstance(f, float):
        return rule
    changed = copy(rule)
    object.__setattr__(changed, name, number_of(f, received))
    return changed


def lowered(rule: R, name: str, by: int) -> R:
    """A rule with a smaller number f, which is at least 0. A fraction does not change."""
    f = getattr(rule, name)
    if isinstance(f, float):
        return rule
    changed: R = replace(rule, **{name: max(0, f - by)})  # type: ignore[type-var]
    return changed


def least_updates(f: float, bound: Callable[[int], int]) -> int:
    """The number n such that n updates and any larger number are enough for f; 0 if there is none.

    Examples
    --------
    >>> least_updates(2, lambda f: 2 * f + 3), least_updates(0.2, lambda f: 2 * f + 3)
    (7, 7)
    """
    if not isinstance(f, float):
        return bound(f)
    most = MOST + bound(0)
    too_few = (n for n in range(most, 0, -1) if bound(number_of(f, n)) > n)
    last = next(too_few, 0)
    return 0 if last == most else last + 1


def check_theorem(holds: bool, bound: str, **found: int) -> None:
    """Raise ValueError, with the condition of a theorem, if the condition does not hold."""
    if not holds:
        values = ", ".join(f"{name} = {value}" for name, value in found.items())
        raise ValueError(
            f"The variance bound should be used only if {bound}. Found `{values}`. "
            "Pass a larger `n`, or assume fewer Byzantine updates."
        )
