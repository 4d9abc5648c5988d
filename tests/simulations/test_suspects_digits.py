"""Clients with very different digits: no honest client becomes a suspect in any round."""

import numpy as np
import pytest
from flwr.common import parameters_to_ndarrays

from benchmarks import suspicion
from benchmarks.suspicion import FOLDER, TRAINING, strategy_of
from benchmarks.suspicion_federation import Federation, run
from flwr_byzantine.aggregation import watch
from flwr_byzantine.audit import Suspicion


@pytest.mark.parametrize("training", TRAINING)
@pytest.mark.parametrize("rule", ["TrimmedMean", "MultiKrum", "FLTrust"])
def test_honest_clients_with_unequal_digits_are_never_convicted(rule, training):
    """This is the short form of ``python -m benchmarks.suspicion honest``."""
    federation = Federation(9, 5, TRAINING[training])
    strategy = strategy_of(rule, None if rule == "FLTrust" else 3, federation)
    accuracy = run(strategy, federation, 25)
    assert strategy.suspects == set()
    assert not any(record.stands_out for record in strategy.audit)
    assert accuracy > 0.2


def late(updates, f, rng):
    late.rounds += 1
    return updates[:f] if late.rounds < 18 else np.zeros_like(updates[:f])


def test_attackers_that_stop_training_late_convict_nobody():
    """By then small clients have converged, so the usual size shrinks most."""
    for seed in range(3):
        late.rounds = 0
        federation = Federation(9, seed, TRAINING["5 epochs"])
        strategy = strategy_of("TrimmedMean", 4, federation)
        run(strategy, federation, 25, 4, late)
        assert strategy.suspects == set()


def test_the_federation_hands_models_on():
    federation = Federation(5, 0, TRAINING["1 epoch"])
    strategy = strategy_of("Median", None, federation)
    run(strategy, federation, 2)
    assert len(parameters_to_ndarrays(strategy._given)) == 4


def test_the_measurement_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(watch, "measures", watch.measures)  # to restore it after the test
    suspicion.honest(1, tmp_path)
    suspicion.honest(2, tmp_path)
    assert capsys.readouterr().out.split() == ["0", "0", "0", "1", "0", "0"]
    kept = suspicion._read(tmp_path / "honest.jsonl")
    assert [run["seed"] for run in kept] == [0, 1]
    assert all(
        1 <= ratio < 50
        for run in kept
        for name, ratio in run["ratios"].items()
        if "half" not in name
    )


def test_what_the_documentation_says_was_measured(tmp_path):
    """In 500 runs no honest client is a suspect, and honest sizes are far below the limit."""
    runs = suspicion._read(FOLDER / "honest.jsonl")
    assert len(runs) == 500
    assert not any(run["honest_convicted"] for run in runs)
    largest = {name: max(run["ratios"][name] for run in runs) for name in runs[0]["ratios"]}
    usual = Suspicion()
    assert (
        max(v for name, v in largest.items() if "third" in name or "median" in name)
        < usual.factor / 2
    )
    assert max(v for name, v in largest.items() if "half" in name) < usual.wide_factor / 2
    found = suspicion.detection(FOLDER)
    assert all(parts["honest"] == 0 for parts in found.values())
    assert all(found[name]["attackers"] == 0 for name in suspicion.INSIDE)
    assert all(found[s]["attackers"] == 1 for s in suspicion.STRENGTHS if s >= 200)
    suspicion.chart(FOLDER, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_text() == (FOLDER.parents[1] / "suspects.svg").read_text()
