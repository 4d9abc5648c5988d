"""Partitions by name, their parameters in a run's configuration, and which client gets which samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from flwr_byzantine.checks import did_you_mean
from simulations.catalog.partitions import (
    Partitioner,
    Shares,
    by_classes,
    by_label,
    by_quantity,
    dirichlet,
    iid,
    mixed,
)
from simulations.streams import Stream, generator

PARTITIONERS: dict[str, tuple[Callable[..., Shares], tuple[str, ...]]] = {  # and their parameters
    "iid": (iid, ()),
    "dirichlet": (dirichlet, ("alpha",)),
    "sorted": (by_label, ()),
    "classes": (by_classes, ("classes_per_client",)),
    "quantity": (by_quantity, ("alpha",)),
}
GAMMA = "gamma"
MIXTURES = {GAMMA: "iid+sorted"}
SHARED = "shared"
PARTITIONS = (*PARTITIONERS, *MIXTURES, SHARED)


@dataclass(frozen=True)
class Partition:
    """How data are dealt out.

    Parameters
    ----------
    kind : str
        A name of `PARTITIONS`, or two of `PARTITIONERS` joined by ``+``, which are mixed.
    alpha : float
        Concentration, for ``dirichlet`` and ``quantity``.
    gamma : float
        The share of the samples that the first of two partitioners deals out.
    classes_per_client : int
        For ``classes``.
    """

    kind: str = "iid"
    alpha: float = 1.0
    gamma: float = 0.5
    classes_per_client: int = 2

    @property
    def parts(self) -> list[str]:
        """The names of the partitioners in it."""
        return MIXTURES.get(self.kind, self.kind).split("+")

    @property
    def parameters(self) -> set[str]:
        """The names of its parameters."""
        used = {name for part in self.parts if part != SHARED for name in PARTITIONERS[part][1]}
        return used | ({GAMMA} if len(self.parts) > 1 else set())

    @property
    def partitioner(self) -> Partitioner:
        """The function that deals out the samples."""
        parts = [self._part(name) for name in self.parts]
        if len(parts) == 1:
            return parts[0]
        return partial(mixed, gamma=self.gamma, first=parts[0], second=parts[1])

    def _part(self, name: str) -> Partitioner:
        function, parameters = PARTITIONERS[name]
        return partial(function, **{key: getattr(self, key) for key in parameters})


def deal(how: Partition, labels: np.ndarray, clients: int, seed: int) -> Shares:
    """Return the positions of each client's samples in ascending order, disjoint, covering all.

    A client that would get nothing takes one sample from the largest share.

    Parameters
    ----------
    how : Partition
        How the samples are dealt out, other than ``shared``.
    labels : np.ndarray
        Labels of shape (samples,).
    clients : int
        Number of shares.
    seed : int
        Seed of the run.

    Raises
    ------
    ValueError
        If there are more clients than samples, or if not every class has a client.

    Examples
    --------
    >>> [share.tolist() for share in deal(Partition("sorted"), np.array([1, 0, 1, 0]), 2, seed=0)]
    [[1, 3], [0, 2]]
    """
    if clients > len(labels):
        raise ValueError(
            f"Parameter `clients` should be at most the number of samples, {len(labels)}. "
            f"Found `clients = {clients}`. Take fewer clients, or `partition = shared`."
        )
    if "classes_per_client" in how.parameters:
        check_classes(how.classes_per_client, len(np.unique(labels)), clients)
    dealt = how.partitioner(labels, clients, generator(Stream.PARTITION, seed))
    shares: list[list[Any]] = [share.tolist() for share in dealt]
    for share in shares:
        if not share:
            share.append(max(shares, key=len).pop())
    return [np.sort(np.array(share, dtype=np.int64)) for share in shares]


def check_classes(classes_per_client: int, classes: int, clients: int) -> None:
    """Raise ValueError unless each client can have this many classes, and each class has a client."""
    least = -(-classes // clients)
    if not least <= classes_per_client <= classes:
        raise ValueError(
            f"Parameter `classes_per_client` should be from {least} to {classes}: the data have {classes} "
            f"classes, and each of them needs one of {clients} clients. "
            f"Found `classes_per_client = {classes_per_client}`."
        )


def _meant(parts: list[str]) -> str:
    """Ask whether a known partition was meant by the first part that is unknown."""
    known = PARTITIONS if len(parts) == 1 else tuple(PARTITIONERS)
    return next((did_you_mean(part, known) for part in parts if part not in known), "")


def check_partition(
    how: Partition, among: str, classes: int | None, clients: int, byzantine: int, redraw: bool
) -> None:
    """Raise ValueError if data cannot be dealt out in this way.

    Parameters
    ----------
    how : Partition
        How the data are dealt out.
    among : {"all", "honest"}
        The clients that share the data.
    classes : int or None
        The number of classes; None if only the data say it.
    clients, byzantine : int
        The number of clients, and how many of them are Byzantine.
    redraw : bool
        Whether other clients are Byzantine in every round.
    """
    parts = how.parts
    if not (
        (len(parts) == 1 and parts[0] in PARTITIONS)
        or (len(parts) == 2 and set(parts) <= set(PARTITIONERS))
    ):
        raise ValueError(
            f"Parameter `partition` should be one of {', '.join(PARTITIONS)}, or two of "
            f"{', '.join(PARTITIONERS)} joined by a `+`, which `gamma` mixes. "
            f"Found `partition = {how.kind}`. {_meant(parts)}".rstrip()
        )
    used = how.parameters
    for name in (GAMMA, "alpha", "classes_per_client"):
        value, default = getattr(how, name), getattr(Partition, name)
        if name not in used and value != default:
            users = [f"`{part}`" for part, (_, own) in PARTITIONERS.items() if name in own]
            if name == GAMMA:
                users = ["`gamma` and mixtures such as `iid+dirichlet`"]
            raise ValueError(
                f"Parameter `{name}` should be left out with `partition = {how.kind}`, which does not use "
                f"it. Found `{name} = {value}`. It is for the partition {' and '.join(users)}."
            )
    if "classes_per_client" in used and classes is not None:
        check_classes(
            how.classes_per_client, classes, clients - byzantine if among != "all" else clients
        )
    if among == "all":
        return
    if parts == [SHARED]:
        raise ValueError(
            "Parameter `partition_among` should be `all` with `partition = shared`, which gives all "
            f"samples to every client. Found `partition_among = {among}`."
        )
    if redraw:
        raise ValueError(
            "Parameter `partition_among` should be `all` with `redraw`, because each round has "
            f"other honest clients. Found `partition_among = {among}`."
        )
    if byzantine == clients:
        raise ValueError(
            "Parameter `byzantine` should be less than `clients` with `partition_among = honest`: at least "
            f"one honest client has to get the data. Found `byzantine = {byzantine}` of {clients}."
        )
