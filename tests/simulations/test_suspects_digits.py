"""Suspects among clients whose digits differ much: nobody honest is one, in no round."""

import numpy as np
import pytest
from flwr.common import parameters_to_ndarrays

from benchmarks.suspicion import TRAINING, strategy_of
from benchmarks.suspicion_federation import Federation, run


@pytest.mark.parametrize("training", TRAINING)
@pytest.mark.parametrize("rule", ["TrimmedMean", "MultiKrum", "FLTrust"])
def test_honest_clients_with_unequal_digits_are_never_convicted(rule, training):
    """The short form of ``python -m benchmarks.suspicion honest``: no client, in no round."""
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
    """Small clients have converged by then, so that what is usual shrinks most."""
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
