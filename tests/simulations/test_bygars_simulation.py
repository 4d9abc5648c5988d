"""ByGARS in simulations: the server's samples, the benign baseline, scores by client, and figures."""

import json

import numpy as np
import pytest
import torch
from experiments import all_experiments
from pydantic import ValidationError

from flwr_byzantine.reputation.schedules import PowerDecay
from simulations.catalog import datasets
from simulations.catalog.baseline import benign_mean
from simulations.catalog.dealing import Partition
from simulations.catalog.partitions import held_out
from simulations.config import RunConfig
from simulations.federation import reputation
from simulations.federation.runner import run_all
from simulations.federation.strategies import build_strategy
from simulations.measure.roles import kinds
from simulations.report.reputations import plot_reputations
from simulations.sweep.experiment import FOLDER, load_experiment

pytestmark = pytest.mark.torch
both = pytest.mark.parametrize("rule", ["bygars", "bygars++"])


def config(**options):
    return RunConfig(**{"rule": "bygars++", "clients": 8, "payload": "gradients", **options})


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "shared"])
def test_no_client_has_the_server_s_samples(kind):
    samples = len(datasets.load("digits", "")[0].y)
    own = held_out(samples, 250, seed=3)
    assert len(set(own)) == 250
    shares = datasets.partition("digits", "", Partition(kind, 0.5), 4, 3, 250)
    clients = set(np.concatenate(shares))
    assert not clients & set(own)
    assert clients | set(own) == set(range(samples))


def test_sizes_of_the_auxiliary_set():
    assert config().auxiliary == config(rule="bygars").auxiliary == 250
    assert config(rule="mean").auxiliary == 0
    assert config(rule="mean", auxiliary=250).auxiliary == 250
    auxiliary = reputation.auxiliary_arguments(config(auxiliary=20, rule_args="auxiliary_batch=5"))[
        "auxiliary"
    ]
    assert len(auxiliary.y) == 20
    assert auxiliary.batch_size == 5


@both
def test_arguments(rule):
    arguments = reputation.auxiliary_arguments(
        config(rule=rule, learning_rate=0.3, rule_args="alpha=0.5 alpha_power=0 gamma_offset=7")
    )
    assert arguments["learning_rate"] == PowerDecay(0.3, 1.0, 7)
    assert arguments["meta_learning_rate"] == 0.5
    assert arguments["normalize"] is True
    assert ("meta_steps" in arguments) == (rule == "bygars")
    for api in ("message", "legacy"):
        strategy = build_strategy(config(rule=rule, api=api))
        assert strategy.aggregator.payload == "gradients"
        assert strategy.aggregator.order_by == "partition-id"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rule_args": "gama=1"}, "Parameter `rule_args` should be made of gamma"),
        ({"rule_args": "meta_steps=2"}, "no other arguments"),
        ({"rule": "bygars", "rule_args": "meta_steps=0"}, "Parameter `meta_steps`"),
        ({"rule_args": "gamma_power=2"}, "Parameter `power`"),
        ({"auxiliary": 0}, "Parameter `auxiliary` should be at least 1"),
        ({"auxiliary": 9, "rule_args": "auxiliary_batch=10"}, "should be at least 10"),
        ({"rule": "baseline", "attack": "sign_flip", "byzantine": 8}, "should not be `baseline`"),
        (
            {"rule": "baseline", "attack": "sign_flip", "byzantine": 2, "redraw": True},
            "redraw = True",
        ),
        ({"rule": "baseline", "rule_args": "x=1"}, "Parameter `rule_args` should be empty"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        config(**options)


def test_the_auxiliary_gradient_does_not_depend_on_the_cores():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        reputation.auxiliary_arguments(config())
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_tolerance_in_simulations():
    assert (
        reputation.auxiliary_arguments(config(rule="bygars", rule_args="tolerance=0"))["tolerance"]
        == 0
    )


def test_baseline_is_the_mean_of_the_benign():
    rule = benign_mean(clients=8, byzantine=3, seed=1, placement="drawn")
    updates = np.random.default_rng(0).normal(size=(8, 5))
    q = np.array(rule.q)
    assert (q == 0).sum() == 3
    np.testing.assert_allclose(rule(updates), updates[q > 0].mean(axis=0), rtol=1e-12)
    with pytest.raises(ValueError, match="one update for each of the 8 weights"):
        rule(updates[:7])


def test_kinds_of_clients():
    named = kinds(config(attack="mixed", byzantine=7))
    assert named[7] == "benign"
    assert len(set(named)) == 8
    assert kinds(config()) == ["benign"] * 8


def test_the_experiments_use_the_default_step_sizes():
    """The files state them, so that a changed default does not change what a stored result means."""
    for experiment in ("bygars_mnist", "bygars_cifar"):
        rules = load_experiment(FOLDER / f"{experiment}.toml").rules
        for rule in ("bygars", "bygars++"):
            stated, default = (
                reputation.auxiliary_arguments(config(rule=rule, rule_args=arguments))
                for arguments in (rules[rule]["rule_args"], {})
            )
            assert stated.keys() == default.keys()
            for name in stated.keys() - {"auxiliary"}:
                assert stated[name] == default[name], name


@pytest.mark.parametrize("experiment", all_experiments(), ids=lambda own: own.name)
def test_every_experiment_says_which_form_it_runs(experiment):
    """The files state it, so that a changed default does not change what a stored result means."""
    for settings in experiment.rules.values():
        if settings["rule"].startswith("bygars"):
            assert "normalize" in settings["rule_args"]


@pytest.mark.slow
@pytest.mark.ray
def test_runs_with_attackers_only(tmp_path):
    """All eight clients flip signs. Both algorithms train, and both APIs give the same model."""
    options = {
        "attack": "sign_flip", "byzantine": 8, "rounds": 40, "learning_rate": 0.3, "batch_size": 64,
    }  # fmt: skip
    configs = [
        config(rule=rule, api=api, **options)
        for rule in ("bygars++", "bygars")
        for api in ("message", "legacy")
    ]
    results = run_all([*configs, config(rule="mean", **options)])
    for result in results:
        assert not isinstance(result, Exception), result
    assert all(result["final_accuracy"] > 0.6 for result in results[:4])
    assert results[4]["final_accuracy"] < 0.3
    for one, other in (results[:2], results[2:4]):
        assert one["parameters_sha256"] == other["parameters_sha256"]
        assert one["rounds"][-1]["reputations"] == other["rounds"][-1]["reputations"]
    scores = results[0]["rounds"][-1]["reputations"]
    assert len(scores) == 8
    assert all(score < 0 for score in scores)
    json.dumps(results[0], allow_nan=False)
    drawn = plot_reputations(results[0], tmp_path / "figure.svg").read_text()
    assert drawn.startswith("<svg")
    assert ">reputation</text>" in drawn
