"""The digits, and the share of each node."""

from functools import cache

import numpy as np
from sklearn.datasets import load_digits

TEST = 360


@cache
def digits():
    """Images and labels, shuffled."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    return (found.data[order] / 16).astype(np.float32), found.target[order]


def test_split():
    """Samples that no node has."""
    x, y = digits()
    return x[:TEST], y[:TEST]


def partition(i, n):
    """Samples of node i of n."""
    x, y = digits()
    return x[TEST:][i::n], y[TEST:][i::n]
