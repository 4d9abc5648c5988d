"""How good a model is for each client, and how large each client's part in it is."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.catalog import datasets
from simulations.config import RunConfig
from simulations.federation.runner import run_all
from simulations.measure.fairness import client_accuracies, mean_used, worst_client

SKEWED = {"clients": 8, "byzantine": 2, "partition": "dirichlet", "alpha": 0.1, "rounds": 3}


def test_a_client_is_worth_the_accuracy_of_its_own_labels():
    config = RunConfig(rule="mean", **SKEWED)
    by_class = [0.1 * label for label in range(10)]
    labels = datasets.load("digits", "data")[0].y.numpy()
    found = client_accuracies(config, by_class)
    for share, accuracy in zip(config.shares(), found, strict=True):
        assert accuracy == pytest.approx(np.mean([by_class[label] for label in labels[share]]))


def test_labels_that_were_not_tested_do_not_count():
    config = RunConfig(rule="mean", **SKEWED)
    assert client_accuracies(config, [None] + [0.5] * 9) == pytest.approx([0.5] * 8)


def test_the_worst_client_is_an_honest_one():
    values = [0.1, 0.2, 0.9, 0.8, 0.7, 0.9, 0.9, 0.9]
    assert worst_client(RunConfig(rule="mean", attack="ipm", **SKEWED), values) == 0.7
    assert worst_client(RunConfig(rule="mean", **SKEWED), values) == 0.1


def test_krum_keeps_little_of_most_clients_without_any_attacker():
    (result,) = run_all([RunConfig(rule="krum", **SKEWED, assumed_byzantine=2)], inline=True)
    parts = mean_used(result["rounds"], 8)
    assert sum(parts) == pytest.approx(1)
    assert max(parts) >= 1 / 3
    assert result["final_worst_client"] == min(result["client_accuracies"])
    overall = np.average(
        result["client_accuracies"],
        weights=[len(share) for share in RunConfig(rule="krum", **SKEWED).shares()],
    )
    assert abs(overall - result["final_accuracy"]) < 0.05  # similar shares of labels
