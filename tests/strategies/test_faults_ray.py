"""On Ray, one of ten clients sends another malformed reply in each round. The model stays accurate."""

import numpy as np
import pytest
from flower import FitApi, TrainApi
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.client import Client
from flwr.clientapp import ClientApp
from flwr.common import (
    Code,
    EvaluateRes,
    FitRes,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server import Server, ServerAppComponents, ServerConfig, SimpleClientManager
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation
from hostile import (
    LIES,
    MALFORMED,
    NAN,
    RECORDS,
    SEEN_RECORDS,
    fit_result,
    other_records,
    record_dict,
)
from sklearn.datasets import load_digits

from flwr_byzantine import rules

pytestmark = [pytest.mark.slow, pytest.mark.ray]

CLIENTS, HOSTILE = 10, 3
KINDS = ["raises", *LIES]
RECORD_KINDS = [*KINDS, *RECORDS]


def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return (x[order] / 16).astype(np.float32), y[order]


def initial():
    return {"w": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)}


def train(model, partition, steps=20):
    """Softmax regression on a tenth of the first 1,500 digits."""
    x, y = digits()
    x, y = x[:1500][partition::CLIENTS], y[:1500][partition::CLIENTS]
    w, b = model["w"], model["b"]
    for _ in range(steps):
        scores = np.exp(x @ w + b)
        error = scores / scores.sum(axis=1, keepdims=True) - np.eye(10, dtype=np.float32)[y]
        w, b = w - 0.5 * x.T @ error / len(x), b - 0.5 * error.mean(axis=0)
    return {"w": w.astype(np.float32), "b": b.astype(np.float32)}


def accuracy(model):
    x, y = digits()
    return ((x[1500:] @ model["w"] + model["b"]).argmax(axis=1) == y[1500:]).mean()


def lie_of(server_round, trained, kinds):
    """The kind of the hostile client's reply in a round, and the reply."""
    kind = kinds[(server_round - 1) % len(kinds)]
    if kind == "raises":
        raise RuntimeError("hostile")
    return kind, LIES[kind](trained) if kind in LIES else LIES["NaN"](trained)


def message_app():
    app = ClientApp()

    @app.train()
    def _(message, context):
        arrays = message.content["arrays"]
        names, partition = list(arrays), int(context.node_config["partition-id"])
        trained = train(dict(zip(names, arrays.to_numpy_ndarrays(), strict=True)), partition)
        if partition == HOSTILE:
            server_round = message.content["config"]["server-round"]
            kind, lie = lie_of(server_round, trained, RECORD_KINDS)
            content = RecordDict(other_records(lie)[kind]) if kind in RECORDS else record_dict(lie)
            return Message(content, reply_to=message)
        record = ArrayRecord(dict(zip(names, map(Array, trained.values()), strict=True)))
        metrics = MetricRecord({"num-examples": 10, "loss": 0.5})
        return Message(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def _(message, context):
        hostile = int(context.node_config["partition-id"]) == HOSTILE
        odd = message.content["config"]["server-round"] % 2
        loss, count = ((NAN, 1e30)[odd], 10**15) if hostile else (0.5, 10)
        metrics = MetricRecord({"num-examples": count, "loss": loss})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


class FitClient(Client):
    """A client of the ``aggregate_fit`` API."""

    def __init__(self, partition):
        self.partition = partition

    def fit(self, ins):
        model = dict(zip(initial(), parameters_to_ndarrays(ins.parameters), strict=True))
        trained = train(model, self.partition)
        if self.partition == HOSTILE:
            return fit_result(lie_of(ins.config["round"], trained, KINDS)[1])
        parameters = ndarrays_to_parameters(list(trained.values()))
        return FitRes(Status(Code.OK, ""), parameters, 10, {"loss": 0.5})

    def evaluate(self, ins):
        hostile = self.partition == HOSTILE
        return EvaluateRes(
            Status(Code.OK, ""), NAN if hostile else 0.5, 10**15 if hostile else 10, {}
        )


def fit_app():
    return ClientApp(client_fn=lambda context: FitClient(int(context.node_config["partition-id"])))


def simulate(server_app, client_app):
    resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 2}}
    run_simulation(server_app, client_app, CLIENTS, backend_config=resources)


def check(robust, model, losses, kinds):
    """Check that the model is accurate, and that the hostile client is named for each malformed reply."""
    assert accuracy(model) > 0.9
    assert losses == pytest.approx([0.5] * len(kinds))
    rejected = {r.round: r for r in robust.audit if r.verdict == "dropped"}
    assert len({record.client for record in rejected.values()}) == 1
    malformed = {*MALFORMED, *RECORDS} - SEEN_RECORDS
    assert set(rejected) == {i + 1 for i, kind in enumerate(kinds) if kind in malformed}


def by_a_strategy(grid, arrays):
    strategy = TrainApi.ours.Phocas(num_malicious_nodes=1, min_available_nodes=CLIENTS)
    return strategy, strategy.start(grid, arrays, len(RECORD_KINDS))


def by_the_grid(grid, arrays):
    robust = TrainApi.ours.RobustGrid(grid, rule=rules.Phocas(1))
    strategy = TrainApi.theirs.FedAvg(min_available_nodes=CLIENTS)
    return robust, strategy.start(robust, arrays, len(RECORD_KINDS))


@pytest.mark.parametrize("run", [by_a_strategy, by_the_grid])
def test_the_message_api(run):
    results = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid, context):
        results.append(run(grid, ArrayRecord({k: Array(v) for k, v in initial().items()})))

    simulate(server_app, message_app())
    ((robust, result),) = results
    model = dict(zip(initial(), result.arrays.to_numpy_ndarrays(), strict=True))
    losses = [metrics["loss"] for metrics in result.evaluate_metrics_clientapp.values()]
    assert len(losses) == len(RECORD_KINDS)
    check(robust, model, losses, RECORD_KINDS)


def test_the_aggregate_fit_api():
    strategy = FitApi.ours.Phocas(
        num_malicious_clients=1,
        min_available_clients=CLIENTS,
        initial_parameters=ndarrays_to_parameters(list(initial().values())),
        on_fit_config_fn=lambda server_round: {"round": server_round},
    )
    server = Server(client_manager=SimpleClientManager(), strategy=strategy)
    server.set_max_workers(CLIENTS)
    history = []
    fit = server.fit
    server.fit = lambda *args, **kwargs: history.append(fit(*args, **kwargs)) or history[0]
    config = ServerConfig(num_rounds=len(KINDS))
    components = ServerAppComponents(server=server, config=config)
    simulate(ServerApp(server_fn=lambda context: components), fit_app())
    model = dict(zip(initial(), parameters_to_ndarrays(server.parameters), strict=True))
    losses = [loss for _, loss in history[0][0].losses_distributed]
    assert len(losses) == len(KINDS)
    check(strategy, model, losses, KINDS)
