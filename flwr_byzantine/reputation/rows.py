"""The matrix H of one round, with a row for each client. The rows are not copied."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.aggregation.apply import apply_rule
from flwr_byzantine.aggregation.gate import Array, Gated, Model
from flwr_byzantine.kernels import Columns, inner_products
from flwr_byzantine.kernels.columns import as_column_values, computed_in
from flwr_byzantine.rules.base import Matrix, Rule

Vector = npt.NDArray[np.float64]
Gradient = Sequence[Array | None]

SHORTEST = 1e-140  # a vector shorter than this loses digits, or vanishes, when it is squared
RESOLUTION = (
    2.0**-40
)  # rounding decides the direction of an update below this part of the model's length


@dataclass(frozen=True)
class WeightedSum(Rule):
    r"""The sum of the updates times weights that are known beforehand.

    .. math:: \sum_{i=1}^{n} q_i u_i

    Parameters
    ----------
    q : tuple[float, ...]
        One weight for each update. A weight is any real number.

    Examples
    --------
    >>> WeightedSum((1.0, -2.0))([[1.0, 2.0], [3.0, 4.0]])
    array([-5., -6.])
    """

    q: tuple[float, ...] = ()

    @property
    def min_updates(self) -> int:
        """One."""
        return 1

    def tolerated(self, n: int) -> int:
        """Return 0, because the weights themselves say how far each client is trusted."""
        return 0

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row, the weights."""
        if n != len(self.q):
            raise ValueError(
                f"Parameter `updates` should hold one update for each of the {len(self.q)} weights. "
                f"Found `n = {n}`. Give one weight for each update."
            )
        return np.array([self.q], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class PseudoGradients:
    """Rows h_i: the gradients that clients sent, or w - w_i if they sent models w_i.

    Parameters
    ----------
    gated : Gated
        The replies, all of the model's structure.
    model : Model
        w, the model the clients were given.
    payload : str
        ``"parameters"`` or ``"gradients"``.
    """

    gated: Gated
    model: Model
    payload: str

    def descend(self, weights: Vector, trained: Sequence[bool] | None) -> tuple[Model, int]:
        """Compute w - sum of weights_i h_i, as in equation 1, and how many coordinates overflowed.

        Parameters
        ----------
        weights : np.ndarray
            Shape (n,). Rows with weight 0 are not read.
        trained : Sequence[bool] or None
            Which tensors have a gradient. The others do not change, and neither do integers. None means that
            this is not known yet, and every weight is 0.
        """
        if trained is None or not weights.any():
            return self.model, 0
        rule = WeightedSum(tuple(weights.tolist()))
        step = None if self.payload == "parameters" else -1.0
        result = apply_rule(rule, self.gated, self.model, step)
        assert result.arrays is not None
        arrays = [
            new if moves and old.dtype.kind == "f" else old
            for new, old, moves in zip(result.arrays, self.model.arrays, trained, strict=True)
        ]
        return Model(self.model.names, tuple(arrays)), result.replaced

    def norms(self, trained: Sequence[bool]) -> Vector:
        """The Euclidean norms of the rows, over the tensors that have a gradient."""
        chosen = [t for t, moves in enumerate(trained) if moves]
        return np.sqrt(self._sums(chosen, None))

    def shortest(self, trained: Sequence[bool]) -> float:
        """The shortest length of a row that can be stretched to the length of a gradient.

        Rows h_i = w - w_i are mixed as w and w_i, in float64. If such a row were multiplied by 1e20, only the
        rounding of w would be left.
        """
        if self.payload == "gradients":
            return SHORTEST
        square = 0.0
        for dtype, (group, _) in self.gated.columns.items():
            tensors = [t for t in group if trained[t]]
            model = Columns.of([self.model.arrays], tensors, dtype)
            square += inner_products(model, None).item()
        return max(SHORTEST, RESOLUTION * math.sqrt(square))

    def cosines(self, gradient: Gradient, norms: Vector, length: float) -> Vector:
        """Cosines of the rows with a gradient of that length; not finite for rows without a direction."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.inner_products(gradient) / (norms * length)

    def inner_products(self, gradient: Gradient) -> Vector:
        """H times a gradient, shape (n,), as in equations 2 and 3."""
        chosen = [t for t, array in enumerate(gradient) if array is not None]
        sums = self._sums(chosen, gradient)
        return sums if self.payload == "gradients" else -sums

    def _sums(self, chosen: Sequence[int], gradient: Gradient | None) -> Vector:
        total = np.zeros(len(self.gated.accepted))
        for dtype, (group, columns) in self.gated.columns.items():
            tensors = [t for t in group if t in chosen]
            if tensors != group:
                columns = Columns.of(list(self.gated.accepted.values()), tensors, dtype)
            base = vector = None
            if self.payload == "parameters":
                base = [as_column_values(self.model.arrays[t], dtype) for t in tensors]
            if gradient is not None:
                kind = computed_in(dtype)
                vector = [as_column_values(np.asarray(gradient[t]), kind) for t in tensors]
            total += inner_products(columns, vector, base)
        return total


@dataclass(frozen=True)
class GradientSize:
    """The size of an auxiliary gradient, from which the size of rows can be judged.

    Parameters
    ----------
    length : float
        The Euclidean norm of the gradient.
    trained : tuple[bool, ...]
        Which tensors of the model have a gradient.
    """

    length: float
    trained: tuple[bool, ...]

    @classmethod
    def of(cls, gradient: Gradient) -> Self:
        """Measure a gradient."""
        with np.errstate(over="ignore"):  # callers handle an infinite length
            squares = [np.square(a, dtype=np.float64).sum() for a in gradient if a is not None]
        return cls(math.sqrt(sum(squares)), tuple(array is not None for array in gradient))


def to_length(length: float, norms: Vector, shortest: float) -> Vector:
    """The factor that gives each row a length; 0 for a row that is not finite or not above ``shortest``."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factors = length / norms
    counts = np.isfinite(norms) & np.isfinite(factors) & (norms > shortest)
    return np.where(counts, factors, 0.0)


def without_reversal(gradient: Gradient, before: Gradient) -> Gradient:
    """Drop the part of a gradient that points against the gradient before the last step.

    A step that is too long turns the gradient around. This only means that the step should be shorter. It
    says nothing about the directions that the step was made of.
    """
    pairs = [
        (g, b) for g, b in zip(gradient, before, strict=True) if g is not None and b is not None
    ]
    product = sum(float(np.multiply(g, b, dtype=np.float64).sum()) for g, b in pairs)
    if not product < 0:
        return gradient
    square = sum(float(np.square(b, dtype=np.float64).sum()) for _, b in pairs)
    if square == 0:  # the squares of tiny numbers are 0
        return gradient
    share = product / square
    return [
        g if g is None or b is None else (g - share * b).astype(g.dtype)
        for g, b in zip(gradient, before, strict=True)
    ]
