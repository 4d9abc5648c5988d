"""The random streams that are drawn from a run's seed. Each has its own number.

The key of a stream is its number, then the seed, and then whatever else it depends on, such as the client
and the round. So no two draws of a run share their random numbers. The numbers decide every bit of a result.
Never change a number, and give an unused number to a new stream.
"""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np


@unique
class Stream(IntEnum):
    """What is drawn, and the number with which the key of its stream begins."""

    SAMPLES = 0  # test digits, and test samples to evaluate on: the same for every seed
    TRAINING = 1  # minibatches and dropout: `simulations.torch_client`
    PARTITION = 2  # who gets which training samples
    HELD_OUT = 3  # the server's own training samples
    TRUE_GRADIENT = 4  # the training samples of the true gradient
    APART = 5  # samples of clients that get no share of the data
    WEIGHTS = 6  # the first model of a network in numpy
    ATTACK = 0xA77  # what a Byzantine client draws: `flwr_byzantine.clients.wrapper`
    COIN = 0xC01  # in which rounds an attack is on: `flwr_byzantine.attacks.schedule`
    BUCKETS = 0xB0C  # which clients share a bucket
    BYZANTINE = 0xD4A  # which clients are Byzantine
    PARTICIPATION = 0x5A3  # which clients a round asks
    BOOTSTRAP = 0xB007  # resamples of many seeds, in the report


def generator(stream: Stream, *keys: int) -> np.random.Generator:
    """Return the random numbers of a stream and these keys. Other keys give other numbers.

    Examples
    --------
    >>> bool(generator(Stream.PARTITION, 0).random() == np.random.default_rng([2, 0]).random())
    True
    """
    return np.random.default_rng([int(stream), *keys])
