"""One party of a federation over ``start_server`` and ``start_client``.

``python legacy_run.py server ADDRESS RULE CLIENTS ROUNDS`` prints the final model's distance from what honest
clients want, as JSON. ``python legacy_run.py clients ADDRESS ROLE...`` takes part, with each client in a
thread, until the server is done.
"""

import json
import sys
from functools import partial
from threading import Thread

import numpy as np
from flwr.client import NumPyClient, start_client
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerConfig, start_server
from flwr.server.strategy import FedAvgM

from flwr_byzantine import ByzantineRobust, MultiKrum, TrimmedMean
from flwr_byzantine.rules import Median

TARGET = np.arange(12, dtype=np.float32).reshape(3, 4)
START = [np.zeros((3, 4), np.float32), np.zeros(4, np.float32)]


def make(rule, **options):
    """The strategy of a name."""
    if rule == "wrapped":
        return ByzantineRobust(FedAvgM(server_momentum=0.1, **options), Median())
    return {"trimmed": TrimmedMean, "krum": MultiKrum}[rule](num_malicious_clients=2, **options)


class Client(NumPyClient):
    """A client that goes half of the way to the target, or somewhere else."""

    def __init__(self, role):
        self.role = role

    def fit(self, parameters, config):
        """Return a model."""
        step = (TARGET - parameters[0]) / 2
        if self.role == "hostile":
            return [parameters[0] - 100 * step, parameters[1] + 1e20], 10**15, {}
        if self.role == "malformed":
            return [parameters[0][:1]], 10, {}
        return [parameters[0] + step, parameters[1]], 10, {}


def serve(address, rule, clients, rounds):
    """Run the server."""
    final = {}

    def evaluate(server_round, model, config):
        final["model"] = model
        return 0.0, {}

    strategy = make(
        rule,
        min_fit_clients=clients,
        min_available_clients=clients,
        fraction_evaluate=0.0,
        initial_parameters=ndarrays_to_parameters(START),
        evaluate_fn=evaluate,
    )
    start_server(
        server_address=address,
        config=ServerConfig(num_rounds=rounds, round_timeout=60),
        strategy=strategy,
    )
    weights, bias = final["model"]
    distance = max(float(np.abs(weights - TARGET).max()), float(np.abs(bias).max()))
    print(json.dumps({"distance": distance}))


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
    else:
        for role in sys.argv[3:]:
            take_part = partial(start_client, server_address=sys.argv[2])
            Thread(target=take_part, kwargs={"client": Client(role).to_client()}).start()
