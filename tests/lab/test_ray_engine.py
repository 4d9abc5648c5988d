"""Stress tests on Flower's Ray engine: several runs in one process, without any memory of other runs."""

import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import sklearn  # noqa: F401 - the apps have their digits from it
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine.lab import engine, ray_engine
from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task
from flwr_byzantine.lab.prompt_grid import PromptGrid
from flwr_byzantine.lab.ray_engine import CellApp, CellGrid, nodes_by_partition
from flwr_byzantine.lab.simulation import engine as settings_of_ray
from flwr_byzantine.lab.stress_app import stress

APPS = Path(__file__).resolve().parents[1] / "apps"

PROJECT = """
[project]
name = "{name}"
[tool.flwr.app.components]
serverapp = "{name}.server:app"
clientapp = "{name}.client:app"
[tool.flwr.app.config]
num-rounds = 3
step = 1
"""
COUNT = """
def count(context):
    state = context.state.setdefault("memory", ConfigRecord({"calls": 0}))
    state["calls"] += 1
    return {"calls": state["calls"], "step": context.run_config["step"], "records": len(context.state)}
"""
MESSAGE_CLIENT = """
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()
{count}
@app.train()
def train(msg, context):
    print("an app that prints")
    metrics = {{"num-examples": 1, **count(context), "told": int(":" in msg.metadata.group_id)}}
    model = [array + context.run_config["step"] for array in msg.content["arrays"].to_numpy_ndarrays()]
    content = RecordDict({{"arrays": ArrayRecord(model), "metrics": MetricRecord(metrics)}})
    return Message(content, reply_to=msg)
"""
MESSAGE_SERVER = """
import numpy as np
from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
app = ServerApp()
@app.main()
def main(grid, context):
    step, rounds = context.run_config["step"], context.run_config["num-rounds"]
    def evaluate(server_round, arrays):
        if abs(arrays.to_numpy_ndarrays()[0][0] - step * server_round) > 1e-3:
            raise ArithmeticError("the model is wrong")
        return MetricRecord({"accuracy": 1.0})
    FedAvg(fraction_evaluate=0.0).start(
        grid=grid, initial_arrays=ArrayRecord([np.zeros(4, np.float32)]), num_rounds=rounds,
        evaluate_fn=evaluate,
    )
"""
LEGACY_CLIENT = """
from flwr.app import ConfigRecord
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
{count}
class Client(NumPyClient):
    def __init__(self, context):
        self.context = context
    def fit(self, parameters, config):
        step = self.context.run_config["step"]
        return [array + step for array in parameters], 1, {{**count(self.context), "told": 0}}
app = ClientApp(client_fn=lambda context: Client(context).to_client())
"""
LEGACY_SERVER = """
import numpy as np
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
def server_fn(context):
    step, rounds = context.run_config["step"], context.run_config["num-rounds"]
    def evaluate(server_round, parameters, config):
        if abs(parameters[0][0] - step * server_round) > 1e-3:
            raise ArithmeticError("the model is wrong")
        return 0.0, {"accuracy": 1.0}
    strategy = FedAvg(
        fraction_evaluate=0.0, evaluate_fn=evaluate,
        initial_parameters=ndarrays_to_parameters([np.zeros(4, np.float32)]),
    )
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))
app = ServerApp(server_fn=server_fn)
"""
HALVES = {
    "message": (MESSAGE_SERVER, MESSAGE_CLIENT),
    "legacy": (LEGACY_SERVER, LEGACY_CLIENT),
}


@pytest.fixture
def remembering(request, tmp_path):
    """An app whose nodes count their calls, and whose server raises an error under attack."""
    name = f"remembering_{request.param}"
    server, client = HALVES[request.param]
    (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(name=name))
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "server.py").write_text(server)
    (tmp_path / name / "client.py").write_text(client.format(count=COUNT))
    return tmp_path


def runs_of(app, engine, **settings):
    """The result of a stress test, and its runs by rule and attack."""
    runs = {}
    on_run = lambda run, done, total: runs.update({(run.rule, run.attack): run})  # noqa: E731
    return stress(app, engine=engine, on_run=on_run, **settings), runs


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(path.parent.name for path in APPS.glob("*/pyproject.toml")))
def test_ray_comes_to_what_one_process_comes_to(name):
    pairs = {"rules": ["app", "phocas"], "attacks": ["none", "gaussian"]}
    results = {engine: runs_of(APPS / name, engine, **pairs) for engine in ("inline", "ray")}
    for result, runs in results.values():
        assert {run.error for run in runs.values()} == {None}
        ends = {(c["rule"], c["attack"]): c["final"] for c in result.cells}
        assert min(ends["app", "none"], ends["phocas", "none"], ends["phocas", "gaussian"]) > 0.75
        assert ends["app", "gaussian"] < 0.5
    (inline, of_inline), (ray, of_ray) = results.values()
    assert {k: inline.data[k] for k in ("metric", "source", "rounds")} == {
        k: ray.data[k] for k in ("metric", "source", "rounds")
    }
    assert of_inline.keys() == of_ray.keys()
    for pair, run in of_inline.items():
        assert run.byzantine == of_ray[pair].byzantine
        assert of_ray[pair].nodes.keys() <= set(range(1, 11))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(400)
@pytest.mark.parametrize("remembering", HALVES, indirect=True)
def test_runs_on_ray_share_no_state_and_a_failing_one_ends_nothing(remembering, tmp_path, capfd):
    settings = {"rules": ["app", "median"], "attacks": ["none", "sign_flip"], "clients": 5}
    settings |= {"config": {"step": 2}, "out": tmp_path / "out"}
    result, runs = runs_of(remembering, "ray", **settings)
    assert [(pair, run.error) for pair, run in runs.items()] == [
        (("app", "none"), None),
        (("app", "sign_flip"), "ArithmeticError: the model is wrong"),
        (("median", "none"), None),
        (("median", "sign_flip"), None),
    ]
    for run in runs.values():
        calls = [(r, metrics["calls"]) for r, metrics in run.curves["training"].items()]
        assert calls == [(r, r) for r in range(1, (1 if run.error else 3) + 1)]
        for metrics in run.curves["training"].values():
            assert (metrics["step"], metrics["records"], metrics["told"]) == (2, 1, 0)
    assert "an app that prints" not in capfd.readouterr().out
    assert "--engine ray" in result.data["command"]
    again, repeated = runs_of(remembering, "ray", **settings)
    assert [*repeated] == [("app", "sign_flip")]  # the other cells are not run again
    assert len(again.cells) == 4


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(200)
@pytest.mark.parametrize("remembering", ["message"], indirect=True)
def test_ctrl_c_ends_a_stress_test_and_everything_it_started(remembering, tmp_path):
    command = [sys.executable, "-m", "flwr_byzantine", "stress", remembering, "--engine", "ray"]
    command += ["--rounds", "100000", "--verbose", "--out", tmp_path / "out"]
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert any("[ROUND 3" in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    deadline = time.monotonic() + 30
    while left := subprocess.run(
        ["ps", "-s", str(process.pid), "-o", "args="], capture_output=True, check=False
    ).stdout:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("remembering", ["message"], indirect=True)
def test_an_error_of_the_caller_is_the_callers(remembering):
    def on_run(run, done, total):
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        stress(remembering, engine="ray", on_run=on_run, clients=5)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'flwr-byzantine\[lab\]'") as error:
        stress(APPS / "raw_loop", engine="ray")
    assert "\n" not in str(error.value)
    assert "`engine` should be 'inline' if Ray is not installed" in str(error.value)


def test_another_engine_is_unknown():
    with pytest.raises(ValueError, match=r"`engine` should be 'inline' or 'ray'\. Found `engine ="):
        stress(APPS / "raw_loop", engine="spark")


def test_an_engine_that_fails_is_one_line(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("An error was encountered.\nEnding.") from OSError("no\nroom")

    monkeypatch.setattr(ray_engine, "simulate", fails)
    monkeypatch.setattr(engine, "find_spec", lambda name: True)
    with pytest.raises(
        ValueError, match=r'which failed: no room\. Take `engine="inline"`'
    ) as error:
        stress(APPS / "raw_loop", engine="ray")
    assert "\n" not in str(error.value)


def test_jobs_are_counted():
    with pytest.raises(ValueError, match="`jobs` should be a whole number of at least 1"):
        stress(APPS / "raw_loop", jobs=0)


def asked(group, node=1):
    message = Message(RecordDict(), node, "query", group_id=group)
    vars(message.metadata)["_message_id"] = "1"
    return message


def test_each_run_begins_with_an_empty_state_and_the_apps_own_group():
    app, seen = ClientApp(), []

    @app.query()
    def query(message, context):
        seen.append((message.metadata.group_id, [*context.state], context.run_config["step"]))
        context.state["kept"] = ConfigRecord({"x": 1})
        return Message(RecordDict(), reply_to=message)

    as_running_task()
    node, context = (
        CellApp(app, [{"step": 3}] * 2),
        Context(1, 1, {"partition-id": 0}, RecordDict(), {}),
    )
    for group in ("0:a", "0:b:c", "1:", "1:d"):
        node(asked(group), context)
    assert seen == [("a", [], 3), ("b:c", ["kept"], 3), ("", [], 3), ("d", ["kept"], 3)]
    assert context.run_config == {}  # the engine refuses a node that changes it


def test_nodes_have_the_ids_of_one_process_and_replies_are_waited_for():
    app = ClientApp()
    app.query()(lambda message, context: Message(message.content, reply_to=message))
    as_running_task()
    there = PromptGrid(InProcessGrid(CellApp(app, [{}]), 3), threading.Event())
    assert nodes_by_partition(there) == {1: 1, 2: 2, 3: 3}
    grid = CellGrid(there, "0", {1: 3, 2: 1, 3: 2})
    assert [*grid.get_node_ids()] == [1, 2, 3]
    message = asked("round 1", node=1)
    (reply,) = grid.send_and_receive([message])
    assert (reply.metadata.src_node_id, reply.metadata.group_id) == (1, "round 1")
    assert reply.metadata.reply_to_message_id == message.metadata.message_id
    assert (message.metadata.dst_node_id, message.metadata.group_id) == (1, "round 1")
    (late,) = grid.push_messages([asked("round 2", node=2)])
    grid.drain()
    assert [*grid.pull_messages([late])] == []
    there.stopped.set()
    with pytest.raises(InterruptedError):
        grid.drain()


@pytest.mark.parametrize("verbose", [False, True])
def test_what_ray_tells_of_its_future_is_shown_on_demand(verbose):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with settings_of_ray(verbose, 1):
            where = {"filename": "worker.py", "lineno": 1, "module": "ray._private.worker"}
            warnings.warn_explicit("Tip", FutureWarning, **where)
    assert len(shown) == verbose
