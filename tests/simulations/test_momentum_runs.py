"""Worker momentum in runs: what clients send, what attackers know, and that both engines agree."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from flwr_byzantine.clients import MomentumClient
from flwr_byzantine.clients.arrays import update_of
from simulations.config import RunConfig
from simulations.federation.population import client
from simulations.federation.runner import run_all
from simulations.measure.recording import initial_state
from simulations.sweep.experiment import PLACES, YOUNGER, Cell

pytestmark = pytest.mark.torch

SMALL = {"clients": 6, "byzantine": 2, "rule": "mean", "momentum": 0.5, "rounds": 3}
HONEST, ATTACKERS = range(2, 6), range(2)


def sent(rounds=3, **changes):
    """The updates of all clients in each round, for models that do not depend on the updates."""
    config = RunConfig(**SMALL | changes)
    start = [tensor.numpy() for tensor in initial_state(config).values()]
    contexts = [Context(1, i, {}, RecordDict(), {}) for i in range(config.clients)]
    updates = []
    for t in range(1, rounds + 1):
        model = [tensor * np.float32(t) for tensor in start]
        clients = [client(config, i, context) for i, context in enumerate(contexts)]
        answers = [c.fit([p.copy() for p in model], {"server-round": t})[0] for c in clients]
        updates.append(np.stack([update_of(a, model, config.payload) for a in answers]))
    return np.stack(updates)


@pytest.mark.parametrize("payload", ["parameters", "gradients"])
def test_honest_clients_send_their_momentum(payload):
    plain = sent(momentum=0, byzantine=0, payload=payload)
    averaged = sent(byzantine=0, payload=payload)
    expected = [plain[0]]
    for update in plain[1:]:
        expected.append(0.5 * expected[-1] + 0.5 * update)
    np.testing.assert_allclose(averaged, expected, rtol=1e-3, atol=1e-6)
    assert np.abs(averaged[2] - plain[2]).max() > 1e-3


@pytest.mark.parametrize(("knows", "known"), [("honest", HONEST), ("attackers", ATTACKERS)])
def test_attackers_that_know_others_know_their_momentum(knows, known):
    honest = sent(byzantine=0)
    # With distance 0, attackers send the mean of the updates that they know.
    attacked = sent(attack="paf", attack_args={"distance": 0, "knows": knows})
    np.testing.assert_allclose(attacked[:, 2:], honest[:, 2:])
    for attacker in ATTACKERS:
        mean = honest[:, list(known)].mean(axis=1)
        np.testing.assert_allclose(attacked[:, attacker], mean, rtol=1e-4, atol=1e-6)


def test_other_attackers_spoil_their_own_momentum():
    honest = sent(byzantine=0)
    flipped = sent(attack="sign_flip")
    np.testing.assert_allclose(flipped[:, :2], -honest[:, :2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"redraw": True}, {"attack_start": 2}, {"attack_args": {"fraction": 0.5}}], ids=str
)
def test_attackers_cannot_know_a_momentum_that_they_did_not_follow(changes):
    with pytest.raises(ValueError, match="Parameter `momentum` should be 0 for attackers that"):
        RunConfig(**SMALL, attack="ipm", **changes)
    RunConfig(**SMALL, attack="sign_flip", **changes)
    RunConfig(**SMALL | {"momentum": 0}, attack="ipm", **changes)


@pytest.mark.parametrize("momentum", [1, -0.1])
def test_a_momentum_is_at_least_0_and_less_than_1(momentum):
    with pytest.raises(ValueError, match="momentum"):
        RunConfig(momentum=momentum)


def test_cells_without_momentum_are_called_what_they_were_before_there_was_one():
    config = RunConfig()
    told = config.model_dump(exclude={*PLACES, *YOUNGER})
    key = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    assert Cell("", "", "", "", "", 0, config).key == key
    moving = RunConfig(momentum=0.9), RunConfig(momentum=0.5)
    assert len({key, *(Cell("", "", "", "", "", 0, run).key for run in moving)}) == 3


def test_clients_without_momentum_are_built_once_and_keep_nothing():
    context = Context(1, 0, {}, RecordDict(), {})
    config = RunConfig(**SMALL | {"momentum": 0})
    assert client(config, 3, context) is client(config, 3, context)
    assert isinstance(client(RunConfig(**SMALL), 3, context), MomentumClient)


MOVING = [RunConfig(**SMALL, attack=attack) for attack in ("lie", "sign_flip", "none")]


def test_a_run_after_another_starts_with_no_momentum():
    alone = [run_all([config], inline=True)[0] for config in MOVING]
    one_after_the_other = run_all(MOVING, inline=True)
    assert _models(one_after_the_other) == _models(alone)
    still = run_all([RunConfig(**SMALL | {"momentum": 0})], inline=True)
    assert _models(still)[0] not in _models(alone)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("api", ["message", "legacy"])
def test_ray_gives_the_models_of_one_process(api):
    configs = [config.model_copy(update={"api": api}) for config in MOVING]
    assert _models(run_all(configs)) == _models(run_all(MOVING, inline=True))


def _models(results):
    for result in results:
        assert not isinstance(result, Exception), result
    return [result["parameters_sha256"] for result in results]


@pytest.mark.slow
def test_with_momentum_krum_sees_through_small_inner_products():
    """Four of 20 clients send -1/2 of the mean of their updates. Accuracies: 0.01 without, 0.37 with."""
    attack = {"attack": "ipm", "attack_args": {"epsilon": 0.5, "knows": "attackers"}}
    setting = {"clients": 20, "byzantine": 4, "rule": "krum", "rounds": 50, "eval_every": 50}
    minibatches = {"batch_size": 8, "local_steps": 1}
    configs = [RunConfig(**setting, **attack, **minibatches, momentum=beta) for beta in (0, 0.9)]
    without, averaged = (r["final_accuracy"] for r in run_all(configs, inline=True))
    assert without < 0.1
    assert averaged > 0.25
