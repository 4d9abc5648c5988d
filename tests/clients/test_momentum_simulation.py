"""Worker momentum on Ray, where clients are built anew in each round, in any process."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

from flwr_byzantine.clients import MomentumClient, momentum_mod, serve_both_apis
from simulations.federation.server import wait_for_clients

pytestmark = [pytest.mark.slow, pytest.mark.ray]

CLIENTS, ROUNDS, BETA = 3, 4, 0.5


def answers(client_app):
    """What each client sends in each round, for a model that is the number of the round."""
    sent = {}
    server_app = ServerApp()

    @server_app.main()
    def main(grid, context):
        wait_for_clients(grid, CLIENTS)
        for t in range(1, ROUNDS + 1):
            arrays = ArrayRecord([np.full(2, t, np.float32)])
            content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": t})})
            messages = [Message(content, node, "train") for node in grid.get_node_ids()]
            for reply in grid.send_and_receive(messages):
                metrics = reply.content["metrics"]
                model = reply.content["arrays"].to_numpy_ndarrays()[0]
                sent[t, metrics["partition-id"]] = model.tolist()

    resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 2}}
    run_simulation(server_app, client_app, CLIENTS, backend_config=resources)
    return sent


@pytest.mark.parametrize("kind", ["wrapper", "mod"])
def test_the_momentum_lasts_from_round_to_round_in_ray(kind):
    class Trainer(NumPyClient):
        """A client whose update is its number plus one, times the square of the round."""

        def __init__(self, number):
            self.number = number

        def fit(self, parameters, config):
            update = (self.number + 1) * config["server-round"] ** 2
            metrics = {"partition-id": self.number}
            return [p + np.float32(update) for p in parameters], 10, metrics

    def client_fn(context):
        client = Trainer(int(context.node_config["partition-id"]))
        if kind == "wrapper":
            client = MomentumClient(client, BETA, context=context)
        return client.to_client()

    mods = [serve_both_apis] if kind == "wrapper" else [momentum_mod(BETA), serve_both_apis]
    sent = answers(ClientApp(client_fn=client_fn, mods=mods))
    assert len(sent) == CLIENTS * ROUNDS
    momentum = [1, 2.5, 5.75, 10.875]  # for the updates 1, 4, 9, 16
    for (t, number), model in sent.items():
        assert model == [t + (number + 1) * momentum[t - 1]] * 2
