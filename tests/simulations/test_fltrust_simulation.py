"""FLTrust in simulations: the server trains as its clients do, and each client gets a trust."""

import json

import pytest
from pydantic import ValidationError

from simulations.config import RunConfig
from simulations.federation import reputation
from simulations.federation.runner import run_all
from simulations.federation.strategies import build_strategy

pytestmark = pytest.mark.torch


def config(**options):
    return RunConfig(**{"rule": "fltrust", "clients": 20, **options})


def test_the_server_trains_as_the_clients_do():
    arguments = reputation.auxiliary_arguments(config(learning_rate=0.3, local_steps=7))
    assert arguments["learning_rate"] == 0.3
    assert arguments["server_steps"] == 7
    assert len(arguments["auxiliary"].y) == config().auxiliary == 250
    told = config(rule_args="server_steps=2 learning_rate=0.5 auxiliary_batch=9", auxiliary=30)
    arguments = reputation.auxiliary_arguments(told)
    assert (arguments["server_steps"], arguments["learning_rate"]) == (2, 0.5)
    assert (arguments["auxiliary"].batch_size, len(arguments["auxiliary"].y)) == (9, 30)
    for api in ("message", "legacy"):
        strategy = build_strategy(config(api=api, payload="gradients", learning_rate=0.3))
        assert strategy.aggregator.server_steps == 1
        assert strategy.aggregator.learning_rate == 0.3
        assert strategy.aggregator.order_by == "partition-id"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rule_args": "gamma=1"}, "made of learning_rate, server_steps, auxiliary_batch"),
        ({"rule_args": "server_steps=0"}, "Parameter `server_steps`"),
        ({"rule_args": "server_steps=2", "payload": "gradients"}, "Parameter `server_steps`"),
        ({"auxiliary": 0}, "Parameter `auxiliary` should be at least 1 for the rule `fltrust`"),
        ({"rule": "nnm+fltrust"}, "Parameter `rule` should end with a rule"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        config(**options)


def test_trains_with_twelve_attackers_of_twenty():
    """Both APIs give the same model, and the trust is in the order of the clients' numbers."""
    options = {"attack": "sign_flip", "byzantine": 12, "rounds": 8, "eval_every": 8}
    configs = [config(api=api, **options) for api in ("message", "legacy")]
    results = run_all([*configs, config(**options | {"rule": "mean"})], inline=True)
    for result in results:
        assert not isinstance(result, Exception), result
    one, other, mean = results
    assert one["parameters_sha256"] == other["parameters_sha256"]
    assert one["final_accuracy"] > 0.5 > 0.3 > mean["final_accuracy"]
    trust = one["rounds"][-1]["trust"]
    assert trust == other["rounds"][-1]["trust"]
    assert len(trust) == 20
    assert max(trust[:12]) < 0.1 < min(trust[12:])
    json.dumps(one, allow_nan=False)
