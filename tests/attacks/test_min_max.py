"""Min-Max and Min-Sum: the closed form against its condition, and against the published search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.attacks import LittleIsEnough, MinMax, MinSum
from flwr_byzantine.rules import Krum

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

DIRECTIONS = ["unit", "sign", "std"]


def rng(seed=0):
    return np.random.default_rng(seed)


def direction_of(honest, name):
    mu = honest.mean(axis=0)
    return {"unit": -mu / np.linalg.norm(mu), "sign": -np.sign(mu), "std": -honest.std(axis=0)}[
        name
    ]


def squared(honest, point):
    return ((honest - point) ** 2).sum(axis=1)


def all_squared(honest):
    return np.array([squared(honest, row) for row in honest])


def published(honest, p, allowed, start=10.0):
    """The authors' search, which starts from a value and halves its steps."""
    gamma, step, best = start, start, 0.0
    while abs(best - gamma) > 1e-5:
        if allowed(honest.mean(axis=0) + gamma * p):
            best, gamma = gamma, gamma + step / 2
        else:
            gamma -= step / 2
        step /= 2
    return best


@pytest.mark.parametrize(("attack", "gamma", "sent"), [
    (MinMax(), 3, [1]),  # the farthest two are 7 apart, and 8 - 7 = 1
    (MinMax("sign"), 3, [1]),
    (MinSum(), 4, [0]),  # sums of squares from 1, 3, 8: 53, 29, 74; from 0: 1 + 9 + 64 = 74
    (MinSum(bound="min"), 1, [3]),
])  # fmt: skip
def test_by_hand(attack, gamma, sent):
    honest = np.array([[1.0], [3.0], [8.0]])
    assert attack.gamma(honest) == gamma
    np.testing.assert_array_equal(attack(honest, 2, rng()), [sent, sent])


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(st.integers(0, 1000), st.integers(2, 7), st.integers(1, 6))
def test_the_largest_gamma_within_the_bound(direction, seed, h, d):
    honest = rng(seed).normal(size=(h, d)) + rng(seed).normal()
    mu, p = honest.mean(axis=0), direction_of(honest, direction)
    between = all_squared(honest)
    for attack, measure, bound in [
        (MinMax(direction), np.max, between.max()),
        (MinSum(direction), np.sum, between.sum(axis=1).max()),
        (MinSum(direction, bound="min"), np.sum, between.sum(axis=1).min()),
    ]:
        gamma = attack.gamma(honest)
        np.testing.assert_allclose(attack(honest, 1, rng())[0], mu + gamma * p)
        reached = measure(squared(honest, mu + gamma * p))
        assert reached == pytest.approx(bound, rel=1e-9)
        assert measure(squared(honest, mu + (gamma * 1.01 + 1e-6) * p)) > bound


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_published_search_finds_the_same_where_it_can(direction):
    honest = rng().normal(size=(8, 30)) + 0.3
    p, between = direction_of(honest, direction), all_squared(honest)
    found = published(honest, p, lambda m: squared(honest, m).max() <= between.max())
    assert MinMax(direction).gamma(honest) == pytest.approx(found, abs=2e-5)
    bound = between.sum(axis=1).min()
    found = published(honest, p, lambda m: squared(honest, m).sum() <= bound)
    assert MinSum(direction, bound="min").gamma(honest) == pytest.approx(found, abs=2e-5)


def test_the_published_search_stops_at_twice_its_start():
    honest = rng().normal(size=(20, 5000)) + 0.05
    p, largest = direction_of(honest, "unit"), all_squared(honest).max()
    found = published(honest, p, lambda m: squared(honest, m).max() <= largest)
    assert found == pytest.approx(20, abs=1e-4)
    assert MinMax().gamma(honest) > 50


@pytest.mark.parametrize(
    "attack", [MinMax(), MinMax("sign"), MinMax("std"), MinSum(), MinSum("std")]
)
@pytest.mark.parametrize(("honest", "sent"), [
    ([[1.0, 2.0]], [1, 2]),
    ([[1.0, 2.0]] * 3, [1, 2]),
    ([[0.1, 0.7]] * 7, [0.1, 0.7]),
    ([[1.0, np.nan], [1.0, 2.0]], [1, 2]),
    ([[np.inf, np.nan], [1.0, np.inf]], [0, 0]),
    ([[0.0, 0.0]] * 2, [0, 0]),
])  # fmt: skip
def test_the_mean_is_sent_where_there_is_nothing_else(attack, honest, sent):
    assert attack.gamma(np.array(honest)) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(attack(np.array(honest), 2, rng()), [sent, sent])


def test_a_mean_of_zero_has_no_direction_but_a_spread():
    honest = np.array([[1.0, 2.0], [-1.0, -2.0]])
    np.testing.assert_array_equal(MinMax()(honest, 1, rng()), [[0, 0]])
    assert MinMax("std").gamma(honest) > 0


def test_lengths_are_told_apart_near_and_far():
    base = rng().normal(size=(6, 50))
    gamma = MinMax("std").gamma(base)
    for scale in (1e-150, 1e-20, 1e20, 1e140):
        assert MinMax("std").gamma(base * scale) == pytest.approx(gamma)
    moved = base * 2.0**-20 + 2.0  # exact in float64, but a Gram matrix loses the differences
    assert MinMax("std").gamma(moved) == pytest.approx(gamma, rel=1e-6)


def test_gamma_takes_tensors():
    torch = pytest.importorskip("torch")
    honest = rng().normal(size=(4, 9))
    tensor = torch.from_numpy(honest).requires_grad_()
    assert MinMax().gamma(tensor) == MinMax().gamma(honest) == MinMax().gamma(list(tensor))


def test_they_move_krum_farther_than_little_is_enough():
    moved = {}
    for attack in (LittleIsEnough(z=1.5), MinMax("std"), MinSum("std")):
        apart = []
        for seed in range(10):
            honest = rng(seed).normal(size=(16, 200)) + 0.1
            updates = np.vstack([honest, attack(honest, 4, rng())])
            apart.append(np.linalg.norm(Krum(4)(updates) - honest.mean(axis=0)))
        moved[attack] = np.mean(apart)
    little = moved.pop(LittleIsEnough(z=1.5))
    assert all(far >= little for far in moved.values()), (little, moved)
