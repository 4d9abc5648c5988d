"""A federation in one process. An attack makes some of its clients Byzantine, or its server plays it."""

import random

import numpy as np
from flwr.app import ArrayRecord
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg as FitFedAvg
from flwr.server.workflow import DefaultWorkflow
from flwr.serverapp.strategy import FedAvg

from flwr_byzantine.attacks import ChannelAttack, ColludingAttack, LocalAttack, ModelAttack, OnOff
from flwr_byzantine.clients import (
    ColludingClient,
    CorruptedChannelClient,
    MaliciousClient,
    OmniscientClient,
    serve_both_apis,
)
from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task, server_context

N, BYZANTINE = 7, (1, 4, 5)
START = [np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), np.array(7), np.ones(2)]


class Trainer(NumPyClient):
    """An honest client with a seed. Its step has noise from (seed, round, number)."""

    def __init__(self, number, payload="parameters"):
        self.number, self.payload = number, payload

    def fit(self, parameters, config):
        rng = np.random.default_rng((3, config["server-round"], self.number))
        trained = [
            np.asarray(p + rng.normal(0.3 * (3 - p), 0.1), p.dtype) if p.dtype.kind == "f" else p
            for p in parameters
        ]
        if self.payload == "gradients":
            trained = [(t - p).astype(p.dtype) for t, p in zip(trained, parameters, strict=True)]
        return trained, 10 + self.number, {"partition-id": self.number}


def wrapped(attack, knows="honest", **options):
    """Make the client of a number and a context, with the attack of the wrappers."""
    inner = attack.attack if isinstance(attack, OnOff) else attack
    payload = options.get("payload", "parameters")

    def make_honest(number):
        return Trainer(number, payload)

    def make(number, context):
        client = make_honest(number)
        common = {"client_id": number, **options}
        if isinstance(inner, ChannelAttack):
            common.pop("payload", None)
            return CorruptedChannelClient(client, attack, N, **common)
        if number not in BYZANTINE:
            return client
        common["context"] = context
        if not isinstance(inner, ColludingAttack):
            assert isinstance(inner, LocalAttack | ModelAttack) or callable(inner)
            return MaliciousClient(client, attack, **common)
        if knows == "attackers":
            return ColludingClient(client, attack, make_honest, BYZANTINE, scope=id(make), **common)
        others = set(range(N)) - set(BYZANTINE)
        return OmniscientClient(
            client, attack, make_honest, BYZANTINE, others, scope=id(make), **common
        )

    return make


def client_app(make):
    def client_fn(context):
        return make(int(context.node_config["partition-id"]), context).to_client()

    return ClientApp(client_fn, mods=[serve_both_apis])


def untouched(payload="parameters"):
    return lambda number, context: Trainer(number, payload)


def run_in_process(serve, app):
    as_running_task()
    serve(InProcessGrid(app, N), server_context())


def message_run(make, around=lambda grid: grid, rounds=3, start=START, app=None):
    """Run the Message API. Return the final model, and the grid."""
    random.seed(0)  # Flower samples nodes, and averages them, in a random order
    found = []

    def serve(grid, context):
        grid = around(grid)
        chosen = FedAvg(min_train_nodes=N, min_available_nodes=N, fraction_evaluate=0)
        result = chosen.start(grid, ArrayRecord(start), rounds)
        found.extend([[a.tobytes() for a in result.arrays.to_numpy_ndarrays()], grid])

    run_in_process(serve, app or client_app(make))
    return found


def fit_strategy(kind=FitFedAvg, start=START, **options):
    return kind(
        min_fit_clients=N, min_available_clients=N, fraction_evaluate=0,
        on_fit_config_fn=lambda server_round: {"server-round": server_round},
        initial_parameters=ndarrays_to_parameters(start), **options,
    )  # fmt: skip


def fit_run(make, around=lambda strategy: strategy, rounds=3, start=START, models=None):
    """Run the `aggregate_fit` API. Return the final model, and the strategy."""
    random.seed(0)
    models = [] if models is None else models
    chosen = around(fit_strategy(start=start, evaluate_fn=lambda r, p, c: models.append(p)))

    def serve(grid, context):
        context = LegacyContext(context, ServerConfig(num_rounds=rounds), chosen)
        DefaultWorkflow()(grid, context)

    run_in_process(serve, client_app(make))
    return [[np.asarray(a).tobytes() for a in models[-1]], chosen]
