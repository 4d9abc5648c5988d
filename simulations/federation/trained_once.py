"""Honest clients that train once for each round and process, whoever asks for the result."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from flwr.client import NumPyClient

from flwr_byzantine.clients.arrays import Arrays, copies
from flwr_byzantine.clients.recompute import fingerprint
from flwr_byzantine.clients.wrapper import Config, FitReply, WrappedClient


class TrainedOnce(WrappedClient):
    """A client that trains once in a round, however often it is built and asked.

    Attackers that know others compute what those send. In a process that runs both, the client itself need
    not train again: it sends what the attackers computed, or they take what it sent. The replies of one round
    are kept until another round is asked for. Callers get copies of the arrays.

    Parameters
    ----------
    client : NumPyClient
        A client whose reply depends only on the run, its number, and what the server sends.
    run : hashable
        The run that the client belongs to.
    client_id : int
        The number of the client.
    """

    def __init__(self, client: NumPyClient, run: Hashable, client_id: int) -> None:
        super().__init__(client)
        self.run, self.client_id = run, client_id

    def fit(self, parameters: Arrays, config: Config) -> FitReply:
        """Train, or return the result if it was asked for before."""
        replies = _replies(self.run, fingerprint(parameters, config))
        if self.client_id not in replies:
            replies[self.client_id] = self.client.fit(parameters, config)
        arrays, num_examples, metrics = replies[self.client_id]
        return copies(arrays), num_examples, dict(metrics)


@lru_cache(maxsize=1)
def _replies(run: Hashable, received: bytes) -> dict[int, FitReply]:
    """Return the replies of a round, by the numbers of the clients. Only one round is kept at a time."""
    return {}
