"""Runs with poisoned data, pauses, and attacks that remember, on both engines and in both APIs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from flwr_byzantine.attacks import Backdoor, ColludingAttack, ModelAttack, Remembering
from simulations.catalog import attacks
from simulations.catalog.attacks import plan_attack
from simulations.commands.cli import app
from simulations.config import RunConfig
from simulations.federation.runner import run_all
from simulations.measure.detection import verdicts
from simulations.measure.summary import summarise
from simulations.torch_model import classes

pytestmark = [pytest.mark.torch, pytest.mark.timeout(300)]

SHORT = {"clients": 6, "byzantine": 2, "rule": "mean", "rounds": 3, "local_steps": 2}


@dataclass(frozen=True)
class Drift(Remembering, ModelAttack):
    """Follows the last step of the model, with noise that is drawn once."""

    def __call__(self, model, rng):
        self.memory.setdefault("noise", rng.normal(size=model.size).astype(model.dtype))
        step = model - self.memory.get("last", model)
        self.memory["last"] = model
        return step + self.memory["noise"] / 10


@dataclass(frozen=True)
class Follow(Remembering, ColludingAttack):
    """Opposes the sum of the honest means of all rounds so far."""

    def __call__(self, honest, num_attackers, rng):
        past = self.memory.setdefault("sum", np.zeros(honest.shape[1], honest.dtype))
        past += honest.mean(axis=0)
        return np.stack([-past] * num_attackers)


@pytest.fixture
def remembering(monkeypatch):
    """Register two attacks that remember, by name."""
    monkeypatch.setitem(attacks.ATTACKS, "drift", Drift)
    monkeypatch.setitem(attacks.ATTACKS, "follow", Follow)
    names = (*attacks.ATTACK_NAMES, "drift", "follow")
    monkeypatch.setattr(attacks, "ATTACK_NAMES", names)
    from simulations import config

    monkeypatch.setitem(config.CHOICES, "attack", names)


CASES = [
    {"attack": "drift"},
    {"attack": "drift", "attack_args": "period=1", "payload": "gradients", "local_steps": 1},
    {"attack": "follow"},
    {"attack": "follow", "attack_args": "knows=attackers"},
    {"attack": "random_labels"},
    {"attack": "label_flip", "attack_args": "source=3 target=5"},
    {"attack": "backdoor", "attack_args": "target=7 value=3"},
    {"attack": "backdoor", "attack_args": "target=7 value=3 boost=true"},
    {"attack": "sign_flip", "attack_args": "period=1"},
    {"attack": "poisoned_fl"},
    {"attack": "poisoned_fl", "attack_args": "off=1", "payload": "gradients", "local_steps": 1},
    {"attack": "mimic"},
]


def runs(**changes):
    return [RunConfig(**SHORT | case | changes) for case in CASES]


def models(results):
    for result in results:
        assert not isinstance(result, Exception), result
        assert [record["num_failed"] for record in result["rounds"]] == [0, 0, 0]
    return [result["parameters_sha256"] for result in results]


def test_both_apis_have_the_same_models(remembering):
    found = models(run_all(runs(), inline=True))
    assert len({*found, *models(run_all([RunConfig(**SHORT)], inline=True))}) == len(CASES) + 1
    assert models(run_all(runs(api="legacy"), inline=True)) == found
    # The runs share their contexts, one after the other. None remembers another run.
    assert models(run_all(runs()[::-1], inline=True)) == found[::-1]


@pytest.mark.slow
@pytest.mark.ray
def test_rays_engine_has_the_same_models():
    known = [run for run in map(dict, CASES) if run["attack"] in attacks.ATTACKS]
    configs = [RunConfig(**SHORT | case) for case in known]
    assert models(run_all(configs)) == models(run_all(configs, inline=True))


def test_what_is_remembered_matters(remembering, monkeypatch):
    usual = models(run_all(runs()[:4], inline=True))
    monkeypatch.setattr("flwr_byzantine.clients.memory.Memory.keep", lambda *_: None)
    forgotten = models(run_all(runs()[:4], inline=True))
    changed = [one != other for one, other in zip(usual, forgotten, strict=True)]
    assert changed == [True, False, True, True]  # the second attacks once, in round 2


def test_attackers_that_remember_cannot_be_redrawn(remembering):
    with pytest.raises(
        ValueError, match="Parameter `redraw` should be False for attackers with a memory"
    ):
        RunConfig(**SHORT, attack="drift", redraw=True)
    with pytest.raises(ValueError, match="Parameter `momentum` should be 0"):
        RunConfig(**SHORT, attack="follow", momentum=0.9, attack_args="period=2")


@pytest.fixture(scope="module")
def backdoor():
    case = {"attack": "backdoor", "attack_args": "target=7 value=3", "eval_every": 10}
    long = SHORT | {"rounds": 20, "local_steps": 5}
    configs = [RunConfig(**long | case | {"rule": rule}) for rule in ("mean", "phocas")]
    return run_all([*configs, RunConfig(**SHORT, attack="random_labels")], inline=True)


def test_the_success_of_a_backdoor_is_recorded_beside_the_accuracy(backdoor):
    mean, phocas, labels = backdoor
    rates = [record.get("attack_success_rate") for record in mean["rounds"]]
    assert rates[0] is None
    assert mean["final_attack_success_rate"] == rates[-1]
    assert rates[-1] > 0.8 > 0.2 > phocas["final_attack_success_rate"]
    assert mean["final_accuracy"] > 0.8
    assert "attack_success_rate" not in labels["rounds"][0]
    assert "final_attack_success_rate" not in labels
    short = summarise(mean, ())
    assert short["final_attack_success_rate"] == rates[-1]
    assert len(short["curves"]["attack_success_rate"]) == 2
    assert "final_attack_success_rate" not in summarise(labels, ())


def test_the_command_shows_the_success_of_a_backdoor(tmp_path, monkeypatch):
    inline = lambda *args, **options: run_all(*args, **options | {"inline": True})  # noqa: E731
    monkeypatch.setattr("simulations.commands.cli.run_all", inline)
    options = ["run", "--attack=backdoor", "--rule=mean", "--clients=4", "--byzantine=1"]
    shown = CliRunner().invoke(app, [*options, "--rounds=2", "--out", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "success" in shown.output
    assert json.loads((tmp_path / "result.json").read_text())["final_attack_success_rate"] >= 0


def test_classes_are_those_of_the_highest_score():
    model = torch.nn.Linear(3, 4)
    samples = torch.rand(9, 3)
    assert torch.equal(classes(model, samples, batch_size=4), model(samples).argmax(1))


def test_pauses_are_no_faults_of_the_rule():
    class Strategy:
        audit = ()

    config = RunConfig(**SHORT, attack="sign_flip", attack_args="period=2")
    everybody = {str(client): client for client in range(config.clients)}
    seen = [verdicts(Strategy, config, number, everybody)["byzantine"] for number in range(1, 7)]
    assert seen == [[], [], [0, 1], [0, 1], [], []]


def test_the_fraction_of_a_backdoor_is_one_of_samples():
    plan = plan_attack("backdoor", {"fraction": 0.25})
    assert plan.attack == Backdoor(fraction=0.25)
    assert plan.fraction == 1
