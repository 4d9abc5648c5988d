"""The random streams that are drawn from a run's seed: each has a number of its own.

A stream begins with its number, then come the seed and whatever else it belongs to: the client, the
round. So no two draws of a run share their random numbers. The numbers decide every bit of a result:
never change one, and give a new stream an unused one.
"""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np


@unique
class Stream(IntEnum):
    """What is drawn, and the number that its stream begins with."""

    SAMPLES = 0  # test digits, and test samples to evaluate on: the same for every seed
    TRAINING = 1  # minibatches and dropout: `simulations.torch_client`
    PARTITION = 2  # who gets which training samples
    HELD_OUT = 3  # the server's own training samples
    TRUE_GRADIENT = 4  # the training samples of the true gradient
    APART = 5  # samples of clients that data are not dealt to
    ATTACK = 0xA77  # what a Byzantine client draws: `flwr_byzantine.clients.wrapper`
    COIN = 0xC01  # in which rounds an attack is on: `flwr_byzantine.attacks.schedule`
    BUCKETS = 0xB0C  # which clients share a bucket
    BYZANTINE = 0xD4A  # which clients are Byzantine
    PARTICIPATION = 0x5A3  # which clients a round asks


def generator(stream: Stream, *keys: int) -> np.random.Generator:
    """Return the random numbers that belong to a stream and these keys, and to no others.

    Examples
    --------
    >>> bool(generator(Stream.PARTITION, 0).random() == np.random.default_rng([2, 0]).random())
    True
    """
    return np.random.default_rng([int(stream), *keys])
