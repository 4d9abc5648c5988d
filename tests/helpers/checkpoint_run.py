"""Small federations in one process, with Flower's own server loops. As a program, one is killed many times.

``python checkpoint_run.py API KIND FOLDER ROUNDS KILLS SEED`` trains in a child process that is killed with
SIGKILL at random moments and started again, until it ends. It prints what it saw as JSON.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from flower import APIS, Proxy, message, running_task
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import Server, SimpleClientManager

from flwr_byzantine import rules
from flwr_byzantine.resume.checkpoint import Checkpoints

CLIENTS = 8
OPTIMISERS = {
    "FedAvg": {},
    "FedAvgM": {"server_momentum": 0.9, "server_learning_rate": 0.5},
    "FedAdam": {},
    "FedYogi": {},
    "FedAdagrad": {},
}


def initial(size):
    rng = np.random.default_rng(0)
    return [rng.normal(size=size).astype(np.float32), rng.normal(size=(3, 2)), np.array(5)]


def train(node, server_round, model):
    """What a client answers. The same question gets the same answer."""
    rng = np.random.default_rng([node, server_round])
    steps = [0.1 * array + 0.01 * rng.normal(size=array.shape) for array in model]
    moved = [np.asarray(a - s).astype(a.dtype) for a, s in zip(model, steps, strict=True)]
    return (
        [np.full_like(a, 1e20) if a.dtype.kind == "f" else a for a in moved] if node == 0 else moved
    )


class Client(Proxy):
    """A client of the ``aggregate_fit`` API."""

    def __init__(self, node, on_train):
        super().__init__(str(node))
        self.node, self.on_train = node, on_train

    def fit(self, ins, timeout, group_id):
        self.on_train(ins.config["round"])
        trained = train(self.node, ins.config["round"], parameters_to_ndarrays(ins.parameters))
        return FitRes(Status(Code.OK, ""), ndarrays_to_parameters(trained), 10, {"loss": 1.0})

    def reconnect(self, ins, timeout, group_id):
        raise NotImplementedError


class Grid:
    """A grid with nodes of the Message API."""

    def __init__(self, on_train):
        self.on_train = on_train

    def get_node_ids(self):
        return list(range(CLIENTS))

    def send_and_receive(self, messages, *, timeout=None):
        return [self.answer(sent) for sent in messages]

    def answer(self, sent):
        node, server_round = sent.metadata.dst_node_id, sent.content["config"]["server-round"]
        self.on_train(server_round)
        arrays = sent.content["arrays"]
        trained = train(node, server_round, arrays.to_numpy_ndarrays())
        record = ArrayRecord({k: Array(t) for k, t in zip(arrays, trained, strict=True)})
        metrics = MetricRecord({"num-examples": 10, "loss": 1.0})
        return message(node, RecordDict({"arrays": record, "metrics": metrics}))


class Auxiliary:
    """An auxiliary loss on the server: half the squared norm of the model."""

    def __call__(self, parameters, server_round):
        return [array if array.dtype.kind == "f" else None for array in parameters]

    def loss(self, parameters, server_round):
        return sum(float((array.astype(float) ** 2).sum()) for array in parameters) / 2


def make(api, kind, size, **options):
    """Make a strategy: that of a rule's name, or an optimiser behind Phocas."""
    legacy = api.name == "fit"
    arguments: dict[str, Any] = {"fraction_evaluate": 0.0, f"min_available_{api.clients}": CLIENTS}
    if legacy:
        arguments["on_fit_config_fn"] = lambda server_round: {"round": server_round}
        arguments["initial_parameters"] = ndarrays_to_parameters(initial(size))
    if kind in OPTIMISERS:
        wrapped = getattr(api.theirs, kind)(**arguments, **OPTIMISERS[kind])
        return api.ours.ByzantineRobust(wrapped, rules.Phocas(2), **options)
    own = {"auxiliary": Auxiliary()} if kind.startswith(("ByGARS", "FLTrust")) else {api.f_name: 1}
    return getattr(api.ours, kind)(**own, **arguments, **options)


def run(api, strategy, rounds, size=40, on_train=lambda server_round: None, evaluate=None):
    """Train for some rounds, and return the final model."""
    if api.name == "fit":
        manager = SimpleClientManager()
        for node in range(CLIENTS):
            manager.register(Client(node, on_train))
        aggregate = strategy.aggregate_fit
        strategy.aggregate_fit = lambda *round: (raise_first(round[2]), aggregate(*round))[1]
        server = Server(client_manager=manager, strategy=strategy)
        server.set_max_workers(1)
        server.fit(rounds, None)
        return parameters_to_ndarrays(server.parameters)
    arrays = ArrayRecord({str(i): Array(a) for i, a in enumerate(initial(size))})
    with running_task():
        result = strategy.start(Grid(on_train), arrays, rounds, evaluate_fn=evaluate)
    return result.arrays.to_numpy_ndarrays()


def raise_first(failures):
    """Raise what a client raised to end the run, because Flower takes it for a failure of the client."""
    for failure in failures:
        if not isinstance(failure, Exception):
            raise failure


def same_bits(a, b):
    return len(a) == len(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(a, b, strict=True)
    )


def child(api, kind, folder, rounds, size):
    """Train in a forked process. Write each finished round to a file, and the model to another."""
    progress = os.open(folder / "done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def on_train(server_round):
        os.write(progress, f"{server_round - 1}\n".encode())

    pid = os.fork()
    if pid:
        return pid
    try:
        strategy = make(api, kind, size, checkpoint=folder / "run", audit_log=folder / "audit")
        model = run(api, strategy, rounds, size, on_train)
        with (folder / "final.partial").open("wb") as file:
            np.savez(file, *model)
        os.replace(folder / "final.partial", folder / "final")
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(name, kind, folder, rounds, kills, seed):
    api = next(api for api in APIS if api.name == name)
    size, folder = 20_000, Path(folder)
    start = time.perf_counter()
    expected = run(api, make(api, kind, size), rounds, size)
    length = (time.perf_counter() - start) / rounds
    rng, seen, report = random.Random(seed), 0, {"kills": 0, "lost": [], "resumed": []}
    while not (folder / "final").exists():
        pid = child(api, kind, folder, rounds, size)
        if report["kills"] < kills:
            time.sleep(rng.uniform(0, 4 * length))
            os.kill(pid, signal.SIGKILL)
            report["kills"] += 1
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise RuntimeError("training failed: see above")
        done = [int(line) for line in (folder / "done").read_text().split()] or [0]
        found = Checkpoints(folder / "run").load()
        kept = found.server_round if found else 0
        if kept < max(seen, *done, 0):
            report["lost"].append([kept, seen, max(done)])
        report["resumed"].append(kept)
        seen = max(seen, kept)
    with np.load(folder / "final") as arrays:
        report["same"] = same_bits(list(arrays.values()), expected)
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
