"""Computes what other clients will send, without asking them, once in each round and process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from threading import RLock
from typing import Any, TypeVar, cast

import numpy as np
from flwr.client import NumPyClient
from numpy.typing import NDArray

from flwr_byzantine.attacks.base import Floats
from flwr_byzantine.clients.arrays import Payload, copies, update_of
from flwr_byzantine.clients.wrapper import Config

Result = TypeVar("Result")


def recompute(
    make_honest: Callable[[int], NumPyClient],
    clients: Sequence[int],
    parameters: Sequence[NDArray[Any]],
    config: Config,
    payload: Payload,
) -> Floats:
    """Return the honest updates of some clients, one in each row.

    The updates are exact if an honest client depends only on its number and on what the server sends. So
    its minibatches should come from (seed, client, round).

    Parameters
    ----------
    make_honest : callable
        Builds an honest client from its number.
    clients : sequence of int
        The numbers of the h clients, in the order of the rows.
    parameters, config
        What the server sent in this round. It is not changed.
    payload : {"parameters", "gradients"}
        What the clients return from ``fit``.

    Returns
    -------
    ndarray of shape (h, d)
        The flattened updates.
    """

    def update(client: int) -> Floats:
        returned, _, _ = make_honest(client).fit(copies(parameters), dict(config))
        return update_of(returned, parameters, payload)

    first = update(clients[0])
    updates = np.empty((len(clients), first.size), dtype=first.dtype)
    updates[0] = first
    for row, client in enumerate(clients[1:], start=1):
        updates[row] = update(client)
    return updates


def fingerprint(parameters: Sequence[NDArray[Any]], config: Config) -> bytes:
    """Return a digest of what the server sent. Other content gives another digest."""
    digest = blake2b(digest_size=16)
    for array in parameters:
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(repr(sorted(config.items())).encode())
    return digest.digest()


class RoundCache:
    """The last few results of this process, so that its attackers share one recomputation.

    Parameters
    ----------
    size : int
        How many results are kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return the result under a key. The first caller computes it, and others wait."""
        with self._lock:
            if key not in self._results:
                self._results[key] = compute()
                while len(self._results) > self.size:
                    self._results.popitem(last=False)
            return cast(Result, self._results[key])


ROUNDS = RoundCache(size=2)
