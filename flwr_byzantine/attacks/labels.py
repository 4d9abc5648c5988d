"""Data poisoning: honest training on wrong labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import require, require_whole


@dataclass(frozen=True)
class LabelFlip:
    r"""Labels counted from the other end.

    .. math:: y \mapsto K - 1 - y

    The attacker knows its own data; it trains honestly on the mapped labels.

    Parameters
    ----------
    num_classes : int
        The number of classes :math:`K`; at least 2. MNIST, CIFAR-10 and the digits have 10.

    Raises
    ------
    ValueError
        If ``num_classes`` is out of range; from the call, if a label is.

    References
    ----------
    Regatti, Chen, Gupta (2020), "ByGARS: Byzantine SGD with arbitrary number of attackers",
    section 5, "Data Poisoning".

    Examples
    --------
    >>> import numpy as np
    >>> LabelFlip().flip(np.array([0, 1, 9]))
    array([9, 8, 0])
    """

    num_classes: int = 10

    def __post_init__(self) -> None:
        require_whole("num_classes", self.num_classes, 2, "Give the data set's number of classes.")

    def __call__(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """Return the mapped labels, in the shape and dtype of ``labels``.

        Raises
        ------
        ValueError
            Where a label is not a whole number in [0, K).
        """
        labels = np.asarray(labels)
        within = labels.size == 0 or (labels.min() >= 0 and labels.max() < self.num_classes)
        require(
            bool(np.issubdtype(labels.dtype, np.integer) and within),
            "labels",
            f"whole numbers from 0 to {self.num_classes - 1}",
            labels,
            "Set `num_classes` to the number of classes of the data set.",
        )
        return (self.num_classes - 1 - labels.astype(np.int64)).astype(labels.dtype)

    flip = __call__
