"""The federation of the demonstration: skewed digits, a network in numpy, inner product manipulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from flwr_byzantine import serverapp
from flwr_byzantine.attacks import InnerProductManipulation
from flwr_byzantine.clients import OmniscientClient, serve_both_apis
from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.clients.wrapper import Config, FitReply, round_of
from flwr_byzantine.lab.engine import INLINE, RAY, run_cells
from flwr_byzantine.lab.simulation import silent
from flwr_byzantine.rules import NearestNeighborMixing
from simulations import numpy_model
from simulations.catalog.dealing import Partition, deal
from simulations.catalog.digits import Samples, digits
from simulations.federation.fedavg import OrderedFedAvg
from simulations.federation.trained_once import TrainedOnce
from simulations.streams import Stream, generator

HIDDEN, CLASSES, PIXELS = 30, 10, 64
RUN = "run"  # the key of the run configuration that holds the number of the run

Curve = list[float]  # accuracies, that of the first model included
OnRound = Callable[[int, float], None]


@dataclass(frozen=True)
class Setting:
    """Who takes part, on which data, and how they train.

    Parameters
    ----------
    clients, byzantine : int
        How many clients there are, and how many of them attack. The first ones attack.
    alpha : float
        The parameter of the Dirichlet distribution of labels. Smaller values make data differ more.
    epsilon : float
        Attackers send the mean of the honest updates times -epsilon.
    """

    clients: int = 20
    byzantine: int = 4
    rounds: int = 25
    steps: int = 8
    batch: int = 32
    learning_rate: float = 0.1
    alpha: float = 0.3
    epsilon: float = 10.0
    seed: int = 0


@dataclass(frozen=True)
class Contender:
    """A strategy of the demonstration.

    Parameters
    ----------
    name : str
        The strategy's name as people write it.
    build : Callable
        ``build(f)`` returns the strategy for f attackers.
    attacked : bool
        Whether the strategy meets the attack.
    expected : bool
        Whether its accuracy has to stay near that of FedAvg without an attack.
    """

    name: str
    build: Callable[[int], Strategy]
    attacked: bool = True
    expected: bool = False


REFERENCE, AVERAGE = "FedAvg, no attack", "FedAvg"
ALONE: dict[str, Any] = {"fraction_evaluate": 0.0}  # only the server evaluates


def _fedavg(_: int) -> Strategy:
    return OrderedFedAvg(**ALONE)


def _told(strategy: Callable[..., Strategy]) -> Callable[[int], Strategy]:
    return lambda f: strategy(num_malicious_nodes=f, **ALONE)


def _mixed_krum(f: int) -> Strategy:
    mixing = NearestNeighborMixing(f)
    return serverapp.Krum(num_malicious_nodes=f, pre_aggregation=mixing, **ALONE)


CONTENDERS = (
    Contender(REFERENCE, _fedavg, attacked=False),
    Contender(AVERAGE, _fedavg),
    Contender("Krum", _told(serverapp.Krum)),
    Contender("Median", lambda _: serverapp.Median(**ALONE)),
    Contender("Phocas", _told(serverapp.Phocas), expected=True),
    Contender("Multi-Krum", _told(serverapp.MultiKrum), expected=True),
    Contender("NNM + Krum", _mixed_krum, expected=True),
)


class DigitsClient(NumPyClient):
    """An honest client, which trains on its own digits.

    Parameters
    ----------
    setting : Setting
        The federation, which says how it trains.
    client_id : int
        The client's number, from 0.
    """

    def __init__(self, setting: Setting, client_id: int) -> None:
        self.setting, self.client_id = setting, client_id

    def fit(self, parameters: Arrays, config: Config) -> FitReply:
        """Train. Seed, number and round decide the minibatches."""
        told = self.setting
        x, y = shares(told)[self.client_id]
        rng = generator(Stream.TRAINING, told.seed, self.client_id, round_of(config))
        model = [array.copy() for array in parameters]
        for _ in range(told.steps):
            batch = rng.integers(len(y), size=told.batch)
            numpy_model.descend(model, x[batch], y[batch], told.learning_rate)
        return model, len(y), {"partition-id": self.client_id}


@cache
def shares(setting: Setting) -> list[Samples]:
    """Return the samples of each client."""
    (x, y), _ = digits()
    how = Partition("dirichlet", alpha=setting.alpha)
    return [Samples(x[own], y[own]) for own in deal(how, y, setting.clients, setting.seed)]


def first_model(setting: Setting) -> Arrays:
    """Return the model that all runs start from."""
    rng = generator(Stream.WEIGHTS, setting.seed)
    return numpy_model.initial_model(PIXELS, HIDDEN, CLASSES, rng)


def client_app(setting: Setting, attacked: Sequence[bool]) -> ClientApp:
    """Return the app of every node. `attacked` says for each run whether some nodes attack."""
    attackers = range(setting.byzantine)
    honest = range(setting.byzantine, setting.clients)

    def make_honest(client_id: int, run: int) -> NumPyClient:
        return TrainedOnce(DigitsClient(setting, client_id), (setting, run), client_id)

    def client_fn(context: Context) -> Client:
        client_id, run = int(context.node_config["partition-id"]), int(context.run_config[RUN])
        if client_id not in attackers or not attacked[run]:
            return make_honest(client_id, run).to_client()
        return OmniscientClient(
            make_honest(client_id, run),
            InnerProductManipulation(setting.epsilon),
            lambda other: make_honest(other, run),
            attackers,
            honest,
            client_id=client_id,
            seed=setting.seed,
            scope=(setting, run),
        ).to_client()

    return ClientApp(client_fn=client_fn, mods=[serve_both_apis])


def accuracies(
    setting: Setting,
    on_round: OnRound,
    contenders: Sequence[Contender] = CONTENDERS,
    *,
    inline: bool = False,
    verbose: bool = False,
) -> dict[str, Curve]:
    """Train with one strategy after the other, on Flower's Ray engine.

    Parameters
    ----------
    setting : Setting
        The federation.
    on_round : Callable
        It is called after each evaluation with the number of the contender and the accuracy.
    contenders : sequence of Contender
        The strategies.
    inline : bool
        Run the clients in this process instead.
    verbose : bool
        Whether to show what Flower logs.

    Returns
    -------
    dict of str to list of float
        The accuracy of the first model and of the model after each round, by the contenders' names.
    """
    curves: list[Curve] = []
    _, test = digits()

    def serve(number: int, grid: Grid) -> None:
        curve: Curve = []

        def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
            curve.append(numpy_model.accuracy(arrays.to_numpy_ndarrays(), *test))
            on_round(number, curve[-1])
            return MetricRecord({"accuracy": curve[-1]})

        contenders[number].build(setting.byzantine).start(
            grid=grid,
            initial_arrays=ArrayRecord(first_model(setting)),
            num_rounds=setting.rounds,
            evaluate_fn=evaluate,
        )
        curves.append(curve)

    app = client_app(setting, [contender.attacked for contender in contenders])
    configs = [{RUN: number} for number in range(len(contenders))]
    engine = INLINE if inline else RAY
    with silent(verbose):
        run_cells(serve, app, configs, setting.clients, engine=engine, verbose=verbose)
    names = [contender.name for contender in contenders]
    return dict(zip(names, curves, strict=True))
