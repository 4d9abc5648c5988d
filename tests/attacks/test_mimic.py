"""Mimic takes the authors' steps, and copies the same client in every round."""

from __future__ import annotations

import numpy as np
import pytest

from flwr_byzantine.attacks import Mimic

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def rng(seed=0):
    return np.random.default_rng(seed)


def chosen_by_the_authors(rounds, warmup, z):
    """The rows that are copied in each round, by the steps as the authors describe them."""
    mu, target, copied = None, None, []
    for t, honest in enumerate(rounds):
        average = sum(honest) / len(honest)
        if t < warmup:
            mu = average if t == 0 else t / (1 + t) * mu + average / (1 + t)
            total = sum(((row - mu) @ z) * (row - mu) for row in honest)
            step = total / np.linalg.norm(total)
            z = step if t == 0 else t / (1 + t) * z + step / (1 + t)
            z = z / np.linalg.norm(z)
            target = int(np.argmax([row @ z for row in honest]))
        copied.append(target)
    return copied, z


@pytest.mark.parametrize("warmup", [1, 3, 6])
@pytest.mark.parametrize("seed", range(8))
def test_copies_whom_the_authors_copy(warmup, seed):
    rounds = rng(seed).normal(size=(8, 7, 12))
    attack = Mimic(warmup)
    sent = [attack(honest, 2, rng(seed + 1)) for honest in rounds]
    expected, z = chosen_by_the_authors(rounds, warmup, rng(seed + 1).standard_normal(12))
    for rows, honest, client in zip(sent, rounds, expected, strict=True):
        np.testing.assert_array_equal(rows, [honest[client]] * 2)
    np.testing.assert_allclose(attack.memory["direction"], z)
    assert len(set(expected[warmup - 1 :])) == 1


def test_finds_the_client_that_differs():
    honest = rng().normal(size=(10, 50))
    honest[6] += 30
    attack = Mimic(warmup=5)
    sent = [attack(honest + rng(t).normal(size=honest.shape), 1, rng()) for t in range(5)]
    assert attack.memory["client"] in range(10)
    assert abs(attack.memory["direction"] @ np.ones(50)) / 50**0.5 > 0.9
    assert all(row.shape == (1, 50) for row in sent)


def test_a_client_that_is_gone_is_replaced_for_that_round():
    attack, honest = Mimic(), np.diag([1.0, 2, 3, 9])
    attack(honest, 1, rng())
    client = attack.memory["client"]
    fewer = honest[:client] if client else honest[1:]
    if client:
        sent = attack(fewer, 1, rng())
        assert any(np.array_equal(sent[0], row) for row in fewer)
    np.testing.assert_array_equal(attack(honest * 2, 1, rng())[0], honest[client] * 2)


def test_remembers_and_begins_afresh():
    attack, honest = Mimic(), rng().normal(size=(5, 6))
    assert attack.memory == {}
    first = attack(honest, 1, rng(3))
    assert {*attack.memory} == {"rounds", "client", "mean", "direction"}
    assert attack == Mimic()
    assert hash(attack) == hash(Mimic())
    np.testing.assert_array_equal(attack.fresh()(honest, 1, rng(3)), first)
    assert attack.fresh().memory == {}


@pytest.mark.parametrize("warmup", [1, 3])
def test_it_begins_anew_where_updates_have_another_length(warmup, caplog):
    attack, fresh = Mimic(warmup=warmup), Mimic(warmup=warmup)
    attack(rng(1).normal(size=(6, 5)), 1, rng())
    for t in range(4):
        honest = rng(t).normal(size=(6, 7))
        np.testing.assert_array_equal(attack(honest, 1, rng(t)), fresh(honest, 1, rng(t)))
    assert caplog.messages == ["Mimic begins anew, because it got 5 values before and gets 7 now"]


def test_a_copy_is_no_view():
    honest = rng().normal(size=(3, 4))
    assert not np.shares_memory(Mimic()(honest, 1, rng()), honest)


@pytest.mark.parametrize("honest", [
    np.ones((3, 2)), np.zeros((2, 2)), np.ones((1, 2)), np.full((2, 2), np.nan),
    np.array([[1, np.inf], [1, 2]]), np.full((2, 2), 1e308),
])  # fmt: skip
def test_what_teaches_nothing_does_no_harm(honest):
    attack = Mimic(warmup=2)
    for _ in range(3):
        sent = attack(honest, 2, rng())
        assert any(np.array_equal(sent[0], row, equal_nan=True) for row in honest)
    assert np.isfinite(attack.memory["direction"]).all()


def test_refuses_a_client_that_there_is_not():
    np.testing.assert_array_equal(Mimic(client=1)(np.eye(2), 1, rng()), [[0, 1]])
    with pytest.raises(ValueError, match=r"`client` should be less than 2\. Found `client = 2`"):
        Mimic(client=2)(np.eye(2), 1, rng())
