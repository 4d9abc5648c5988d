"""An app that waits for something that never happens ends with an error in one line."""

import threading
import time
import types

import pytest
from flwr.server.client_manager import SimpleClientManager
from flwr.serverapp.strategy import strategy_utils
from small_app import small_app

from flwr_byzantine.lab import cell as module
from flwr_byzantine.lab import in_process, waiting
from flwr_byzantine.lab.cell import Federation, run_cell
from flwr_byzantine.lab.flower_app import load_flower_app
from flwr_byzantine.lab.in_process import InProcessGrid
from flwr_byzantine.lab.stress_app import _require_an_end

LEGACY = """
from contextlib import contextmanager
import numpy as np
from flwr.common import ndarrays_to_parameters
from flwr.server import Server, ServerApp, ServerAppComponents, ServerConfig, SimpleClientManager
from flwr.server.strategy import FedAvg
class Manager(SimpleClientManager):
    def wait_for(self, num_clients, timeout=86400):
        return super().wait_for(num_clients, timeout)
LIVED = []
def server_fn(context):
    strategy = FedAvg(
        initial_parameters=ndarrays_to_parameters([np.zeros(4, np.float32)]),
        evaluate_fn=lambda r, parameters, config: (0.0, {{"accuracy": float(len(LIVED))}}), {keywords}
    )
    config = ServerConfig(num_rounds=1)
    {end}
app = ServerApp(server_fn=server_fn)
@app.lifespan()
def lifespan(context):
    LIVED.append(1)
    yield
"""
CLIENT = """
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
class Client(NumPyClient):
    def fit(self, parameters, config):
        return [array + 1 for array in parameters], 1, {}
app = ClientApp(client_fn=lambda context: Client().to_client())
"""
ENDS = {
    "strategy": "return ServerAppComponents(strategy=strategy, config=config)",
    "own manager": "return ServerAppComponents(strategy=strategy, config=config, client_manager=Manager())",
    "server": "return ServerAppComponents(config=config, "
    "server=Server(client_manager=Manager(), strategy=strategy))",
}


def run_of(folder, rule="app", attack="none", clients=4, **words):
    """Run an app whose main function has other lines."""
    app = load_flower_app(small_app(folder, **words))
    return run_cell(app, rule, attack, Federation(clients, 1))


def legacy(folder, keywords, end="strategy", rule="app", attack="none"):
    app = small_app(folder)
    text = LEGACY.format(keywords=keywords, end=ENDS[end])
    (app / "tiny" / "server.py").write_text(text)
    (app / "tiny" / "client.py").write_text(CLIENT)
    return run_cell(load_flower_app(app), rule, attack, Federation(4, 1))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("rule", "attack"), [("app", "none"), ("median", "sign_flip")])
def test_a_legacy_app_that_waits_for_more_clients(tmp_path, end, rule, attack):
    threads = threading.active_count()
    run = legacy(tmp_path, "min_available_clients=5", end, rule, attack)
    assert run.error == "TimeoutError: the server waits for 5 nodes, but there are only 4"
    wait = vars(SimpleClientManager)["wait_for"]
    assert wait.__module__ == "flwr.server.client_manager"
    deadline = time.monotonic() + 15
    while threading.active_count() > threads:  # Flower's thread looks for clients every 5 seconds
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("end", ENDS)
def test_a_legacy_app_whose_clients_are_there(tmp_path, end):
    run = legacy(tmp_path, "min_available_clients=4, min_fit_clients=4, fraction_evaluate=0.0", end)
    assert run.error is None
    assert run.curves["server"][1]["accuracy"] == 1  # its lifespan began


def test_a_legacy_app_that_asks_more_clients_than_there_are(tmp_path):
    run = legacy(tmp_path, "min_available_clients=2, min_fit_clients=5")
    assert run.error == "no node trained: the server asked none of the 4 nodes to train"


@pytest.mark.parametrize("nodes", ["in this process", "elsewhere"])
@pytest.mark.parametrize(("rule", "attack"), [("app", "none"), ("median", "sign_flip")])
def test_an_app_of_the_message_api_that_waits_for_more_nodes(
    tmp_path, monkeypatch, rule, attack, nodes
):
    began = time.monotonic()
    if nodes == "elsewhere":  # a grid that always answers, however often it is asked
        monkeypatch.setattr(InProcessGrid, "get_node_ids", lambda grid: list(grid.contexts))
    end = "FedAvg(min_available_nodes=5).start(grid, ArrayRecord(model()), 1)"
    run = run_of(tmp_path, rule, attack, end=end)
    assert run.error == "TimeoutError: the server waits for more than 4 nodes, but there are only 4"
    with pytest.raises(ValueError, match=r"only 4\. Pass more `clients`"):
        _require_an_end(run)
    assert strategy_utils.sleep is time.sleep
    assert time.monotonic() - began < in_process.PATIENCE or nodes == "elsewhere"


def test_a_loop_that_waits_for_replies_that_it_has_had(tmp_path):
    end = (
        "from flwr.app import Message, RecordDict\n"
        "    sent = [Message(RecordDict(), node, 'query') for node in grid.get_node_ids()]\n"
        "    ids = list(grid.push_messages(sent))\n"
        "    assert len(list(grid.pull_messages(ids))) == 4\n"
        "    while not list(grid.pull_messages(ids)): pass\n"
    )
    run = run_of(tmp_path, end=end)
    assert run.error == "TimeoutError: the server waits for replies that will never come"


def test_replies_that_may_come_are_waited_for():
    late = types.SimpleNamespace(pulls=0)

    class Slow(in_process.InProcessGrid):
        def pull_messages(self, message_ids):
            late.pulls += 1
            return super().pull_messages(message_ids) if late.pulls > 100 else []

    from flwr.app import Message, RecordDict
    from flwr.clientapp import ClientApp

    in_process.as_running_task()
    grid = waiting.PatientGrid(Slow(ClientApp(), 1), 1)
    ids = grid.push_messages([Message(RecordDict(), 1, "query")])
    while not (replies := grid.pull_messages(ids)):
        pass
    assert (len(replies), late.pulls) == (1, 101)


def test_an_app_that_asks_at_the_terminal(tmp_path):
    assert run_of(tmp_path, end="input('Go on?')").error.startswith("EOFError")


def test_an_app_that_waits_is_one_line_for_the_user(tmp_path):
    from flwr_byzantine.lab import stress

    assert module.PatientGrid is waiting.PatientGrid
    app = small_app(
        tmp_path, end="FedAvg(min_available_nodes=30).start(grid, ArrayRecord(model()), 1)"
    )
    with pytest.raises(ValueError, match="more than 4 nodes, but there are only 4") as error:
        stress(app, clients=4, byzantine=1, rules=[], attacks=[], jobs=1)
    assert "\n" not in str(error.value)
