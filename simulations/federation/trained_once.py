"""Honest clients whose training of a round is done once in a process, whoever asks for it."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from flwr.client import NumPyClient

from flwr_byzantine.clients.arrays import Arrays, copies
from flwr_byzantine.clients.recompute import fingerprint
from flwr_byzantine.clients.wrapper import Config, FitReply, WrappedClient


class TrainedOnce(WrappedClient):
    """A client that trains once a round, however often it is built and asked.

    Attackers that know others compute what those send. In a process that runs both, the client itself need
    not train a second time: it sends what the attackers found, or they find what it sent. The replies of one
    round are kept, until those of another are asked for. Nobody is given the arrays that are kept.

    Parameters
    ----------
    client : NumPyClient
        A client whose reply depends on nothing but the run, its number, and what it is sent.
    run : hashable
        The run that the client belongs to.
    client_id : int
        The number of the client.
    """

    def __init__(self, client: NumPyClient, run: Hashable, client_id: int) -> None:
        super().__init__(client)
        self.run, self.client_id = run, client_id

    def fit(self, parameters: Arrays, config: Config) -> FitReply:
        """Train, or return what came of it when somebody asked before."""
        replies = _replies(self.run, fingerprint(parameters, config))
        if self.client_id not in replies:
            replies[self.client_id] = self.client.fit(parameters, config)
        arrays, num_examples, metrics = replies[self.client_id]
        return copies(arrays), num_examples, dict(metrics)


@lru_cache(maxsize=1)
def _replies(run: Hashable, received: bytes) -> dict[int, FitReply]:
    """Return the replies of a round, by the numbers of the clients; of one round at a time."""
    return {}
