"""The base of every rule: a mixing matrix computed from distances, and a reduction of the mixed rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.checks import KnownKeywords, instead_of_a_rule, require, require_whole
from flwr_byzantine.kernels import Reduction, check_reduction
from flwr_byzantine.rules.distances import Distances, Matrix
from flwr_byzantine.rules.inputs import as_column, as_columns, as_counts
from flwr_byzantine.rules.points import Given, Points, measured

__all__ = ["Given", "Matrix", "Rule", "check_bound", "require_rule"]


@dataclass(frozen=True)
class Rule(KnownKeywords, ABC):
    """An aggregation rule, which makes one update of d values from n updates of d values.

    A rule mixes the n rows X with a matrix W (k, n) that it computes from the rows' pairwise distances
    alone, then reduces the k mixed rows W X coordinate by coordinate. A new rule states its bound
    ``min_updates`` and overrides :meth:`mixing`, :meth:`reduction`, or both.

    A rule that needs more than distances sets ``uses_model``, ``uses_counts`` or ``remembers``, and
    overrides :meth:`mixing_of` instead of :meth:`mixing`.
    """

    uses_distances: ClassVar[bool] = False
    uses_model: ClassVar[bool] = False  # whether the model is one of the points
    uses_counts: ClassVar[bool] = False  # whether it asks for the clients' numbers of examples
    remembers: ClassVar[bool] = False  # whether its last result is one of the points
    averages: ClassVar[bool] = False  # whether it averages updates, which an operator can weigh
    order_matters: ClassVar[bool] = False  # whether the order of updates decides more than ties

    @property
    @abstractmethod
    def min_updates(self) -> int:
        """The smallest number of updates n for which the rule is defined."""

    @property
    def max_updates(self) -> int | None:
        """The largest n that the rule can handle in a reasonable time; None if there is no limit."""
        return None

    def mixing(self, n: int, distances: Matrix | None) -> Matrix | None:
        """Mixing matrix W, shape (k, n); None is the identity.

        Parameters
        ----------
        n : int
            Number of updates, at least ``min_updates``.
        distances : np.ndarray or None
            Squared Euclidean distances, shape (n, n). They are infinite for an update with a value that is
            not finite. None unless ``uses_distances`` or ``uses_model``.
        """
        return None

    def mixing_of(self, given: Given) -> Matrix | None:
        """Mixing matrix, from everything that the rule asks for: shape (k, n), or (k, m) over all m points.

        Parameters
        ----------
        given : Given
            What is known about the updates. If a row of W sums to less than one, the model gets the rest.
        """
        return self.mixing(given.n, given.rows)

    def weighed(self, given: Given) -> Matrix | None:
        """Like :meth:`mixing_of`, with the weights that the operator gives the clients.

        Each selected update's weight is multiplied by its client's weight. Then all are scaled so that their
        sum stays the same.
        """
        mixing = self.mixing_of(given)
        if mixing is None or given.trusted is None:
            return mixing
        mixing = np.asarray(mixing, np.float64)
        selected = mixing != 0
        largest = np.where(selected, given.trusted, 0.0).max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            weighed: Matrix = np.where(selected, mixing * (given.trusted / largest), 0.0)
            weighed *= (mixing.sum(axis=1) / weighed.sum(axis=1))[:, None]
        return weighed

    def scores(self, n: int, distances: Matrix | None) -> npt.NDArray[np.float64] | None:
        """The scores by which the rule selects, shape (n,); None if it has none. A lower score is better."""
        return None

    def scores_of(self, given: Given) -> npt.NDArray[np.float64] | None:
        """Like :meth:`scores`, from everything that the rule asks for."""
        return self.scores(given.n, given.rows)

    def reduction(self, k: int) -> Reduction | None:
        """How k mixed values become one; None if W has a single row."""
        return None

    def tolerated(self, n: int) -> int:
        """f, how many Byzantine updates of n the rule tolerates: its field ``num_byzantine``, or 0."""
        f: int = getattr(self.at(n), "num_byzantine", 0)
        return f

    def at(self, received: int) -> "Rule":
        """The rule for a round with this many replies. A fraction f becomes a number.

        Parameters
        ----------
        received : int
            The number of all replies, also of those that are dropped before the rule sees them.
        """
        return self

    def without(self, dropped: int) -> Self:
        """The rule with an f that is lower by ``dropped``. ``on_dropped="lower_f"`` calls this method."""
        return self

    def drawn(self, seed: int) -> "Rule":
        """The rule for a round. It gets this seed if it draws random numbers and has no seed of its own."""
        return self

    def scaled(self, factor: float) -> "Rule":
        """The rule for updates times a factor. Its own lengths, such as a threshold, are multiplied too."""
        return self

    def plan(self, given: Given) -> tuple[Matrix | None, Reduction | None]:
        """Mixing matrix and reduction for n updates, as compiled code can take them.

        Raises
        ------
        ValueError
            If n updates cannot be aggregated by what the rule gives.
        """
        rule = self.at(given.n)
        mixing = given.checked(rule.weighed(_copied(given)))
        k = given.n if mixing is None else len(mixing)
        return mixing, check_reduction(rule.reduction(k), k, mixed=mixing is not None)

    def checked_scores(self, given: Given) -> npt.NDArray[np.float64] | None:
        """Like :meth:`scores_of`. Raise ValueError unless there is one real number for each update."""
        found: object = self.at(given.n).scores_of(_copied(given))
        if found is None:
            return None
        scores = np.asarray(found)
        if scores.shape != (given.n,) or scores.dtype.kind not in "fiub":
            raise ValueError(
                f"The scores should be {given.n} real numbers, one for each update. Found shape "
                f"{scores.shape} and dtype {scores.dtype}. Correct the rule's `scores`."
            )
        return scores.astype(np.float64)

    def plan_for(
        self, points: Points, counts: Any = None
    ) -> tuple[Matrix | None, Reduction | None]:
        """Like :meth:`plan`. Raise ValueError if there are too few updates."""
        n = points.columns.num_rows
        least = self.at(n).min_updates
        if n < least:
            raise ValueError(
                f"Parameter `updates` should hold at least {least} updates for {self}. "
                f"Found `n = {n}`. Assume fewer Byzantine clients, or sample more clients."
            )
        most = self.at(n).max_updates
        if most is not None and n > most:
            raise ValueError(
                f"Parameter `updates` should hold at most {most} updates for {self}, which takes too long "
                f"for more. Found `n = {n}`. Sample fewer clients, assume fewer Byzantine clients, or take "
                "a rule without that limit."
            )
        return self.plan(self.given(points, counts))

    def given(self, points: Points, counts: Any = None) -> Given:
        """What the rule may know about bare rows. Claimed counts that are not given are NaN."""
        n = points.columns.num_rows
        claimed = as_counts(counts, n) if self.uses_counts else None
        return Given(n, self.distances_of([points]), claimed)

    def distances_of(self, groups: Sequence[Points]) -> Distances | None:
        """Distances of the points, over several groups of columns; None if not needed."""
        if not (self.uses_distances or self.uses_model) or not groups:
            return None
        between = self.uses_distances
        found = (points.squared_distances(between_rows=between) for points in groups)
        distances = Distances(sum(found, np.zeros(())), groups[0].columns.num_rows)
        return measured(distances, groups) if between and self.uses_model else distances

    def weights(
        self, updates: Any, model: Any = None, counts: Any = None
    ) -> npt.NDArray[np.float64]:
        """The weight of each update in the result, shape (n,); with several mixed rows, the mean weight.

        Parameters
        ----------
        updates, model, counts
            The same as in a call of the rule.

        Raises
        ------
        ValueError
            If the rule works coordinate by coordinate, so that no update has one weight.
        """
        points, _, _ = self.points(updates, model)
        mixing, _ = self.plan_for(points, counts)
        if mixing is None:
            raise ValueError(
                f"{self} has no weights of updates, because it chooses anew in every coordinate. "
                "Ask a rule that selects or averages whole updates."
            )
        share: npt.NDArray[np.float64] = mixing.mean(axis=0)[: points.columns.num_rows]
        return share

    def __call__(self, updates: Any, model: Any = None, counts: Any = None) -> Any:
        """Aggregate updates.

        Parameters
        ----------
        updates : np.ndarray, torch.Tensor, or a sequence of them
            Shape (n, d), or n one-dimensional arrays of d values. They are never changed.
        model : np.ndarray, torch.Tensor or None
            Shape (d,): the global model, if the rows are clients' models. None is the zero vector,
            so the rows are updates. Only rules that measure lengths, such as clipping, need this
            difference.
        counts : array-like or None
            Shape (n,): the numbers of examples that clients claim, for a rule that asks for them.
            NaN stands for a client that claims none. None means that no client claims any.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), with the updates' floating type (float64 for integers) and on their device. A
            coordinate is NaN if more of its values are not finite than the rule tolerates.

        Raises
        ------
        ValueError
            If n is below ``min_updates``, the updates are not n rows of one length, or the counts are not n
            numbers.
        """
        points, base, restore = self.points(updates, model)
        out = np.empty(points.columns.num_columns, points.columns.dtype)
        mixing, reduction = self.plan_for(points, counts)
        points.combine(mixing, reduction, base=base, out=[out])
        return restore(out)

    def __rshift__(self, after: object) -> NoReturn:
        """Raise TypeError, because nothing can go behind a rule."""
        raise no_pre_aggregation(self)

    def __rrshift__(self, before: object) -> NoReturn:
        """Raise TypeError, because pre-aggregations define this operator themselves."""
        raise no_pre_aggregation(before)

    def points(self, updates: Any, model: Any) -> tuple[Points, Any, Any]:
        """The updates with the rule's other input, the model, and how to return a result."""
        columns, restore = as_columns(updates)
        base = None if model is None else [as_column("model", model, columns)]
        if not self.uses_model:
            return Points(columns), None, restore
        return Points(columns, (base, base) if self.remembers else (base,)), base, restore


def _copied(given: Given) -> Given:
    """The same, with distances that a rule may write to."""
    if given.distances is None:
        return given
    squared = given.distances.squared.copy()
    return replace(given, distances=replace(given.distances, squared=squared))


def no_pre_aggregation(before: object) -> TypeError:
    """The error if `>>` does not follow a pre-aggregation."""
    return TypeError(
        f"`>>` should follow a pre-aggregation. Found {before!r} before it. "
        "Write `NearestNeighborMixing(4) >> Phocas(4)`."
    )


def require_rule(rule: object) -> None:
    """Raise ParameterError unless it is a rule whose properties make sense."""
    expected = "a rule such as `flwr_byzantine.rules.Median()`"
    require(isinstance(rule, Rule), "rule", expected, rule, instead_of_a_rule(rule))
    assert isinstance(rule, Rule)
    least = check_bound(rule)
    advice = "Correct the rule's `num_byzantine` or `tolerated`."
    require_whole("tolerated(n)", rule.tolerated(least), 0, advice, owner=type(rule).__name__)
    if type(rule).mixing is Rule.mixing and type(rule).mixing_of is Rule.mixing_of:
        rule.plan(Given(least))


def check_bound(rule: Rule) -> int:
    """The bound of a rule. Raise ParameterError if it is no sensible bound."""
    least: object = rule.min_updates if isinstance(rule, Rule) else None
    advice = "Let it return the smallest number of updates for which the rule is defined."
    require_whole("min_updates", least, 1, advice, owner=type(rule).__name__)
    return int(rule.min_updates)
