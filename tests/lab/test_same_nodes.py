"""Runs with and without an attack are compared on the same nodes."""

import pytest
from small_app import small_app

from flwr_byzantine.lab import stress

LEGACY_SERVER = """
import numpy as np
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
def server_fn(context):
    strategy = FedAvg(initial_parameters=ndarrays_to_parameters([np.zeros(4, np.float32)]))
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=1))
app = ServerApp(server_fn=server_fn)
"""
LEGACY_CLIENT = """
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
class Client(NumPyClient):
    def __init__(self, number):
        self.number = number
    def fit(self, parameters, config):
        return [array + 1 for array in parameters], 1, {}
    def evaluate(self, parameters, config):
        return 0.0, 1, {"number": self.number}
app = ClientApp(client_fn=lambda context: Client(context.node_config["partition-id"]).to_client())
"""


def app_of(folder, api):
    app = small_app(folder)
    if api == "legacy":
        (app / "tiny" / "server.py").write_text(LEGACY_SERVER)
        (app / "tiny" / "client.py").write_text(LEGACY_CLIENT)
    return app


@pytest.mark.parametrize("api", ["message", "legacy"])
@pytest.mark.parametrize("seed", [0, 7])
def test_without_an_attack_the_same_nodes_are_left_out(tmp_path, api, seed):
    settings = {"clients": 10, "byzantine": 3, "seed": seed, "jobs": 1, "metric": "number"}
    result = stress(app_of(tmp_path, api), rules=["median"], attacks=["sign_flip"], **settings)
    attackers = result.cell("app", "sign_flip")["byzantine"][0]
    honest = {node for node in range(1, 11) if node not in attackers}
    assert len(honest) == 7
    for cell in result.cells:
        assert {int(node) for node in cell["nodes"]} == honest
        assert cell["final"] == pytest.approx(sum(node - 1 for node in honest) / 7)
    assert result.cell("app", "none")["byzantine"] == []
    losers = result.data["clients_who_lose"]["median"]
    assert {int(node) for node, _ in losers} == honest


def test_without_attackers_nobody_is_left_out(tmp_path):
    result = stress(small_app(tmp_path), rules=[], attacks=[], byzantine=0, clients=4, jobs=1)
    assert len(result.cell("app", "none")["nodes"]) == 4
