"""Data poisoning: honest training on wrong labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..checks import KnownKeywords, require, require_whole, wrong
from .base import stream

STREAM = 0x1AB

Labels = TypeVar("Labels")
"""A numpy array or a torch tensor: what goes in comes out."""


@dataclass(frozen=True)
class LabelFlip(KnownKeywords):
    r"""Each of K labels y becomes K - 1 - y, or the label of one class becomes another.

    .. math:: y \mapsto K - 1 - y, \qquad \text{or} \qquad s \mapsto t

    The attacker knows its own data; it trains honestly on the mapped labels. With a source :math:`s` and a
    target :math:`t` all samples of the one class are labelled as the other, and the rest keep their labels.

    Parameters
    ----------
    num_classes : int
        The number of classes :math:`K`; at least 2. MNIST, CIFAR-10 and the digits have 10.
    source, target : int, optional
        The class whose label is changed, and the label that it gets. Give both or neither.

    Raises
    ------
    ValueError
        If a parameter is out of range. The call raises it if a label is out of range.

    References
    ----------
    All labels: Regatti, Chen, Gupta (2020), "ByGARS: Byzantine SGD with arbitrary number of attackers",
    section 5, "Data Poisoning". From source to target: Tolpegin, Truex, Gursoy, Liu (2020), "Data poisoning
    attacks against federated learning systems", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> LabelFlip()(np.array([0, 1, 9]))
    array([9, 8, 0])
    >>> LabelFlip(source=1, target=7)(np.array([0, 1, 9, 1]))
    array([0, 7, 9, 7])
    """

    num_classes: int = 10
    source: int | None = None
    target: int | None = None

    def __post_init__(self) -> None:
        require_whole("num_classes", self.num_classes, 2, "Give the data set's number of classes.")
        if self.source is None and self.target is None:
            return
        for name, value in (("source", self.source), ("target", self.target)):
            advice = "Give `source` and `target`, or neither to flip all labels."
            require(value is not None, name, "given", value, advice)
            require_whole(name, value, 0, "Classes are counted from 0.")
            bound = f"less than `num_classes = {self.num_classes}`"
            within = value is not None and value < self.num_classes
            require(within, name, bound, value, "Classes are counted from 0.")
        advice = "Choose another class, because this one changes nothing."
        expected = f"another class than `source = {self.source}`"
        require(self.source != self.target, "target", expected, self.target, advice)

    def __call__(self, labels: Labels) -> Labels:
        """Return the mapped labels, in the shape and dtype of ``labels``; a tensor for a tensor.

        Raises
        ------
        ValueError
            If a label is not a whole number in [0, K).
        """
        known = check_labels(labels, self.num_classes)
        if self.source is None or self.target is None:
            return as_given(self.num_classes - 1 - known, labels)
        return as_given(np.where(known == self.source, self.target, known), labels)

    flip = __call__


@dataclass(frozen=True)
class RandomLabels(KnownKeywords):
    r"""Each label is replaced by a random one.

    .. math:: y \mapsto r, \quad r \text{ uniform among } 0, \dots, K - 1

    The attacker knows its own data; it trains honestly on labels without meaning. One in :math:`K` keeps its
    own label, by chance.

    Parameters
    ----------
    num_classes : int
        The number of classes :math:`K`; at least 2.
    seed : int
        The seed of the draw; at least 0.

    Raises
    ------
    ValueError
        If a parameter is out of range. The call raises it if a label is out of range.

    Notes
    -----
    A sample has one random label, which stays the same in every round. So pass all labels of a
    client in one call. The first label that is drawn belongs to the first sample. If you passed
    minibatches, each of them would get the first few draws.

    References
    ----------
    Zhang, Bengio, Hardt, Recht, Vinyals (2017), "Understanding deep learning requires rethinking
    generalization", section 2, "random labels".

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.zeros(1000, dtype=np.int64)
    >>> drawn = RandomLabels()(labels)
    >>> sorted(set(drawn.tolist()))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> bool((RandomLabels()(labels) == drawn).all())
    True
    """

    num_classes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole("num_classes", self.num_classes, 2, "Give the data set's number of classes.")
        require_whole("seed", self.seed, 0, "Choose any other seed.")

    def __call__(self, labels: Labels, *keys: int) -> Labels:
        """Return random labels, in the shape and dtype of ``labels``; a tensor for a tensor.

        Parameters
        ----------
        labels : np.ndarray or torch.Tensor
            All labels of a client.
        *keys : int
            Numbers such as that of the client. Other keys give other labels.

        Raises
        ------
        ValueError
            If a label is not a whole number in [0, K).
        """
        shape = check_labels(labels, self.num_classes).shape
        return as_given(
            stream(STREAM, self.seed, *keys).integers(self.num_classes, size=shape), labels
        )


def check_labels(labels: Any, num_classes: int | None = None) -> NDArray[np.int64]:
    """Return labels as numbers of classes. Raise if one is no class."""
    found = as_array(labels)
    upto = "" if num_classes is None else f" to {num_classes - 1}"
    expected = f"whole numbers from 0{upto}"
    advice = "Set `num_classes` to the number of classes of the data set."
    if num_classes is None:
        advice = "Give each sample the number of its class."
    if found.size and not np.issubdtype(found.dtype, np.integer):
        raise wrong("labels", expected, labels, advice, found=f"labels of type {found.dtype}")
    outside = found < 0 if num_classes is None else (found < 0) | (found >= num_classes)
    if found.size and outside.any():
        raise wrong("labels", expected, labels, advice, found=f"the label {found[outside].flat[0]}")
    return found.astype(np.int64)


def as_array(values: Any) -> NDArray[Any]:
    """Return the values of an array or a tensor, wherever it is, as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        return cast(NDArray[Any], values.numpy())
    return np.asarray(values)


def as_given(labels: NDArray[np.int64], like: Labels) -> Labels:
    """Return labels in the dtype of others, as a tensor if those are one."""
    if hasattr(like, "new_tensor"):
        return cast(Labels, like.new_tensor(labels))
    return cast(Labels, labels.astype(np.asarray(like).dtype))
