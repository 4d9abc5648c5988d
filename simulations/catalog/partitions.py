"""Who gets which samples; all reproducible from the seed."""

from __future__ import annotations

import numpy as np

from simulations.streams import Stream, generator


def iid_partition(labels: np.ndarray, clients: int, seed: int) -> list[np.ndarray]:
    """Deal the samples out at random, in shares that differ by at most one sample."""
    order = generator(Stream.PARTITION, seed).permutation(len(labels))
    return [np.sort(share) for share in np.array_split(order, clients)]


def dirichlet_partition(
    labels: np.ndarray, clients: int, seed: int, alpha: float
) -> list[np.ndarray]:
    """Split each class by proportions drawn from a symmetric Dirichlet distribution.

    A client that would get nothing takes one sample of the largest share.

    Parameters
    ----------
    labels : np.ndarray
        Labels of shape (samples,).
    clients : int
        Number of shares.
    seed : int
        Seed of the run.
    alpha : float
        Concentration: the smaller, the more the clients differ.

    Returns
    -------
    list of np.ndarray
        The positions of each client's samples, disjoint, covering all.

    References
    ----------
    Hsu, Qi and Brown (2019), "Measuring the effects of non-identical data distribution for
    federated visual classification".
    """
    rng = generator(Stream.PARTITION, seed)
    shares: list[list[int]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        proportions = rng.dirichlet(np.full(clients, alpha))
        cuts = (np.cumsum(proportions)[:-1] * len(members)).round().astype(int)
        for share, part in zip(shares, np.split(members, cuts), strict=True):
            share.extend(part.tolist())
    for share in shares:
        if not share:
            share.append(max(shares, key=len).pop())
    return [np.sort(np.array(share, dtype=np.int64)) for share in shares]


def held_out(samples: int, size: int, seed: int) -> np.ndarray:
    """Return the positions of the training samples that the server has and no client."""
    order = generator(Stream.HELD_OUT, seed).permutation(samples)
    return np.sort(order[:size])
