"""The factor of a known attack that harms a known rule most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import instead_of_a_rule, require, require_finite, require_whole, wrong
from ..rules import Rule
from ..rules.base import require_rule
from .base import ColludingAttack, Floats, check_honest, same_row
from .line_search import largest_at
from .little_is_enough import LittleIsEnough
from .negative_mean import InnerProductManipulation
from .spread import Line, line
from .tensors import as_array, of_any_kind
from .tried import objective

FAMILIES: dict[str, type[ColludingAttack]] = {
    "lie": LittleIsEnough,
    "ipm": InnerProductManipulation,
}


@dataclass(frozen=True)
class Optimized(ColludingAttack):
    r"""LIE or IPM with the factor that moves a given rule farthest from the honest mean.

    .. math::

        u = \mu - z^* \sigma \quad \text{or} \quad u = -\epsilon^* \mu, \qquad
        \text{where} \quad |R(u_1, \dots, u_h, u, \dots, u) - \mu| \quad \text{is largest}

    with R the rule that the server uses. The attackers know it, and all honest updates.

    Parameters
    ----------
    attack : {"lie", "ipm"}, attack or its class
        The family: `LittleIsEnough` or `InnerProductManipulation`. If you pass an attack, its own factor has
        no effect.
    against : Rule
        The rule R, with the f that the server assumes. It may be a composition such as
        ``NearestNeighborMixing(4) >> Krum(4)``. The simulation takes the rule of the run by
        default.
    evaluations : int
        The most times that the rule is tried in a round; at least 8.
    largest : float
        How far u may be from the honest mean, as a multiple of the distance of the farthest honest
        update. Without this limit it would be infinite for rules that average all updates.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.
        It also raises an error if the rule is not defined for this number of updates.

    Notes
    -----
    LIE is searched on both sides of the mean, so :math:`z^*` may be negative. IPM is searched from
    the mean on, against its direction, so :math:`\epsilon^* \ge -1`. The search tries factors that
    grow by steps of equal ratio, and then ever smaller steps around the best ones. It can miss a
    peak that is narrower than its steps.

    A rule that gives one combination of whole updates, such as Krum or the geometric median, is tried with
    the distances between updates alone. They cost :math:`O(h^2 d)` once. Each factor then costs
    :math:`O(n^2)` and the rule's own computation. Every other rule, such as the median of each coordinate,
    runs on the updates for each factor, which costs :math:`O(n d)` or more. Updates have the model at zero.
    Rules with a memory, and rules that ask for numbers of examples, run on bare updates.

    Honest updates that are not finite are left out of mean and deviation, but the rule sees them. If there is
    no direction, the mean is sent.

    References
    ----------
    Shejwalkar, Houmansadr (2021), "Manipulating the Byzantine: optimizing model poisoning attacks and
    defenses for federated learning", section IV-B; Allouah et al. (2023), "Fixing by mixing: a recipe for
    optimal Byzantine ML under heterogeneity", section 6, for both families.

    Examples
    --------
    >>> import numpy as np
    >>> from flwr_byzantine.rules import Median
    >>> honest = np.array([[1.0], [2.0], [3.0], [6.0]])
    >>> attack = Optimized("ipm", against=Median())
    >>> Median()(np.vstack([honest, attack(honest, 3, np.random.default_rng(0))]))
    array([1.])
    """

    attack: Any = "lie"
    against: Rule | None = None
    evaluations: int = 120
    largest: float = 1e4

    def __post_init__(self) -> None:
        names = {kind: name for name, kind in FAMILIES.items()}
        kind = self.attack if isinstance(self.attack, type) else type(self.attack)
        family = self.attack if isinstance(self.attack, str) else names.get(kind)
        advice = "Other attacks have no factor to search for."
        expected = '"lie", "ipm", `LittleIsEnough` or `InnerProductManipulation`'
        require(family in FAMILIES, "attack", expected, self.attack, advice)
        object.__setattr__(self, "attack", family)
        if self.against is not None:
            try:
                require_rule(self.against)
            except ValueError as error:
                advice = instead_of_a_rule(self.against)
                raise wrong("against", "a rule such as `Krum(4)`", self.against, advice) from error
        require_whole("evaluations", self.evaluations, 8, "120 are enough for most rules.")
        require_finite("largest", self.largest)
        advice = "It is a multiple of the honest spread."
        require(self.largest >= 1, "largest", "at least 1", self.largest, advice)

    def factor(self, honest: Floats, num_attackers: int) -> float:
        r"""Return :math:`z^*` or :math:`\epsilon^*` for honest updates, shape (h, d)."""
        honest = check_honest(as_array(honest)[0], num_attackers)
        known, t = self._searched(honest, num_attackers)
        moved = t / known.length if known.length > 0 else 0.0
        return moved if self.attack == "lie" else moved - 1.0

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the same row for every attacker. ``rng`` is not used."""
        honest = check_honest(honest, num_attackers)
        known, t = self._searched(honest, num_attackers)
        return same_row(known.at(t), num_attackers, honest)

    def _searched(self, honest: Floats, num_attackers: int) -> tuple[Line, float]:
        """The line on which updates are tried, and the best distance from the mean."""
        rule = self._rule(len(honest) + num_attackers)
        known = line(honest, "std" if self.attack == "lie" else "mean")
        reach = known.reach
        if known.length == 0 or not 0 < reach < np.inf:
            return known, 0.0
        moved: Callable[[float], float] = objective(rule, honest, num_attackers, known)
        both = self.attack == "lie"
        t = largest_at(lambda part: moved(part * reach), self.largest, self.evaluations, both)
        return known, t * reach

    def _rule(self, n: int) -> Rule:
        """The rule, if it is defined for n updates."""
        if self.against is None:
            advice = 'Pass the rule that the server uses: `Optimized("lie", against=Krum(4))`.'
            raise wrong("against", "given", None, advice)
        rule = self.against.at(n)
        least, most = rule.min_updates, rule.max_updates
        advice = "Let the attackers know more honest updates, or take a rule with a smaller f."
        expected = f"a rule that can handle the {n} updates of honest clients and attackers"
        found = f"`against = {self.against!r}`, which needs at least {least}"
        if n < least:
            raise wrong("against", expected, self.against, advice, found=found)
        if most is not None and n > most:
            found = f"`against = {self.against!r}`, which takes at most {most}"
            raise wrong("against", expected, self.against, "Choose a faster rule.", found=found)
        return rule
