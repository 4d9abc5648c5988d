"""A channel that corrupts what clients transmit. It corrupts what honest clients transmit too."""

from __future__ import annotations

from flwr.client import NumPyClient

from flwr_byzantine.attacks import ChannelAttack
from flwr_byzantine.attacks.base import require, require_whole
from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule
from flwr_byzantine.clients.arrays import Arrays, flatten, unflatten
from flwr_byzantine.clients.kinds import check_kind
from flwr_byzantine.clients.wrapper import ClientWrapper, Config, FitReply


class CorruptedChannelClient(ClientWrapper):
    """A client behind a corrupted channel.

    Wrap every client of the federation, also the honest ones, with the same seed. The channel works
    on the values that are transmitted, parameters or gradients. Integer and boolean tensors arrive
    unchanged.

    Parameters
    ----------
    client : NumPyClient
        Any client, honest or not.
    channel : ChannelAttack
        What the channel does to the values.
    num_clients : int
        The number of clients n behind the channel.
    client_id : int
        The number of this client, from 0 to n - 1.
    seed, schedule
        See `ClientWrapper`. The channel is on for all clients or for none.
    """

    together = True

    def __init__(
        self,
        client: NumPyClient,
        channel: ChannelAttack,
        num_clients: int,
        *,
        client_id: int,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        super().__init__(client, client_id=client_id, seed=seed, schedule=schedule)
        require_whole("num_clients", num_clients, 1, "Count all clients behind the channel.")
        bound = f"less than `num_clients = {num_clients}`"
        require(client_id < num_clients, "client_id", bound, client_id, "Count from 0.")
        self.channel = self.scheduled(channel)
        check_kind(self.channel, "CorruptedChannelClient", "channel")
        self.num_clients = num_clients

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train, and corrupt what is sent."""
        returned, num_examples, metrics = self.client.fit(parameters, config)
        arrived = self.channel(
            flatten(returned), self.client_id, self.num_clients, server_round, self.seed
        )
        return unflatten(arrived, returned), num_examples, metrics
