"""Tells the Byzantine nodes of a federation to attack with their data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import copy

from flwr.app import Message
from flwr.serverapp import Grid

from flwr_byzantine.lab.names import MALICIOUS, ON_DATA
from flwr_byzantine.lab.on_data.node import CANNOT, ordered
from flwr_byzantine.strategies.passing_grid import PassingGrid, kind_of_message


class OnDataGrid(PassingGrid):
    """Tells the Byzantine nodes to attack with their data whenever they train.

    The nodes run :class:`flwr_byzantine.lab.on_data.node.OnDataApp`. With any other attack, this grid changes
    nothing.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The grid that reaches the nodes.
    attack : str
        The name of an attack.
    attackers : set of int
        Ids of the Byzantine nodes.
    seed : int
        The seed of the attackers' random numbers.
    folder, app : str
        The folder and the name of the ClientApp that attackers run if the attack is ``malicious``.
    """

    def __init__(
        self,
        grid: Grid,
        attack: str,
        attackers: Collection[int],
        seed: int,
        folder: str = "",
        app: str = "",
    ) -> None:
        super().__init__(grid)
        self.attack, self.seed = attack, seed
        self.folder, self.app = folder, app
        self.attackers = frozenset(attackers if attack in (*ON_DATA, MALICIOUS) else ())
        self.trained = 0
        self._failures: list[str] = []

    def error_after(self, error: str | None) -> str | None:
        """Why the attack was not made, in one line; if it was made, the error of the run."""
        impossible = [failure for failure in self._failures if CANNOT in failure]
        if impossible:
            return " ".join(impossible[0].split())
        if error is not None or not self.attackers or self.trained:
            return error
        if self._failures:
            return f"no attacker trained: {' '.join(self._failures[0].split())}"
        return "no attacker was asked to train: let the app train more rounds, or more nodes in each round"

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        return self.grid.push_messages(self._ordered(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        return self._seen(self.grid.pull_messages(message_ids))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return the replies.

        Raises
        ------
        ValueError
            If the data of an attacker cannot be changed. The run would be useless.
        """
        replies = self.grid.send_and_receive(self._ordered(messages), timeout=timeout)
        return self._seen(replies)

    def _ordered(self, messages: Iterable[Message]) -> list[Message]:
        """The same messages. Those that ask a Byzantine node to train also hold an order to attack."""
        told = []
        for message in messages:
            node = message.metadata.dst_node_id
            if node in self.attackers and kind_of_message(message) == "train":
                content = ordered(
                    message.content, self.attack, self.seed, node - 1, self.folder, self.app
                )
                message = copy(message)
                message.content = content
            told.append(message)
        return told

    def _seen(self, replies: Iterable[Message]) -> list[Message]:
        """Note what attackers replied, and return all replies."""
        received = list(replies)
        for reply in received:
            if reply.metadata.src_node_id not in self.attackers:
                continue
            if reply.has_error():
                self._failures.append(reply.error.reason or "no reason given")
            elif kind_of_message(reply) == "train":
                self.trained += 1
        if (error := self.error_after("")) and CANNOT in error:
            raise ValueError(error)
        return received
