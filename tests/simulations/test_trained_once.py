"""Each honest client trains once a round, even if attackers compute its update too."""

from collections import Counter

import numpy as np
import pytest

from simulations.config import RunConfig
from simulations.federation.population import honest_client
from simulations.federation.runner import run_all
from simulations.measure.recording import initial_state
from simulations.torch_client import TorchClient

pytestmark = pytest.mark.torch

CLIENTS, BYZANTINE, ROUNDS = 6, 2, 3
LIE = {"clients": CLIENTS, "byzantine": BYZANTINE, "attack": "lie", "rounds": ROUNDS}


@pytest.fixture
def trained(monkeypatch):
    """How often each client trained in each round."""
    counts = Counter()
    fit = TorchClient.fit

    def counting(self, parameters, config):
        counts[self.client_id, config["server-round"]] += 1
        return fit(self, parameters, config)

    monkeypatch.setattr(TorchClient, "fit", counting)
    return counts


@pytest.mark.parametrize("api", ["message", "legacy"])
@pytest.mark.parametrize("change", [{}, {"attack": "mimic"}, {"momentum": 0.9}, {"redraw": True}])
def test_every_honest_client_trains_once_a_round(trained, change, api):
    (result,) = run_all([RunConfig(**LIE | change, api=api)], inline=True)
    assert not isinstance(result, Exception), result
    rounds = range(1, ROUNDS + 1)
    honest = range(0 if "redraw" in change else BYZANTINE, CLIENTS)
    assert {trained[number, r] for number in honest for r in rounds} == {1}


def test_two_runs_in_one_process_share_nothing(trained):
    """Their clients receive the same model in the first round, but train on other samples."""
    configs = [RunConfig(**LIE, seed=1, batch_size=size, rule="median") for size in (16, 32)]
    alone = [run_all([config], inline=True)[0]["parameters_sha256"] for config in configs]
    together = [result["parameters_sha256"] for result in run_all(configs, inline=True)]
    assert together == alone
    assert alone[0] != alone[1]


def arrays_of(config):
    return [tensor.numpy().copy() for tensor in initial_state(config).values()]


def test_what_one_party_does_to_the_arrays_reaches_no_other(trained):
    config = RunConfig(**LIE, seed=2)
    start = arrays_of(config)
    told = {"server-round": 1}
    mine, _, metrics = honest_client(config, 3).fit(start, told)
    kept = [array.copy() for array in mine]
    for array in mine:
        array[...] = 99
    metrics["loss"] = -1.0
    others, _, unchanged = honest_client(config, 3).fit(start, told)
    assert trained[3, 1] == 1
    assert all(np.array_equal(a, b) for a, b in zip(others, kept, strict=True))
    assert unchanged["loss"] > 0
    assert not any(np.shares_memory(a, b) for a, b in zip(others, mine, strict=True))
    start[0][...] += 1  # another model in the same round
    moved, _, _ = honest_client(config, 3).fit(start, told)
    assert trained[3, 1] == 2
    assert not np.array_equal(moved[0], kept[0])


def test_replies_of_one_round_are_kept_and_no_more(trained):
    config = RunConfig(**LIE, seed=3)
    start = arrays_of(config)
    for server_round in (1, 1, 2, 1):
        for number in (2, 3):
            honest_client(config, number).fit(start, {"server-round": server_round})
    assert trained == {(2, 1): 2, (3, 1): 2, (2, 2): 1, (3, 2): 1}


def test_poisoned_samples_are_not_mistaken_for_honest_ones(trained):
    config = RunConfig(**LIE, seed=4)
    start = arrays_of(config)
    honest, _, _ = honest_client(config, 2).fit(start, {"server-round": 1})
    poisoned = honest_client(config, 2, lambda labels: 9 - labels)
    flipped, _, _ = poisoned.fit(start, {"server-round": 1})
    assert not np.array_equal(honest[0], flipped[0])
