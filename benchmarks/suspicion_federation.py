"""A federation on digits in numpy, small enough for hundreds of runs of a strategy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import SimpleClientManager
from flwr.server.client_proxy import ClientProxy

from flwr_byzantine.attacks import ColludingAttack, LocalAttack
from simulations.catalog import datasets
from simulations.catalog.partitions import dirichlet_partition

Arrays = list[np.ndarray]
Attack = Callable[[np.ndarray, int, np.random.Generator], np.ndarray] | LocalAttack | None

ALPHA = 0.1
HIDDEN, CLASSES = 30, 10
OK = Status(Code.OK, "")


@dataclass(frozen=True)
class Training:
    """How clients train: so many minibatches, or passes over their data; or one gradient, sent as it is."""

    steps: int | None = 5
    epochs: int = 1
    gradients: bool = False
    batch: int = 32
    rate: float = 0.1


@dataclass
class Federation:
    """Clients with Dirichlet(0.1) shares of the digits.

    Parameters
    ----------
    clients, seed
        How many there are, and what all is drawn from.
    training : Training
        How they train.
    """

    clients: int
    seed: int
    training: Training
    shares: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        train, test = datasets.load("digits", "data")
        self.x, self.y = train.x.numpy().reshape(len(train.y), -1), train.y.numpy()
        self.test = test.x.numpy().reshape(len(test.y), -1), test.y.numpy()
        self.rng = np.random.default_rng([self.seed, 23])
        server = self.rng.permutation(len(self.y))
        self.own, rest = server[:250], server[250:]
        shares = dirichlet_partition(self.y[rest], self.clients, self.seed, ALPHA)
        self.shares = [rest[share] for share in shares]

    def first(self) -> Arrays:
        """A model to start from."""
        rng = np.random.default_rng([self.seed, 7])
        sizes = [(self.x.shape[1], HIDDEN), (HIDDEN, CLASSES)]
        model = []
        for size in sizes:
            model.append((rng.normal(size=size) / np.sqrt(size[0])).astype(np.float32))
            model.append(np.zeros(size[1], np.float32))
        return model

    def auxiliary(self, model: Arrays, server_round: int) -> Arrays:
        """The gradient on the server's own data."""
        return gradient(model, self.x[self.own], self.y[self.own])

    def trained(self, client: int, model: Arrays) -> Arrays:
        """What an honest client sends."""
        told, share = self.training, self.shares[client]
        if told.gradients:
            chosen = self.rng.choice(share, min(told.batch, len(share)), replace=False)
            return gradient(model, self.x[chosen], self.y[chosen])
        own = [array.copy() for array in model]
        steps = told.steps or told.epochs * self._batches_of(share)
        for part in islice(self._batches(share), steps):
            for array, step in zip(own, gradient(own, self.x[part], self.y[part]), strict=True):
                array -= told.rate * step
        return own

    def _batches_of(self, share: np.ndarray) -> int:
        return max(1, -(-len(share) // self.training.batch))

    def _batches(self, share: np.ndarray) -> Iterator[np.ndarray]:
        while True:
            yield from np.array_split(self.rng.permutation(share), self._batches_of(share))

    def accuracy(self, model: Arrays) -> float:
        """On the test set."""
        return float((logits(model, self.test[0])[1].argmax(axis=1) == self.test[1]).mean())


def logits(model: Arrays, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hidden values and outputs."""
    hidden = np.maximum(x @ model[0] + model[1], 0)
    return hidden, hidden @ model[2] + model[3]


def gradient(model: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    """Of the mean cross entropy."""
    hidden, out = logits(model, x)
    out = np.exp(out - out.max(axis=1, keepdims=True))
    out /= out.sum(axis=1, keepdims=True)
    out[np.arange(len(y)), y] -= 1
    out /= len(y)
    back = (out @ model[2].T) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ out, out.sum(axis=0)]


class Node(ClientProxy):
    """A client that is never called."""

    def _nothing(self, *arguments: Any) -> Any:
        raise AssertionError("the run trains its clients itself")

    get_properties = get_parameters = fit = evaluate = reconnect = _nothing


def run(
    strategy: Any, federation: Federation, rounds: int, byzantine: int = 0, attack: Attack = None
) -> float:
    """Play rounds; the first clients are Byzantine. Gives the final accuracy."""
    model, n = federation.first(), federation.clients
    manager = SimpleClientManager()
    nodes = [Node(str(i)) for i in range(n)]
    for node in nodes:
        manager.register(node)
    rng = np.random.default_rng([federation.seed, 99])
    for server_round in range(1, 1 + rounds):
        strategy.configure_fit(server_round, ndarrays_to_parameters(model), manager)
        sent = [federation.trained(client, model) for client in range(n)]
        if byzantine:
            base = [0 * w for w in model] if federation.training.gradients else model
            sent[:byzantine] = attacked(sent, base, byzantine, attack, rng)
        results = [
            (node, FitRes(OK, ndarrays_to_parameters(arrays), 10, {}))
            for node, arrays in zip(nodes, sent, strict=True)
        ]
        parameters, _ = strategy.aggregate_fit(server_round, results, [])
        if parameters is not None:
            model = parameters_to_ndarrays(parameters)
    return federation.accuracy(model)


def attacked(
    sent: Sequence[Arrays], base: Arrays, byzantine: int, attack: Attack, rng: np.random.Generator
) -> list[Arrays]:
    """What the attackers send in the place of their own updates."""
    start = np.concatenate([array.ravel() for array in base])
    rows = np.array([np.concatenate([array.ravel() for array in arrays]) for arrays in sent])
    updates = rows.astype(np.float64) - start
    if isinstance(attack, LocalAttack):
        made = [attack(updates[i], rng) for i in range(byzantine)]
    elif isinstance(attack, ColludingAttack):
        found = np.asarray(attack(updates[byzantine:], byzantine, rng))
        made = list(found) if found.ndim == 2 else [found] * byzantine
    elif callable(attack):
        made = list(attack(updates, byzantine, rng))
    else:
        made = list(updates[:byzantine])
    cuts = np.cumsum([array.size for array in base])[:-1]
    with np.errstate(over="ignore"):
        return [
            [
                part.reshape(array.shape).astype(array.dtype)
                for part, array in zip(np.split(start + update, cuts), base, strict=True)
            ]
            for update in made
        ]
