"""How good a model is for each client, and how much of the model each client made."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from flwr_byzantine.lab.kept import Record
from simulations.catalog import datasets
from simulations.config import RunConfig


def client_accuracies(config: RunConfig, by_class: Sequence[float | None]) -> list[float]:
    """Return the accuracy of the model on data like each client's own, by the client's number.

    It is the test accuracy of each label, weighted by how often the client's samples have the label.
    Labels that no test sample has do not count.

    Parameters
    ----------
    config : RunConfig
        The run.
    by_class : sequence of float or None
        The test accuracy of each label; None if no test sample has it.
    """
    known = np.array([accuracy is not None for accuracy in by_class])
    accuracy = np.array([accuracy or 0.0 for accuracy in by_class])
    labels = datasets.load(config.dataset, config.data_dir)[0].y.numpy()
    found = []
    for share in config.shares():
        counts = np.bincount(labels[share], minlength=len(by_class))[: len(by_class)] * known
        found.append(float(counts @ accuracy / max(1, counts.sum())))
    return found


def worst_client(config: RunConfig, accuracies: Sequence[float]) -> float:
    """Return the least accuracy among honest clients; among all if every client can be Byzantine."""
    byzantine: frozenset[int] = frozenset()
    if config.attack != "none" and not config.redraw and config.byzantine < config.clients:
        byzantine = config.who.byzantine_in(1)
    return min(value for client, value in enumerate(accuracies) if client not in byzantine)


def mean_used(rounds: Sequence[Record], clients: int) -> list[float | None]:
    """Return each client's part in the results of the rounds, on average over those it took part in.

    It is None if it is not known: for averaging, which keeps no audit, and for a client that never took part.

    Examples
    --------
    >>> mean_used([{"used": [0.5, 0.5, None]}, {"used": [0.0, 1.0, None]}, {}], clients=3)
    [0.25, 0.75, None]
    """
    known = [record["used"] for record in rounds if "used" in record]
    parts = [
        [used[client] for used in known if used[client] is not None] for client in range(clients)
    ]
    return [fmean(own) if own else None for own in parts]
