"""The real digits that scikit-learn ships, as numpy arrays: a run on them needs no torch."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulations.streams import Stream, generator

TRAINING = 1437  # of the 1,797 samples; the others test the model


class Samples(NamedTuple):
    """Images of shape (samples, 64), float32, and int64 labels."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


@cache
def digits() -> tuple[Samples, Samples]:
    """Return the samples to train on and those to test on, the same for every seed.

    Each pixel is standardised by its mean and deviation over the training set.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = generator(Stream.SAMPLES).permutation(len(bunch.target))
    train, test = order[:TRAINING], order[TRAINING:]
    x = bunch.data.astype(np.float32)
    deviation = x[train].std(axis=0)
    x = (x - x[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    labels = bunch.target.astype(np.int64)
    return Samples(x[train], labels[train]), Samples(x[test], labels[test])
