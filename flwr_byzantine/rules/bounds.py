"""What is checked of f: that it is a number of clients, or a fraction of them, and enough is left.

That n is large enough for f is :attr:`flwr_byzantine.rules.Rule.min_updates`, which each rule states.
"""

import math
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from flwr_byzantine.checks import is_whole, require, require_whole

R = TypeVar("R")

MOST = 1000  # replies that a fraction is tried with


def check_f(
    rule: object, name: str, value: object, bound: Callable[[int], int] | None = None
) -> None:
    """Make f, or another count of a rule, Python's own number.

    Parameters
    ----------
    rule : object
        The rule.
    name : str
        Its field.
    value : object
        What the field holds.
    bound : Callable[[int], int] or None
        The smallest number of updates for f. None for a count that is not f: it is at least 1, and no
        fraction.

    Raises
    ------
    ParameterError
        Unless it is a whole number of at least 0, or a fraction between 0 and 1 that enough replies suffice
        for.
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
        expected = "a fraction that some number of replies is enough for"
        advice = f"Pass a smaller one: {MOST:,} replies are too few for it."
        require(least_updates(float(value), bound) > 0, name, expected, value, advice, owner=owner)
        object.__setattr__(rule, name, float(value))
    else:
        holds = is_whole(value) and value >= 0  # type: ignore[operator]
        require(holds, name, expected, value, advice, owner=owner)
        object.__setattr__(rule, name, int(value))  # type: ignore[call-overload]  # numpy's wrap around


def find_f(rule: object) -> tuple[str, Any] | None:
    """The field of a rule that is f, and what it is; None where the rule has no f.

    That of a composition is its rule's, which stands after all steps.
    """
    rule = getattr(rule, "rule", rule)
    names = (name for name in ("num_byzantine", "trim", "beta") if hasattr(rule, name))
    name = next(names, None)
    return None if name is None else (name, getattr(rule, name))


def survives_untold(rule: Any) -> bool:
    """Whether a rule that is told no f survives attackers, as many as the replies allow: a median."""
    found = find_f(rule)
    return (found is None or found[1] == 0) and bool(rule.tolerated(MOST) > 0)


def number_of(f: float, received: int) -> int:
    """f among so many replies: a number as it is, and of a fraction the number above, never 0.

    Examples
    --------
    >>> number_of(3, 10), number_of(0.2, 10), number_of(0.2, 11), number_of(0.01, 10)
    (3, 2, 3, 1)
    """
    if not isinstance(f, float):
        return f
    return max(1, math.ceil(f * received - 1e-9))  # 0.2 times 15 is a little more than 3


def in_numbers(rule: R, name: str, received: int) -> R:
    """A rule whose field is f, with the number in place of a fraction.

    The fraction was checked. That a number of a round is too large for a rule is no error: clients decide
    how many reply.
    """
    f = getattr(rule, name)
    if not isinstance(f, float):
        return rule
    changed = copy(rule)
    object.__setattr__(changed, name, number_of(f, received))
    return changed


def lowered(rule: R, name: str, by: int) -> R:
    """A rule whose field is f, with a smaller number, at least 0; a fraction stays."""
    f = getattr(rule, name)
    if isinstance(f, float):
        return rule
    changed: R = replace(rule, **{name: max(0, f - by)})  # type: ignore[type-var]
    return changed


def least_updates(f: float, bound: Callable[[int], int]) -> int:
    """The number of updates from which on every number is enough for f; 0 where none is.

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
    """Raise ValueError where a theorem says nothing, naming what it asks for."""
    if not holds:
        values = ", ".join(f"{name} = {value}" for name, value in found.items())
        raise ValueError(f"The variance bound should be asked for where {bound}. Found `{values}`.")
