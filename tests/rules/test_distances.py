"""Distances of combinations, computed from n x n distances, against the same computed in d dimensions."""

import numpy as np
import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.rules.distances import Distances

seeds = st.integers(0, 2**32 - 1)


def squared(points):
    return ((points[:, None] - points) ** 2).sum(axis=-1)


def drawn(seed, n=7, d=5):
    """n updates, the model as one more point, and all their distances."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(n + 1, d)) * random.choice([1e-3, 1, 1e3])
    return random, points, Distances(squared(points), n)


def affine(random, k, m):
    """k rows of weights of any sign. Each row sums to one, and some have zeros or a single one."""
    weights = random.normal(size=(k, m)) * (random.random((k, m)) < 0.7)
    weights[:, 0] += 1 - weights.sum(axis=1)
    weights[0] = np.eye(m)[random.integers(m)]
    return weights


@given(seeds)
@quickly
def test_affine_combinations(seed):
    random, points, distances = drawn(seed)
    a, b = affine(random, 2, 8) @ np.eye(8)
    scale = np.abs(points).max() ** 2 * (1 + np.abs(a).sum() + np.abs(b).sum()) ** 2
    close = {"rtol": 1e-9, "atol": 1e-12 * scale}
    np.testing.assert_allclose(distances.between(a, b), (((a - b) @ points) ** 2).sum(), **close)
    np.testing.assert_allclose(
        distances.to_affine(a), ((points[:7] - a @ points) ** 2).sum(axis=1), **close
    )


@given(seeds)
@quickly
def test_mixed_rows(seed):
    random, points, distances = drawn(seed)
    mixing = affine(random, 4, 8)
    mixed = distances.of_mixed(mixing)
    expected = squared(np.vstack([mixing @ points, points[7:]]))
    assert mixed.n == 4
    np.testing.assert_allclose(mixed.squared, expected, rtol=1e-9, atol=1e-12 * expected.max())


@given(seeds)
@quickly
def test_mixing_is_associative(seed):
    random, _, distances = drawn(seed)
    first, second = affine(random, 5, 7), affine(random, 3, 5)
    twice, once = distances.of_mixed(first).of_mixed(second), distances.of_mixed(second @ first)
    np.testing.assert_allclose(twice.squared, once.squared, atol=1e-10 * once.squared.max())


@given(seeds)
@quickly
def test_norms_and_inner_products(seed):
    _, points, distances = drawn(seed)
    updates = points[:7] - points[7]
    scale = distances.squared.max()
    np.testing.assert_allclose(distances.squared_norms, (updates**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(distances.inner_products(), updates @ updates.T, atol=1e-13 * scale)


@given(seeds)
@quickly
def test_scaled_updates(seed):
    random, points, distances = drawn(seed)
    factors = random.choice([0.0, 1.0, 1e-6, *random.random(3)], 7)
    updates = points[:7] - points[7]
    scaled = np.vstack([points[7] + factors[:, None] * updates, points[7:]])
    found = distances.of_scaled(factors).squared
    np.testing.assert_allclose(found, squared(scaled), atol=1e-12 * distances.squared.max())


@given(seeds)
@quickly
def test_spectrum(seed):
    random, points, distances = drawn(seed)
    p = random.dirichlet(np.ones(7)) * (random.random(7) < 0.8)
    p = p / p.sum() if p.any() else np.full(7, 1 / 7)
    centred = points[:7] - p @ points[:7]
    values, vectors = np.linalg.eigh((p[:, None] * centred).T @ centred)
    found = distances.spectrum(p)
    np.testing.assert_allclose(found.largest, values[-1], atol=1e-12 * distances.squared.max())
    if values[-1] - values[-2] > 1e-6 * values[-1]:  # otherwise the direction is not determined
        projections = (centred @ vectors[:, -1]) ** 2 * (p > 0)
        np.testing.assert_allclose(
            found.squared_projections, projections, rtol=1e-5, atol=1e-9 * values[-1]
        )


def test_worked_by_hand():
    """Updates 0, 1 and 3 of a model at 2, in one dimension."""
    points = np.array([[0.0], [1.0], [3.0], [2.0]])
    distances = Distances(squared(points), 3)
    assert distances.squared_norms.tolist() == [4, 1, 1]
    assert distances.inner_products().tolist() == [[4, 2, -2], [2, 1, -1], [-2, -1, 1]]
    assert distances.between([0.5, 0.5, 0], [0, 0, 1]) == 6.25
    assert distances.to_affine([0, 0, 0, 1]).tolist() == [4, 1, 1]
    assert distances.of_mixed(np.array([[0.5, 0.5, 0], [0, 0, 1]])).squared.tolist() == [
        [0, 6.25, 2.25], [6.25, 0, 1], [2.25, 1, 0],
    ]  # fmt: skip
    # The points are half of -2, all of -1 and none of 1, in which the model is 0.
    assert distances.of_scaled(np.array([0.5, 1, 0])).rows.tolist() == [
        [0, 0, 1],
        [0, 0, 1],
        [1, 1, 0],
    ]
    largest, projections = distances.spectrum([0.5, 0.5, 0])
    assert largest == pytest.approx(0.25)
    assert projections == pytest.approx([0.25, 0.25, 0])


def test_shared_weights_vanish():
    """Rows that share a far update are at distance 0 exactly. Other distances between them lose no digit."""
    points = np.array([[1e20], [1.0], [1.0 + 1e-7], [3.0]])
    distances = Distances(squared(points))
    mixed = distances.of_mixed(np.array([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0]]))
    assert mixed.squared[0, 1] == 0
    assert mixed.squared[0, 2] == pytest.approx(0.25e-14, rel=1e-8)


def test_a_point_that_is_not_finite_is_infinitely_far_from_what_lacks_it():
    squares = squared(np.array([[0.0], [1.0], [3.0], [2.0]]))
    squares[2], squares[:, 2] = np.inf, np.inf
    squares[2, 2] = 0
    distances = Distances(squares, 3)
    found = distances.of_mixed(np.array([[0.5, 0, 0.5], [0, 0.5, 0.5], [1, 0, 0], [0, 1, 0]])).rows
    assert np.isinf(found[0, 2:]).all()
    assert found[0, 1] == 0.25  # both mix half of it, so they differ only in finite points
    assert found[2, 3] == 1
    assert distances.to_affine([0.5, 0.5, 0]).tolist() == [0.25, 0.25, np.inf]
    scaled = distances.of_scaled(np.array([1, 1, 0.0]))
    assert scaled.rows.tolist() == [[0, 1, 4], [1, 0, 1], [4, 1, 0]]  # the third is the model now


def test_a_far_update_that_was_scaled_is_not_taken_for_a_near_one():
    """D lost the direction of the far update. So it counts as orthogonal, whatever rounding left."""
    points = np.array([[1.0, 0], [0, 1], [1e20, 1e20], [0, 0]])
    distances = Distances(squared(points), 3)
    scaled = distances.of_scaled(np.array([1, 1, 1 / np.hypot(1e20, 1e20)]))
    np.testing.assert_allclose(scaled.rows, [[0, 2, 2], [2, 0, 2], [2, 2, 0]])
    assert distances.inner_products()[0].tolist() == [1, 0, 0]
