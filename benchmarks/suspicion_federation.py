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
from simulations.catalog.dealing import Partition, deal
from simulations.catalog.digits import digits
from simulations.numpy_model import accuracy, descend, gradient, initial_model

Arrays = list[np.ndarray]
Attack = Callable[[np.ndarray, int, np.random.Generator], np.ndarray] | LocalAttack | None

ALPHA = 0.1
HIDDEN, CLASSES = 30, 10
OK = Status(Code.OK, "")


@dataclass(frozen=True)
class Training:
    """How clients train. They take ``steps`` minibatches, or ``epochs`` passes, or they send one gradient."""

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
        The number of clients, and the seed of all random choices.
    training : Training
        How they train.
    """

    clients: int
    seed: int
    training: Training
    shares: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        (self.x, self.y), self.test = digits()
        self.rng = np.random.default_rng([self.seed, 23])
        server = self.rng.permutation(len(self.y))
        self.own, rest = server[:250], server[250:]
        shares = deal(Partition("dirichlet", ALPHA), self.y[rest], self.clients, self.seed)
        self.shares = [rest[share] for share in shares]

    def first(self) -> Arrays:
        """The model to start from."""
        rng = np.random.default_rng([self.seed, 7])
        return initial_model(self.x.shape[1], HIDDEN, CLASSES, rng)

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
            descend(own, self.x[part], self.y[part], told.rate)
        return own

    def _batches_of(self, share: np.ndarray) -> int:
        return max(1, -(-len(share) // self.training.batch))

    def _batches(self, share: np.ndarray) -> Iterator[np.ndarray]:
        while True:
            yield from np.array_split(self.rng.permutation(share), self._batches_of(share))

    def accuracy(self, model: Arrays) -> float:
        """The accuracy of a model on the test set."""
        return accuracy(model, *self.test)


class Node(ClientProxy):
    """A client that is never called."""

    def _nothing(self, *arguments: Any) -> Any:
        raise AssertionError("the run trains its clients itself")

    get_properties = get_parameters = fit = evaluate = reconnect = _nothing


def run(
    strategy: Any, federation: Federation, rounds: int, byzantine: int = 0, attack: Attack = None
) -> float:
    """Run rounds, in which the first ``byzantine`` clients attack, and return the final accuracy."""
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
    """What the attackers send instead of their own updates."""
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
