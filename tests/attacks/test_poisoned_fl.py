"""PoisonedFL: its update by hand, the test for its success, and its memory."""

from __future__ import annotations

import numpy as np
import pytest

from flwr_byzantine.attacks import PoisonedFL
from flwr_byzantine.rules import Median

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def rng(seed=0):
    return np.random.default_rng(seed)


def test_three_rounds_by_hand():
    attack = PoisonedFL(scale=2)
    np.testing.assert_array_equal(attack(np.zeros(2), rng()), [0, 0])
    signs = attack.memory["signs"]
    assert set(signs) <= {-1, 1}
    first = attack(np.array([3.0, 4]), rng())  # g = (3, 4), nothing sent before: v = g
    np.testing.assert_allclose(first, 2 * np.array([3, 4]) * signs)
    second = attack(np.array([3.0, 16]), rng())  # g = (0, 12); sent has length 10
    v = np.abs(np.array([0, 12]) - 12 / 10 * first)
    np.testing.assert_allclose(second, 2 * 12 * v / np.linalg.norm(v) * signs)


def test_signs_stay_and_are_drawn_by_rng():
    attack, other = PoisonedFL(), PoisonedFL()
    sent = [attack(rng(t).normal(size=200), rng(t)) for t in range(6)]
    signs = attack.memory["signs"]
    assert 60 < (signs == 1).sum() < 140
    assert all((np.sign(row) == signs).all() for row in sent[1:])
    other(np.zeros(200), rng(0))
    np.testing.assert_array_equal(other.memory["signs"], signs)
    assert other.fresh().memory == {}


BOUNDS = {1204682: 603618, 139960: 70415, 717924: 359948, 145212: 73049}


@pytest.mark.parametrize(("d", "bound"), BOUNDS.items())
def test_the_bounds_of_the_authors(d, bound):
    """The authors' bounds are those of the binomial distribution, up to one coordinate."""
    signs, moved = np.ones(d), -np.ones(d)
    moved[: bound + 1] = 1
    assert PoisonedFL().works(moved, signs)
    moved[bound - 2 : bound + 1] = -1
    assert not PoisonedFL().works(moved, signs)


def test_the_factor_falls_where_the_server_takes_nothing():
    attack = PoisonedFL(period=2, decay=0.5, smallest=1.5)
    factors = []
    for t in range(9):
        attack(rng(t).normal(size=500), rng())
        factors.append(attack.memory["factor"])
    assert factors == [8, 8, 4, 4, 2, 2, 2, 2, 2]


def test_the_factor_stays_where_it_works():
    attack, model = PoisonedFL(period=2), np.zeros(500)
    for t in range(9):
        sent = attack(model, rng())
        model = model + 0.1 * sent + rng(t).normal(size=500) * 0.01
    assert attack.memory["factor"] == 8


@pytest.mark.parametrize("models", [
    [[0.0, 0], [0, 0], [0, 0]], [[np.nan, 1], [1, 2], [np.inf, 3]], [[1e308, 0], [-1e308, 1], [0, 0]],
    [[], [], []],
])  # fmt: skip
def test_models_that_say_nothing_do_no_harm(models):
    attack = PoisonedFL(period=1)
    for model in models:
        assert np.isfinite(attack(np.array(model, float), rng())).all()


def test_it_begins_anew_where_the_model_has_another_length(caplog):
    attack = PoisonedFL(scale=2)
    attack(np.zeros(3), rng())
    attack(np.ones(3), rng())
    np.testing.assert_array_equal(attack(np.zeros(2), rng(1)), [0, 0])
    sent = attack(np.array([3.0, 4]), rng())
    np.testing.assert_allclose(np.abs(sent), [6, 8])
    assert caplog.messages == [
        "PoisonedFL begins anew, because it got 3 values before and gets 2 now"
    ]


def test_what_it_sends_and_remembers_is_its_own():
    attack, model = PoisonedFL(), np.ones(4)
    attack(model, rng())
    sent = attack(model * 2, rng())
    kept = sent.copy()
    sent[:] = 0
    model[:] = 7
    np.testing.assert_array_equal(attack.memory["sent"], kept)
    np.testing.assert_array_equal(attack.memory["tested"], np.ones(4))


def test_it_drives_the_median_away():
    ends = []
    for on in (True, False):
        attack, model = PoisonedFL(period=10), rng().normal(size=300)
        for t in range(60):
            honest = -0.1 * model + 0.05 * rng(t).normal(size=(16, 300))
            sent = attack(model, rng()) * on
            model = model + Median()(np.vstack([honest, [sent] * 4]))
        ends.append(np.linalg.norm(model))
    assert ends[0] > 1.3 * ends[1]
