"""Functions that deal out samples to clients. The same seed gives the same shares.

A partitioner takes labels, the number of clients and random numbers. It returns the positions of each
client's samples. Every sample goes to exactly one client. `mixed` makes a partitioner of any two.
`simulations.catalog.dealing` knows them by name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulations.streams import Stream, generator

Shares = list[np.ndarray]
Partitioner = Callable[[np.ndarray, int, np.random.Generator], Shares]


def iid(labels: np.ndarray, clients: int, rng: np.random.Generator) -> Shares:
    """Deal the samples out at random, in shares that differ by at most one sample."""
    return np.array_split(rng.permutation(len(labels)), clients)


def by_label(labels: np.ndarray, clients: int, rng: np.random.Generator) -> Shares:
    """Sort the samples by label, and cut them into shares that differ by at most one sample.

    The first clients get the lowest labels. Samples of one label are in random order.
    """
    order = rng.permutation(len(labels))
    return np.array_split(order[np.argsort(labels[order], kind="stable")], clients)


def dirichlet(labels: np.ndarray, clients: int, rng: np.random.Generator, alpha: float) -> Shares:
    """Split each class by proportions drawn from a symmetric Dirichlet distribution.

    The smaller ``alpha`` is, the more the clients differ.

    References
    ----------
    Hsu, Qi and Brown (2019), "Measuring the effects of non-identical data distribution for
    federated visual classification".
    """
    shares: list[list[int]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        for share, part in zip(shares, _cut(members, clients, rng, alpha), strict=True):
            share.extend(part.tolist())
    return [np.array(share, dtype=np.int64) for share in shares]


def by_classes(
    labels: np.ndarray, clients: int, rng: np.random.Generator, classes_per_client: int
) -> Shares:
    """Give each client this many classes, drawn at random.

    Each class goes to about the same number of clients. The clients that have a class share it evenly.
    """
    kinds = np.unique(labels)
    held = np.zeros(len(kinds), dtype=np.int64)  # how many clients have each class
    owners: list[list[int]] = [[] for _ in kinds]
    for client in range(clients):
        rarest = np.lexsort((rng.random(len(kinds)), held))[:classes_per_client]
        held[rarest] += 1
        for place in rarest:
            owners[place].append(client)
    shares: list[list[int]] = [[] for _ in range(clients)]
    for label, own in zip(kinds, owners, strict=True):
        members = rng.permutation(np.flatnonzero(labels == label))
        for client, part in zip(own, np.array_split(members, max(1, len(own))), strict=False):
            shares[client].extend(part.tolist())
    return [np.array(share, dtype=np.int64) for share in shares]


def by_quantity(labels: np.ndarray, clients: int, rng: np.random.Generator, alpha: float) -> Shares:
    """Give clients shares of different sizes, drawn from a symmetric Dirichlet distribution.

    All clients have about the same mix of labels, because samples are dealt out at random. The smaller
    ``alpha`` is, the more the sizes differ.
    """
    return _cut(rng.permutation(len(labels)), clients, rng, alpha)


def mixed(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    gamma: float,
    first: Partitioner,
    second: Partitioner,
) -> Shares:
    """Deal out a random share ``gamma`` of the samples by one partitioner, and the rest by another.

    Gamma similarity mixes `iid` and `by_label`: a fraction ``gamma`` of each client's samples is drawn from
    all samples.

    References
    ----------
    Karimireddy, Kale, Mohri, Reddi, Stich and Suresh (2020), "SCAFFOLD: Stochastic controlled
    averaging for federated learning", section 7.
    """
    order = rng.permutation(len(labels))
    size = round(gamma * len(labels))
    shares: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for part, deal_out in ((order[:size], first), (order[size:], second)):
        if len(part):
            for share, own in zip(shares, deal_out(labels[part], clients, rng), strict=True):
                share.append(part[own])
    return [np.concatenate(share) for share in shares]


def held_out(samples: int, size: int, seed: int) -> np.ndarray:
    """Return the positions of the training samples that only the server has."""
    order = generator(Stream.HELD_OUT, seed).permutation(samples)
    return np.sort(order[:size])


def _cut(
    members: np.ndarray, clients: int, rng: np.random.Generator, alpha: float
) -> list[np.ndarray]:
    """Cut samples into shares whose sizes a symmetric Dirichlet distribution draws."""
    proportions = rng.dirichlet(np.full(clients, alpha))
    cuts = (np.cumsum(proportions)[:-1] * len(members)).round().astype(int)
    return np.split(members, cuts)
