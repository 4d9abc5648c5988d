"""The two strategies in both Flower APIs."""

import numpy as np
import pytest
from flower import APIS, Sent, every_api
from quadratic import Quadratic

MINIMISER = np.array([1.0, -2.0, 0.5])
names = pytest.mark.parametrize("name", ["ByGARS", "ByGARSPlusPlus"])


def build(api, name, **settings):
    return getattr(api.ours, name)(auxiliary=Quadratic(MINIMISER), payload="gradients", **settings)


def train(api, strategy, rounds, w=None, first=1):
    """Play rounds with one honest client and three that flip signs. Return the model and the last metrics."""
    w = np.zeros(3) if w is None else w
    metrics = {}
    for t in range(first, first + rounds):
        rng = np.random.default_rng(t)
        kappa = [1, -1, -2, -1]
        api.hand_out(strategy, [w], server_round=t, nodes=4)
        replies = [
            api.reply(Sent(100 + i, [k * (w - MINIMISER + 0.01 * rng.normal(size=3))]))
            for i, k in enumerate(kappa)
        ]
        tensors, metrics = api.aggregate(strategy, replies, server_round=t)
        (w,) = tensors
    return w, metrics


@every_api
@names
def test_learns_from_a_majority_of_attackers(api, name):
    strategy = build(api, name, learning_rate=0.05, meta_learning_rate=0.5)
    w, metrics = train(api, strategy, 30)
    assert np.linalg.norm(w - MINIMISER) < 0.3 * np.linalg.norm(MINIMISER)
    scores = strategy.reputations
    assert list(scores) == ["100", "101", "102", "103"]
    assert scores["100"] > 0 > max(scores["101"], scores["102"], scores["103"])
    assert metrics["byzantine/reputation/100"] > 0 > metrics["byzantine/reputation/102"]


@names
def test_both_apis_give_the_same_model(name):
    results = [train(api, build(api, name), 5) for api in APIS]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    scores = [
        {key: value for key, value in metrics.items() if key.startswith("byzantine/reputation/")}
        for _, metrics in results
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 4


@every_api
@names
def test_restored_strategies_continue_bit_for_bit(api, name):
    whole, _ = train(api, build(api, name), 6)
    first, second = build(api, name), build(api, name)
    w, _ = train(api, first, 3)
    second.load_state_dict(first.state_dict())
    assert second.reputations == first.reputations
    resumed, _ = train(api, second, 3, w, first=4)
    np.testing.assert_array_equal(resumed, whole)


@every_api
@names
def test_checkpoints_hold_the_scores(api, name, tmp_path):
    strategy = build(api, name, checkpoint=tmp_path / "run")
    train(api, strategy, 3)
    found = strategy.checkpoints.load()
    assert found.server_round == 3
    assert found.state["aggregator"] == strategy.state_dict()
    again = build(api, name, checkpoint=tmp_path / "run")
    again._resume()
    assert again.state_dict() == strategy.state_dict()


@every_api
@names
def test_audit_tells_the_weights(api, name):
    strategy = build(api, name, initial_reputation=0.25, learning_rate=0.1, normalize=False)
    train(api, strategy, 1)
    assert [record.verdict for record in strategy.audit] == ["kept"] * 4
    if name == "ByGARSPlusPlus":
        assert [record.share for record in strategy.audit] == [0.1 * 0.25] * 4


ATTACKS = {
    "noise": lambda sent, rng: rng.normal(0, 200, sent.shape),
    "a hundred times its update": lambda sent, rng: 100 * sent,
    "1e30 times its update": lambda sent, rng: 1e30 * sent,
}


@every_api
@names
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("payload", ["gradients", "parameters"])
def test_one_attacker_of_eight_changes_little_at_the_defaults(api, name, attack, payload):
    """In the paper's form, one attacker was enough for lasting losses of 1e18 to 1e65."""
    losses = {}
    for attackers in (0, 1):
        rng = np.random.default_rng(0)
        auxiliary, w = Quadratic(MINIMISER), np.zeros(3)
        strategy = getattr(api.ours, name)(
            auxiliary=auxiliary, payload=payload, initial_reputation=1 / 8
        )
        for t in range(1, 61):
            api.hand_out(strategy, [w], server_round=t, nodes=8)
            sent = [0.1 * (w - MINIMISER + 0.1 * rng.normal(size=3)) for _ in range(8)]
            sent[:attackers] = [ATTACKS[attack](row, rng) for row in sent[:attackers]]
            rows = [row if payload == "gradients" else w - row for row in sent]
            replies = [api.reply(Sent(100 + i, [row])) for i, row in enumerate(rows)]
            (w,), _ = api.aggregate(strategy, replies, server_round=t)
        losses[attackers] = auxiliary.loss([w], 0)
    assert losses[1] < 2 * losses[0] + 0.01 < 0.1 * auxiliary.loss([np.zeros(3)], 0)


@every_api
@names
def test_the_normalised_form_is_the_default(api, name):
    assert "normalize=True" in repr(build(api, name))
    assert build(api, name).aggregator.normalize is True


@every_api
@names
def test_a_limit_that_has_no_effect_is_said(api, name, caplog):
    for settings, warned in (
        ({}, False), ({"max_norm_ratio": 5.0}, True), ({"max_norm_ratio": 5.0, "normalize": False}, False),
    ):  # fmt: skip
        caplog.clear()
        build(api, name, **settings)
        said = [r for r in caplog.records if "`max_norm_ratio` has no effect" in r.getMessage()]
        assert len(said) == warned


@every_api
@names
def test_says_what_it_is(api, name):
    strategy = build(api, name, normalize=False)
    assert repr(strategy).startswith(f"{name}(")
    assert "normalize=False" in repr(strategy)


@every_api
@names
def test_refuses_what_it_does_not_know(api, name):
    with pytest.raises(TypeError, match="num_malicious"):
        build(api, name, num_malicious_clients=1)
    with pytest.raises(ValueError, match="Parameter `auxiliary` should be a function"):
        getattr(api.ours, name)(auxiliary=None)
