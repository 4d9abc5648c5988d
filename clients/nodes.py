"""What a node is: an honest client that trains on its digits, or one that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from flwr.client import NumPyClient
from flwr.common import NDArrays, Scalar

from clients.digits import Samples, evaluate, load, share, train
from flwr_byzantine.attacks import Constant, Gaussian, LabelFlip, LocalAttack, SignFlip
from flwr_byzantine.clients import LabelFlippingClient, LyingClient, MaliciousClient
from flwr_byzantine.clients.poisoned import LabelMap
from flwr_byzantine.clients.wrapper import round_of

LOCAL: dict[str, LocalAttack] = {
    "constant": Constant(),
    "gaussian": Gaussian(std=10),
    "sign-flip": SignFlip(scale=10),
}
ROLES = ("honest", *LOCAL, "label-flip", "lying")


class DigitsClient(NumPyClient):
    """Trains on the digits of one node.

    Parameters
    ----------
    samples : tuple of ndarray
        Images of shape (samples, 64), and labels.
    node : int
        The number of the node, at least 0.
    label_map : callable, optional
        It changes the training labels, if given.
    """

    def __init__(self, samples: Samples, node: int, label_map: LabelMap | None = None) -> None:
        self.samples = samples
        self.node = node
        self.label_map = label_map

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train. The round and the node determine the order of the samples."""
        x, y = self.samples
        labels = y if self.label_map is None else self.label_map(y)
        rng = np.random.default_rng([self.node, round_of(config)])
        return train(parameters, x, labels, rng), len(y), {}

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate the model on the samples of this node."""
        loss, accuracy = evaluate(parameters, *self.samples)
        return loss, len(self.samples[1]), {"accuracy": accuracy}


def make_client(samples: Samples, node: int, role: str = "honest", seed: int = 0) -> NumPyClient:
    """Build the client of a node.

    Parameters
    ----------
    samples : tuple of ndarray
        Images and labels.
    node : int
        The number of the node, at least 0.
    role : str
        One of `ROLES`.
    seed : int
        The seed of the random choices of an attack.

    Raises
    ------
    ValueError
        If there is no such role.
    """
    honest = partial(DigitsClient, samples, node)
    wrappers: dict[str, Callable[[], NumPyClient]] = {
        "honest": honest,
        "label-flip": lambda: LabelFlippingClient(honest, LabelFlip(), client_id=node, seed=seed),
        "lying": lambda: LyingClient(honest(), client_id=node, seed=seed),
    }
    if role in wrappers:
        return wrappers[role]()
    if role in LOCAL:
        return MaliciousClient(honest(), LOCAL[role], client_id=node, seed=seed)
    raise ValueError(f"Parameter `role` should be one of {ROLES}. Found `role = {role!r}`.")


def configured_client(config: Mapping[str, object]) -> NumPyClient:
    """Build the client that the configuration of a SuperNode asks for.

    Parameters
    ----------
    config : mapping
        ``partition-id`` is the number of the node. Its samples are in the file ``data``; without
        one it takes its share of scikit-learn's digits, one of ``num-partitions``. ``role`` is
        ``honest`` by default, and ``seed`` is 0.
    """
    node = int(str(config["partition-id"]))
    if "data" in config:
        samples = load(str(config["data"]))
    else:
        samples = share(node, int(str(config["num-partitions"])))
    role, seed = str(config.get("role", "honest")), int(str(config.get("seed", 0)))
    return make_client(samples, node, role, seed)
