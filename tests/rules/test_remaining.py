"""The scores among the remaining updates equal those of sorting all their distances again."""

import time

import numpy as np
import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine import rules
from flwr_byzantine.rules.krum import krum_scores
from flwr_byzantine.rules.remaining import Remaining


def distances_of(random, n):
    """Distances, some of them with ties, with rows far away, and with rows that are not finite."""
    x = random.normal(size=(n, 3))
    if random.random() < 0.4:
        x = random.integers(0, 3, (n, 3)).astype(float)
    if random.random() < 0.3:
        x[random.integers(n)] *= 1e20
    distances = ((x[:, None] - x) ** 2).sum(axis=2)
    if random.random() < 0.3:
        lost = random.integers(n)
        distances[lost] = distances[:, lost] = np.inf
        distances[lost, lost] = 0
    return distances


@given(st.integers(3, 40), st.integers(0, 8), st.integers(0, 2**32 - 1))
@quickly
def test_scores_while_updates_are_taken_out(n, f, seed):
    random = np.random.default_rng(seed)
    distances = distances_of(random, n)
    remaining, left = Remaining(distances, f), list(range(n))
    while len(left) > 1:
        among = distances[np.ix_(left, left)]
        expected = krum_scores(among, max(1, len(left) - f - 2))
        assert remaining.neighbours == max(1, len(left) - f - 2)
        np.testing.assert_array_equal(remaining.clients, left)
        np.testing.assert_allclose(remaining.scores(), expected, rtol=1e-13)
        gone = left.pop(int(random.integers(len(left))))
        remaining.take(gone)


@pytest.mark.parametrize("rule", [rules.Bulyan, rules.MultiBulyan])
def test_selections_of_many_updates_sort_each_row_once(rule):
    """600 updates took 0.9 and 1.3 s when every step sorted all of them. Sorting once takes 0.02 s."""
    x = np.random.default_rng(0).normal(size=(600, 20))
    distances = ((x[:, None] - x) ** 2).sum(axis=2)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        rule((600 - 3) // 4).mixing(600, distances)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.4  # 0.06 s on an idle machine
