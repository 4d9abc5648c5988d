"""The input with which a rule is checked: rows without near ties, a model, and claimed counts."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.rules.base import Given, Rule
from flwr_byzantine.rules.distances import Distances, Matrix, Vector

Rows = npt.NDArray[Any]

NUM_VALUES = 20  # d
STEP = 2.0**-10  # values are multiples of it, so that float32 holds them and differences are exact
SAME = 1e-7  # weights that differ by less are the same
UNTIED = 1e-10  # relative change of distances, so that no two are equal


@dataclass(frozen=True, eq=False)
class Trial:
    """A rule and its input.

    Parameters
    ----------
    rule : Rule
        The rule, with a fixed seed if it draws random numbers.
    updates : np.ndarray
        The updates, shape (n, d).
    model : np.ndarray or None
        The model, shape (d,), for a rule that asks for it.
    counts : np.ndarray or None
        The claimed counts, shape (n,), for a rule that asks for them.
    seed : int
        The seed of the input.
    """

    rule: Rule
    updates: Rows
    model: Rows | None
    counts: Vector | None
    seed: int

    @classmethod
    def of(cls, rule: Rule, n: int, seed: int) -> Self:
        """A rule with n updates around one, and with the other input that it asks for."""
        random = np.random.default_rng([seed, n])
        updates = _on_grid(1 + random.normal(size=(n, NUM_VALUES)))
        model = _on_grid(random.uniform(-0.5, 0.5, NUM_VALUES)) if rule.uses_model else None
        counts = random.integers(1, 100, n).astype(np.float64) if rule.uses_counts else None
        return cls(rule, updates, model, counts, seed)

    @property
    def n(self) -> int:
        """The number of updates."""
        return len(self.updates)

    @cached_property
    def f(self) -> int:
        """How many Byzantine updates the rule says that it tolerates."""
        return self.rule.at(self.n).tolerated(self.n)

    def result(self) -> Rows:
        """The result of the rule."""
        return np.asarray(self.rule(self.updates, self.model, self.counts))

    def reordered(self, order: npt.NDArray[np.intp]) -> Self:
        """The same clients in another order."""
        counts = None if self.counts is None else self.counts[order]
        return replace(self, updates=self.updates[order], counts=counts)

    def moved(self, by: Rows) -> Self:
        """The same trial with all updates and the model moved."""
        model = None if self.model is None else self.model + by
        return replace(self, updates=self.updates + by, model=model)

    def times(self, factor: float) -> Self:
        """The same trial in another unit. The rule's own lengths are in that unit too."""
        model = None if self.model is None else self.model * factor
        rule = self.rule.scaled(factor)
        return replace(self, rule=rule, updates=self.updates * factor, model=model)

    def given(self) -> Given:
        """What the rule may know of the updates."""
        points, _, _ = self.rule.points(self.updates, self.model)
        return self.rule.given(points, self.counts)

    def mixing(self, keys: Vector | None = None) -> Matrix | None:
        """The mixing matrix.

        Parameters
        ----------
        keys : np.ndarray or None
            A number for each client, shape (n,). Distances are changed by these numbers, so that no two are
            equal.
        """
        given = self.given()
        if given.distances is not None and keys is not None:
            over_all = np.zeros(given.num_points)
            over_all[: self.n] = keys
            given = replace(given, distances=_Untied.of(given.distances, over_all))
        return given.checked(self.rule.at(self.n).mixing_of(given))

    def reduced(self, mixing: Matrix | None) -> Rows:
        """The result from a mixing matrix."""
        points, base, _ = self.rule.points(self.updates, self.model)
        out = np.empty(points.columns.num_columns, points.columns.dtype)
        k = self.n if mixing is None else len(mixing)
        points.combine(mixing, self.rule.at(self.n).reduction(k), base=base, out=[out])
        return out


@dataclass(frozen=True, eq=False)
class _Untied(Distances):
    """Distances whose rows are multiplied by keys close to one, so that d(i, j) and d(j, i) differ."""

    keys: Vector | None = None

    @classmethod
    def of(cls, distances: Distances, keys: Vector) -> Self:
        """Distances without ties."""
        factors = 1 + UNTIED * keys[:, None]
        return cls(distances.squared * factors, distances.n, distances.products, keys)

    def of_mixed(self, mixing: Matrix) -> Distances:
        """The distances of mixed rows, with mixed keys."""
        mixed = super().of_mixed(mixing)
        assert self.keys is not None
        keys = np.append(self._padded(mixing) @ self.keys, self.keys[self.n :])
        return _Untied.of(mixed, keys)

    def of_scaled(self, factors: Vector) -> Distances:
        """The distances of shortened rows, which keep their keys."""
        assert self.keys is not None
        return _Untied.of(super().of_scaled(factors), self.keys)


def alike_but_for_ties(one: Matrix | None, other: Matrix | None) -> bool:
    """Whether two mixing matrices have the same rows, so that only ties of mixed values can differ.

    Rows that share updates tie often. For updates a, b, c and d, the means of a and b and of c and d are as
    far from the mean of all as the means of a and c and of b and d.
    """
    if one is None or other is None or one.shape != other.shape or len(one) == 1:
        return False
    rows = _ordered(one)
    return np.allclose(rows, _ordered(other), atol=SAME) and np.allclose(rows.sum(axis=1), 1)


def _ordered(mixing: Matrix) -> Matrix:
    rows: Matrix = mixing[np.lexsort(np.round(mixing, 6).T)]
    return rows


def _on_grid(values: Rows) -> Rows:
    rounded: Rows = np.round(values / STEP) * STEP
    return rounded
